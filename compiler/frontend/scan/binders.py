"""What each statement binds: a name, or several, with the equation that finds each.

A `scan` is worked out as one step, and put into the graph as one loop. Inside it `x[t]` is the
element of a sequence and `h[t-1]` a slot: what the step before left. Everything else is the
language as it is elsewhere. The step is worked out once, whatever the number of steps; the nodes
that depend on a slot or an element become the body of the loop. In the one-step forms (`lm.step`)
the same equations are worked out for a single step, and what is carried comes from the memory of
the frame.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from dln.compiler.frontend.context import standing
from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.static_values import lookup, rounds
from dln.compiler.frontend.scan import closing, equations, nested_scan, preconditions
from dln.compiler.frontend.scan.recurrences import Recurrences, first_value
from dln.compiler.frontend.scan.settling import settled
from dln.compiler.ir.graph import Node
from dln.grammar import syntax as s


def _define(b: Build, st: s.Define, scope: Scope) -> None:
    name, first, target = st.target.name, first_value(st.target), st.target
    if first is not None:
        name, st = first, st.changed(target=target.changed(dims=None))
    equations.once(b, scope, name, target.span, partial(equations.define, st=st, scope=scope))


def _draw(b: Build, st: s.Draw, scope: Scope) -> None:
    find = partial(equations.draw, st=st, scope=scope)
    equations.once(b, scope, st.target.name, st.target.span, find)


def _let(b: Build, st: s.Let, scope: Scope) -> None:
    if scope.owner is None:  # those of a block belong to its instance
        find = partial(equations.let, path=scope.named(st.name), expr=st.value, scope=scope)
        equations.once(b, scope, st.name, st.span, find)


def _expect(b: Build, st: s.Expect, scope: Scope) -> None:
    if equations.owner_of(scope) is not None:
        required = partial(preconditions.require, st=st, scope=scope)
        equations.once(b, scope, preconditions.Requirement(st), st.span, required)


def _for(b: Build, st: s.For, scope: Scope) -> None:
    """Each round binds names of its own, all of which are asked for."""
    equations.refuse_misplaced(b, st.body, "for")
    for inner in rounds(b, st, scope):
        b.bind(st.body, inner)
        for name, binding in list(inner.names.items()):
            if name != st.name:
                lookup(b, name, binding.span or st.span, inner)


# ---- scan --------------------------------------------------------------------------------------


def _scan(b: Build, st: s.Scan, scope: Scope) -> None:
    """Bind the sequences that a scan defines, each for the frame of who asks."""
    scan = Recurrences(b, st, scope)

    def sequence(b: Build, *, name: str) -> Node:
        version = b.frame.version
        if version not in scan.made:
            scan.made[version] = _sequences(b, scan)
        return scan.made[version][name]

    for name, line in scan.lines.items():
        equations.once(b, scope, name, line.target.span, partial(sequence, name=name))


def _sequences(b: Build, scan: Recurrences) -> dict[str, Node]:
    _refuse_range(b, scan.st)
    scan.refuse_other_end(b)
    if scan.st.backwards and not scan.inside:
        _refuse_ahead(b, scan.st)
    if b.time.stepping and not scan.inside:
        return closing.stepped(settled(b, scan))
    if scan.inside and b.time.loop is not None:
        return nested_scan.inside(b, scan, b.time.loop)
    apart = replace(b, time=replace(b.time, loop=None, stepping=False))
    return closing.closed(settled(apart, scan))[1]


def _refuse_range(b: Build, st: s.Scan) -> None:
    """`scan t in 0..time-1`: a scan is over all steps."""
    if isinstance(st.range, s.RangeOf) and re.search(
        r"\b(time|length|len|T)\b", st.range.span.text
    ):
        text = f"a scan is over all steps of its sequences, and {st.name} counts them from 0"
        down = re.match(r"\s*\(?(time|length|len|T)\b", st.range.span.text)
        remedy = "time backwards" if down and not st.backwards else "time"
        b.fail("E307", text, st.range.span, "is a range", remedy=remedy)


def _refuse_ahead(b: Build, st: s.Scan) -> None:
    """A scan that begins at the end, where that is not known yet."""
    if b.time.stepping or b.time.reading:
        text = "a single step cannot look at what comes later"
        standing.refuse(b, st.span, "begins at the end of the sequence", text)
    if b.frame.carry is not None:
        text = "a window of a stream does not see what comes after it"
        remedy = "in place of stream: batch, which takes each window as a sequence of its own"
        label = "begins at the end of the sequence"
        b.fail("E319", text, st.span, label, remedy=remedy)


BINDERS: dict[type, Callable[..., None]] = {
    s.Define: _define,
    s.Draw: _draw,
    s.Let: _let,
    s.Scan: _scan,
    s.Expect: _expect,
    s.Update: lambda b, st, scope: None,  # asked for where a phase learns
    s.For: _for,
}
