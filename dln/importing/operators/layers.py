"""Layers of the library: how one is written, as a whole or for each row of a tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from dln.grammar import syntax as s
from dln.importing.body import Layer
from dln.importing.naming import candidates
from dln.importing.operators.records import OnnxCall, scaled_leaf
from dln.importing.syntax_of import call, name, number
from dln.importing.values import TIME, Constant, Leaf, Shape, Value


def layer(
    c: OnnxCall, x: Value, block: str, sizes: Sequence[s.Expr], weights: Mapping[str, Constant],
    takes: int, gives: Shape, bias: str = "", width: int = 0, acts: bool = False,
    options: Mapping[str, s.Expr] = MappingProxyType({}),
) -> Leaf:  # fmt: skip
    """A block of the library applied to a written value, of which it takes the last axes; in a
    sequence at each step without a word, over other axes for each index. A `bias` that the file
    has not is zeros, until an addition brings one."""
    held = scaled_leaf(x)
    lead = held.shape[: len(held.shape) - takes]
    hints = [h for w in weights.values() for h in candidates(w.name)]
    missing = {bias: call("zeros", number(width))} if bias and bias not in weights else {}
    arrays = {k: w.array for k, w in weights.items()}
    made = Layer(c.body.fresh(hints), block, tuple(sizes), {**options, **missing}, arrays,
                 held.expr, bias if missing else "", width, acts=acts)  # fmt: skip
    if lead in ((), (TIME,)):
        return c.body.define(made, (*lead, *gives), target=made.name)
    at = c.body.names.indices([a == TIME for a in lead])
    made.apart = tuple(name(i) for i in at)
    return c.body.define(made, (*lead, *gives), at)
