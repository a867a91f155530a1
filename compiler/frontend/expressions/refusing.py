"""Calls that are refused: of what is no function, with a value twice, with too many or too few."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from dln.compiler.frontend.context import missing
from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.values import CALLABLE, DataValue, describe
from dln.compiler.ir.graph import Node
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span
from dln.grammar.idioms.names import arguments


def not_applied(
    b: Build, target: Value, span: Span, call: s.Call | None = None, scope: Scope | None = None
) -> NoReturn:
    """Of what is called and is no function; an element that is asked for as in MATLAB or R."""
    text = "only functions, blocks and instances can be applied"
    given = call.arguments if call is not None else ()
    fact = ""
    if (
        isinstance(target, list)
        and call is not None
        and any(isinstance(v, CALLABLE) for v in target)
    ):
        inside = ", ".join(a.span.text for a in given)
        fact = f"each of a list is applied by itself: [for f in {span.text}: f({inside})]"
        b.fail("E324", text, span, "is a list", facts=(fact,))
    if scope is not None and missing.hides(b, span.text, scope):
        text = f"{span.text} is a value here, and no longer the function {span.text}"
        fact = f"another name mends it where it is defined: {span.text}_of_x"
        b.fail("E324", text, span, f"is {describe(target)}", facts=(fact,))
    if given and isinstance(target, Node) and all(isinstance(a, s.Name | s.Number) for a in given):
        element = f"{span.text}[{', '.join(a.span.text for a in given)}]"
        if call is not None and all(isinstance(a, s.Name) for a in given):
            b.fail("E324", "elements stand in [ ]", call.span, "", (), element)
        fact = f"elements stand in [ ], and the first is 0: {element}"
        number, sizes = given[0].span.text, [b.number(n) or 0 for n in target.type.example]
        if number.isdigit() and sizes and int(number) >= sizes[0]:  # is no element
            fact = f"a layer of {number} numbers is {span.text} -> dense({number})"
    if isinstance(target, DataValue):
        fact = "how a data set is read stands behind it: on mnist batch 100 for 1 epoch"
    remedy = target if isinstance(target, str) and target.isidentifier() else ""  # of `-> "relu"`
    remedy = f"chain({span.text})" if isinstance(target, list) and call is None else remedy
    if isinstance(target, int) and call is None:
        fact = f"a full layer of {span.text} numbers is dense({span.text})"
    facts = (fact,) if fact else ()
    b.fail("E324", text, span, f"is {describe(target)}", remedy=remedy, facts=facts)


def given_twice(
    b: Build, expr: s.Call, name: str, names: Sequence[str], place: Span, named: Span
) -> NoReturn:
    """`f(x = 3, 4)`: a value without a name is that of the first argument."""
    text = f"{name} is given twice: by its name, and by its place"
    notes = (Note(named, "is by its name"),)
    order = [a.name if isinstance(a, s.Named) else names[k] for k, a in enumerate(expr.arguments)]
    if order == [*names[: len(order)]]:  # all stand where they belong, without a name as well
        values = (
            a.value.span.text if isinstance(a, s.Named) else a.span.text for a in expr.arguments
        )
        remedy = f"{expr.function.span.text}({', '.join(values)})"
        b.fail("E329", text, expr.span, "", (*notes, Note(place, "is by its place")), remedy)
    fact = "a value without a name is that of the argument in its place"
    b.fail("E329", text, place, "is by its place", notes, facts=(fact,))


def by_name(b: Build, call: s.Call) -> NoReturn:
    """`net(x, training = 1)`: an instance takes its ports in order, and has its options already."""
    name, arg = next(iter(call.named.items()))
    who, plain = call.function.span.text, [a.span.text for a in call.plain]
    if call.options:
        plain = []
    from dln.grammar.idioms.names import ARGUMENTS  # late: most calls are right

    text = f"{who} takes what it is applied to, and nothing by name"
    facts = tuple(filter(None, [ARGUMENTS.get(name)]))
    remedy = f"{who}({', '.join(plain or [a.value.span.text for a in call.named.values()][:1])})"
    notes = (Note(arg.span, "is given by name"),)
    b.fail("E322", text, call.span, "", notes, remedy, facts)


def wrong_count(
    b: Build, name: str, names: Sequence[str], found: int, span: Span, remedy: str = ""
) -> NoReturn:
    text = f"{name} takes {len(names)} argument{'s' * (len(names) != 1)}, not {found}"
    line = span.source.line(span.line).split("#")[0].strip()
    drawn = re.fullmatch(rf"(\w+)(\[[^\]]*\])?\s*~\s*{name}\((.*)\)", line)
    if drawn is not None and found > len(names):
        inside = arguments(drawn[3])
        size = re.sub(r"^\s*(size|shape)\s*=", "", ", ".join(inside[len(names) :])).strip(" ()[],")
        given = ", ".join(a.strip() for a in inside[: len(names)])
        whole = f"{drawn[1]}{drawn[2] or f'[{size}]'} ~ {name}({given})"
        start = span.source.starts[span.line - 1] + span.source.line(span.line).index(line)
        at = Span(span.source, start, start + len(line))
        text = "what is drawn says its sizes behind its name"
        b.fail("E322", text, at, "", (), whole)
    facts = (f"as in {name}({', '.join(names)})",) if not remedy else ()
    label = f"takes {', '.join(names) or 'nothing'}"
    b.fail("E322", text, span, label, remedy=remedy, facts=facts)
