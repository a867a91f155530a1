"""How what has no name or number gets one: a layer in a line of `->`, a stretch of a data set."""

from __future__ import annotations

from dln.compiler.frontend.context.build_context import Build, Instance, Value
from dln.compiler.frontend.context.values import DataValue
from dln.grammar import syntax as s


def parts_of(value: Value) -> tuple[str, ...]:
    """What to write for a part of what has none by that name or number; nothing to say of most."""
    if isinstance(value, DataValue) and value.part is None:
        return ("a stretch of it is a part with a name: split fit 0.8, valid 0.2, in its body",)
    first = _first_layer(value) if isinstance(value, Instance) else None
    if first is None or not isinstance(value, Instance):
        return ()
    line = f"the layers of a line have no names; one of its own gives a name: h = {first.span.text}"
    return (f"{line}, then {value.path}.h",)


def own_name(b: Build, expr: s.Attr) -> str:
    """`h.c`, where a layer without a name has made h and works out c: who is asked for it."""
    of = expr.body.span.text
    for made in b.owned.instances.values():
        if made.place.rpartition(".")[2] == of and made.last and expr.name in made.last.names:
            given = ", ".join(p.name for p in made.definition.syntax.ports)
            layer = f"let f = {made.name}(...), and {of} = f({given})"
            return f"a layer that has a name is asked for its own: {layer}, then f.{expr.name}"
    return ""


def _first_layer(made: Instance) -> s.Flow | None:
    """The first layer of a line of several in the block of an instance."""
    for st in made.definition.syntax.body:
        flow = st.value if isinstance(st, s.Define) else None
        several = False
        while isinstance(flow, s.Flow) and isinstance(flow.source, s.Flow):
            flow, several = flow.source, True
        if several and isinstance(flow, s.Flow) and isinstance(flow.target, s.Call):
            return flow
    return None
