"""What the reports of a running phase lead to: `plateau(0.1, by = valid)`, and the watch that a
rule follows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.static_values import static, tensor, whole
from dln.compiler.frontend.context.values import NUMBER, unfit
from dln.compiler.frontend.expressions import phase_queries
from dln.compiler.frontend.tensors import pointwise
from dln.compiler.ir.graph import Node
from dln.compiler.schema.keys import ReportFold, WatchReport
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

PLATEAU: Mapping[str, float] = {"factor": 0.1, "patience": 10, "threshold": 0, "cooldown": 0}
"""The rules of a plateau, in the order of its key, with what holds where nothing is said."""
HOW = "sgd(lr = plateau(0.1, by = valid, factor = 0.5, patience = 3))"


def followed(b: Build, expr: s.Expr, scope: Scope, who: str) -> tuple[WatchReport, int]:
    """The watch that a rule follows, and the sign by which smaller is better: `-accuracy`."""
    sign, part = 1, expr
    while isinstance(part, s.Group) or (isinstance(part, s.Unary) and part.op == "-"):
        sign = sign if isinstance(part, s.Group) else -sign
        part = part.body
    value = b.evaluate(part, scope)
    found = phase_queries.reported(b, value) if isinstance(value, Node) else None
    if isinstance(found, WatchReport) and found.at is None and value not in b.phases.latest:
        return found, sign
    several = isinstance(value, Node) and value in b.phases.latest
    example = "for example valid, or -accuracy"
    if several:
        name = broadcasting.whole_text(part.span.text)
        example = f"a watch of its own makes one of them, as watch most = max({name}) ..."
    said = broadcasting.short(part.span.text)
    label = f"{said} has several numbers" if several else f"{said} is no watch"
    text = f"{who} follows one watch, by its name, or less where larger is better"
    b.fail("E432", text, expr.span, label, facts=(example,))


def warn_of_largest(b: Build, name: s.Name, line: Span, why: str) -> None:
    """Warn of `best by accuracy`: what is best is the smallest, and this is smaller where it is
    worse. `line` is that of the watch."""
    text = line.text.partition("=")[2]
    if re.search(r"[^<>=!]==", text) and "!=" not in text and not re.match(r"\s*(1\b|-)", text):
        said = f"{why.format(name.id)}, and {name.id} counts what is right"
        b.warn("W309", said, name.span, label="is largest where it is best", remedy=f"-{name.id}")


def fold(b: Build, key: ReportFold, span: Span) -> Node:
    """A number that follows from reports."""
    return b.mark(b.at(span)("clock", name=key), span, key.spoken)


def plateau(b: Build, expr: s.Call, scope: Scope) -> Value:
    """`plateau(0.1, by = valid, factor = 0.5, patience = 3)`: 0.1, times 0.5 at each third report
    running that is no better than the best."""
    takes = "it takes a first value, by, factor, patience, threshold, cooldown and least"
    if len(expr.plain) == 2 and "by" not in expr.named:
        watch = expr.plain[1].span
        text = "the watch that a plateau goes by is given by name"
        b.fail("E322", text, watch, "has no name here", (), f"by = {watch.text}", (takes,))
    for name in set(expr.named) - {"by", "least", *PLATEAU}:
        b.fail("E322", f"plateau has no {name}", expr.named[name].span, "unknown", facts=(takes,))
    if len(expr.plain) != 1 or expr.options:
        b.fail("E322", "plateau does not say where it begins", expr.span, "", (), HOW, (takes,))
    given = {name: argument.value for name, argument in expr.named.items()}
    if "by" not in given:
        b.fail("E322", "plateau does not say which watch it goes by", expr.span, remedy=HOW)
    by = given.pop("by")
    report, sign = followed(b, by, scope, "plateau")
    if isinstance(by, s.Name) and (made := scope.lookup(report.watch)) and made.span:
        warn_of_largest(b, by, made.span, "a plateau is where {} gets no smaller")
    least = given.pop("least", None)
    rules = {**PLATEAU, **{name: _rule(b, name, given[name], scope) for name in given}}
    key = ReportFold("plateau", report.watch, sign, tuple(map(float, rules.values())), report.entry)
    first, lowered = tensor(b, expr.plain[0], scope, "what is lowered"), fold(b, key, expr.span)
    rate = pointwise.binary(b, "mul", first, lowered, expr.span)
    if least is None:
        return rate
    return pointwise.binary(b, "maximum", rate, tensor(b, least, scope, "least"), expr.span)


def _rule(b: Build, name: str, expr: s.Expr, scope: Scope) -> float:
    """One of the numbers of a plateau."""
    if name in ("patience", "cooldown"):
        value: object = whole(b, expr, scope, name)
        fits = isinstance(value, int) and value >= (name == "patience")
        wanted = "at least 1" if name == "patience" else "0 or more"
    else:
        value = static(b, expr, scope, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = number and (0 < value < 1 if name == "factor" else value >= 0)  # type: ignore[operator]
        wanted = "between 0 and 1" if name == "factor" else "0 or more"
    if not fits:
        facts = (f"as in {name} = {'0.5' if name == 'factor' else '3'}",)
        unfit(b, "E433", f"{name} of a plateau is {wanted}", expr.span, value, NUMBER, facts=facts)
    assert isinstance(value, int | float)
    return float(value)
