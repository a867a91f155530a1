"""The slow, obvious evaluator. It defines what a graph means.

Every pass, schedule and target is compared with it, and constant folding uses it. Each node is
computed by its own record, in a fresh array; the shape found is held against the shape inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

from dln.compiler.ir.graph import Graph, K, Node, ancestors
from dln.compiler.ir.op import Array, Site, dtype_of, op_of
from dln.compiler.ir.sizes import Size, Var
from dln.compiler.ir.structure import is_scan
from dln.grammar.diagnostics import Fault

Env: TypeAlias = Mapping[tuple[str, str], Any] | Mapping[tuple[str, Hashable], Any]
Draw: TypeAlias = Callable[[str, str, tuple[int, ...]], Array]


def evaluate(
    what: Graph | Mapping[K, Node],
    env: Env | None = None,
    real: Any = float,
    sizes: Mapping[Var, int] | None = None,
    draw: Draw | None = None,
) -> dict[Hashable, Array]:
    """The value of every output of a graph, by name.

    `env` maps ("input", name), ("whole", name), ("param", path), ("state", path) and
    ("clock", name) to numbers or arrays. Sizes that are still open (batch) follow from the arrays
    of the inputs, or stand in `sizes`. `real` is the floating type, complex for a complex step.
    `draw(kind, site, shape)` gives the counter-based draws. Raises Fault for what is missing or has
    the wrong shape.
    """
    import numpy as np  # late: NumPy

    outputs, env = what.outputs if isinstance(what, Graph) else what, env or {}
    nodes = ancestors(outputs.values())
    found = open_sizes(nodes, env, sizes or {})

    size = partial(number_of, found=found)
    values: dict[Node, Array] = {}
    last = {o: i for i, node in enumerate(nodes) for o in node.operands}
    last |= dict.fromkeys(outputs.values(), len(nodes))
    for i, node in enumerate(nodes):
        value = given(np, node, env, real) if op_of(node).key else None
        shape = tuple(size(s) for s in node.type.shape)
        if value is None:
            site = Site(np, node.attrs, shape, real, size, draw or no_draws)
            value = op_of(node).evaluate(site, *(values[o] for o in node.operands))
            value = value if is_scan(node) else np.asarray(value)
        if value.shape != shape:
            raise Fault(f"{node!r} has shape {shape}, its value has {value.shape}")
        values[node] = value
        for operand in node.operands:  # what nobody reads any more takes no memory
            if last[operand] == i:
                values.pop(operand, None)
    return {name: values[node] for name, node in outputs.items()}


def name_of(node: Node) -> tuple[str, str]:
    """What a source is called in the environment."""
    return node.op, node[op_of(node).key]


def given(np: Any, node: Node, env: Env, real: Any) -> Array:
    """A source's value from the environment, in the kind of the node. Raises `Fault` where none is
    given."""
    key = name_of(node)
    if key not in env:
        raise Fault(f"no value is given for the {key[0]} {key[1]}")
    return np.asarray(env[key]).astype(dtype_of(np, real, node.type.kind))


def open_sizes(nodes: Iterable[Node], env: Env, sizes: Mapping[Var, int]) -> dict[Var, int]:
    """The open sizes (batch) as the arrays of the environment have them."""
    found = dict(sizes)
    for node in nodes:
        array = env.get(name_of(node)) if op_of(node).key else None
        for size, n in zip(node.type.shape, getattr(array, "shape", ()), strict=False):
            if len(size.terms) == 1 and size.constant == 0 and size.terms[0][1] == 1:
                found.setdefault(size.terms[0][0], n)
    return found


def number_of(size: Size, found: Mapping[Var, int]) -> int:
    """The number of a size when the open ones are known. Raises `Fault` for another."""
    for v, _ in size.terms:
        if v not in found:
            raise Fault(f"the size {v} is not known: give an input that has it, or `sizes`")
    return size.constant + sum(c * found[v] for v, c in size.terms)


def no_draws(kind: str, site: str, shape: tuple[int, ...]) -> Array:
    """Stands for draws where none are given: raises `Fault`."""
    raise Fault(f"the draw at {site} needs a source of random numbers")
