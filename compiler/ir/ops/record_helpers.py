"""How a row of `pointwise` becomes a record: the kinds of row, and their examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Examples, Gradient, Infer, Op, Tight, no_gradient
from dln.compiler.ir.ops.common import Narrow, always, index, real, truth
from dln.compiler.ir.ops.elementwise import (
    arithmetic,
    by_numpy,
    comparison,
    logic,
    on_reals,
)
from dln.compiler.ir.spelling import A, B, Spelling, Statements, call, steps
from dln.compiler.ir.tensor_type import POSITIVE, REAL, TensorType

REALS = always(REAL)
SPREAD = real(2, 3), real(2, 3)
ABOVE = real(2, 3, domain=POSITIVE)
RUNNING = real(4, 3, running=("batch",))


def one(*types: TensorType) -> Examples:
    return lambda: [((t,), {}) for t in (types or (real(2, 3), real(), RUNNING))]


def two(*pairs: tuple[TensorType, TensorType]) -> Examples:
    """Equal shapes, a number with a tensor, a tensor with a number."""
    usual = (SPREAD, (real(), real(3)), (RUNNING, real()), (real(), real()))
    return lambda: [(p, {}) for p in (pairs or usual)]


def result_type(node: Node) -> TensorType:
    return node.type


def ufunc(name: str, arity: int) -> Statements:
    return steps(call(name, *(A, B)[:arity]))


def row(
    name: str,
    arity: int,
    infer: Infer,
    evaluate: Callable[..., Array],
    gradient: Gradient,
    examples: Examples,
    array: Spelling,
    host: str = "",
    formula: str = "",
    facts: Iterable[str] = (),
    **rest: Any,
) -> Op:
    return Op(
        name,
        infer,
        evaluate,
        gradient,
        MappingProxyType({"array": array}),
        host,
        facts=frozenset({"pointwise", *facts}),
        formula=formula or f"{name}({', '.join(f'{{{i}}}' for i in range(arity))})",
        examples=examples,
        **rest,
    )


def function(
    name: str,
    gradient: Gradient,
    host: str = "",
    np_name: str = "",
    narrow: Narrow = REALS,
    examples: Examples | None = None,
    facts: Iterable[str] = (),
    user: Callable[[float], float] | None = None,
    **given: Any,
) -> Op:
    """A function of one real number that NumPy has. Users write it where `user` says what it is of
    a plain number; one of Python's `math` is its own expression for the host."""
    np_name = np_name or name
    if user is not None:
        facts, given = (*facts, "function"), {"number": user, **given}
        host = host or f"{user.__module__}.{user.__name__}({{0}})"
    rest: dict[str, Any] = {
        "facts": facts,
        "evaluate": by_numpy(np_name),
        "array": ufunc(np_name, 1),
        "host": host,
        **given,
    }
    return row(
        name,
        1,
        arithmetic(name, 1, narrow),
        gradient=gradient,
        examples=examples or one(),
        **rest,
    )


def operator(
    name: str,
    np_name: str,
    sign: str,
    gradient: Gradient,
    narrow: Narrow = REALS,
    examples: Examples | None = None,
    facts: Iterable[str] = (),
    **given: Any,
) -> Op:
    """A function of two real numbers that NumPy has."""
    rest: dict[str, Any] = {
        "evaluate": by_numpy(np_name),
        "array": ufunc(np_name, 2),
        "host": f"({{0}} {sign} {{1}})",
        "formula": f"{{0}} {sign} {{1}}",
        **given,
    }
    return row(
        name,
        2,
        arithmetic(name, 2, narrow),
        gradient=gradient,
        examples=examples or two(),
        facts=facts,
        **rest,
    )


def compare(name: str, np_name: str, sign: str) -> Op:
    return row(
        name,
        2,
        comparison(name),
        on_reals(np_name),
        no_gradient,
        two(SPREAD, (real(3), real()), (index(3, size=4), index(3, size=4))),
        ufunc(np_name, 2),
        f"({{0}} {sign} {{1}})",
        f"{{0}} {sign} {{1}}",
        smooth=False,
        tight=Tight.COMPARISON,
    )


def connective(name: str, np_name: str, tight: Tight) -> Op:
    return row(
        name,
        2,
        logic(name, 2),
        by_numpy(np_name),
        no_gradient,
        two((truth(2, 3), truth(2, 3)), (truth(), truth(3))),
        ufunc(np_name, 2),
        f"({{0}} {name} {{1}})",
        f"{{0}} {name} {{1}}",
        tight=tight,
    )
