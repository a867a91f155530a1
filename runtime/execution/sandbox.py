"""The sandbox that a program's text runs in.

The text is code, so it is looked at before it is run: only straight-line calls of known array
functions, arithmetic on numbers and views are let through, and it sees no builtins.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

from dln.compiler.plan import Program
from dln.grammar.diagnostics import Fault
from dln.runtime.device.device import Device

NAMES: dict[str, object] = {
    "abs": abs,
    "min": min,
    "max": max,
    "float": float,
    "int": int,
    "bool": bool,
    "range": range,
    "zip": zip,
}
"""The builtins that a program may call, on numbers."""


def filename(program: Program) -> str:
    """The name under which a program's text appears in tracebacks."""
    return f"<dln program {program.name}>"


def load(program: Program, device: Device, **more: object) -> Callable[..., Callable[..., None]]:
    """The function `bind` of a program's text, which sees some names more. Raises `Fault` if the
    text is not of the kind."""
    space: dict[str, Any] = {"__builtins__": {}, "math": math, **NAMES, **device.kernels, **more}
    exec(compiled(program.text, filename(program)), space)
    bind: Callable[..., Callable[..., None]] = space["bind"]
    return bind


@cache
def compiled(text: str, name: str) -> CodeType:
    """Checked and compiled text."""
    tree = ast.parse(text, name)
    check(tree)
    return compile(tree, name, "exec", dont_inherit=True)


NODES = frozenset(
    "Module FunctionDef arguments arg Assign Expr Return Pass Call keyword Attribute Name Load "
    "Store Constant Tuple Subscript Slice BinOp UnaryOp BoolOp Compare IfExp Add Sub Mult Div Pow "
    "Mod FloorDiv USub UAdd Not And Or Eq NotEq Lt LtE Gt GtE For ListComp comprehension".split()
)
FUNCTIONS = frozenset(
    "all any arange argmax argmin broadcast_to clip copyto cumsum dot einsum lib max mean min "
    "outer prod sum take where".split()
)
"""What a text may call of the array module, beside every ufunc."""
METHODS = frozenset(
    "T fill reshape transpose swapaxes ravel sum max min dot take put squeeze argmax argmin mT "
    "reduce accumulate at shape size strides stride_tricks as_strided".split()
)


def check(tree: ast.AST) -> None:
    """Raise `Fault` for anything that a program text does not consist of."""
    for node in ast.walk(tree):
        kind = type(node).__name__
        if kind not in NODES:
            raise Fault(f"a program text may not contain {kind} (line {_line(node)})")
        if isinstance(node, ast.Name) and node.id.startswith("_"):
            raise Fault(f"a program text may not use {node.id} (line {_line(node)})")
        if isinstance(node, ast.FunctionDef):
            _check_function(node)
        if isinstance(node, ast.Attribute):
            _check_attribute(node)
        if isinstance(node, ast.For):
            _check_loop(node)
        if isinstance(node, ast.comprehension):
            _check_rows(node)


def _check_function(node: ast.FunctionDef) -> None:
    """`bind` and `run`, with plain arguments."""
    plain = not (node.decorator_list or node.args.defaults or node.args.kw_defaults or node.returns)
    if node.name not in ("bind", "run") or not plain:
        raise Fault(f"a program text may not define {node.name} (line {node.lineno})")


def _check_loop(node: ast.For) -> None:
    """A loop goes over a range of numbers, known when the text is written."""
    over = node.iter
    named = isinstance(over, ast.Call) and isinstance(over.func, ast.Name) and over.func.id
    if named != "range" or node.orelse or not isinstance(node.target, ast.Name):
        raise Fault(f"a program text loops over a range of numbers only (line {node.lineno})")


def _check_rows(node: ast.comprehension) -> None:
    """A list has a view for each number of a range, or for each view of other lists."""
    over = node.iter
    called = isinstance(over, ast.Call) and isinstance(over.func, ast.Name) and over.func.id
    listed = isinstance(over, ast.Name) and re.fullmatch(r"w\d+", over.id)
    if not (called in ("range", "zip") or listed) or node.ifs or node.is_async:
        raise Fault("a program text may not contain a list of anything but views")


def _check_attribute(node: ast.Attribute) -> None:
    """Attributes are functions of the array module, of `math`, or a few methods of arrays."""
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    if owner == "xp":
        fine = node.attr in FUNCTIONS or isinstance(getattr(np, node.attr, None), np.ufunc)
    elif owner == "math":
        fine = not node.attr.startswith("_") and hasattr(math, node.attr)
    else:
        fine = node.attr in METHODS and not isinstance(node.value, ast.Constant)
    if not fine:
        raise Fault(f"a program text may not use .{node.attr} (line {_line(node)})")


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)
