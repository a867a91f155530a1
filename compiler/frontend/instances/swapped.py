"""Arguments of a function that stand the other way round."""

from __future__ import annotations

from collections.abc import Mapping

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.ir.graph import Node
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span


def refuse(b: Build, syntax: s.Fn, values: Mapping[str, tuple[Value, Span]], span: Span) -> None:
    """`cross_entropy(label, y)`: a class in the other's place, where two are taken."""
    wanted = [p.domain is not None and p.domain.name == "class" for p in syntax.ports]
    given = [values[p.name] for p in syntax.ports]
    found = [isinstance(v, Node) and v.type.domain.name == "class" for v, _ in given]
    texts = [broadcasting.whole_text(at.text) for _, at in given]
    first, last = given[0][0] if given else None, given[-1][0] if given else None
    of_number = isinstance(first, int | float) and isinstance(last, Node) and last.type.example
    rate = of_number and [p.name for p in syntax.ports] == ["x", "p"]  # of dropout(0.5, h)
    if len(wanted) != 2 or ((found == wanted or found != wanted[::-1]) and not rate):
        return
    if broadcasting.whole_text(span.text) == f"{syntax.name}({', '.join(texts)})":
        names = ", ".join(p.name for p in syntax.ports)
        remedy = f"{syntax.name}({texts[1]}, {texts[0]})"
        text = f"{syntax.name} takes {names}, in this order"
        code = "E302" if rate else "E310"
        b.fail(code, text, span, "is given them the other way round", remedy=remedy)
