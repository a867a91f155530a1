"""What each statement binds: a name, or several, with the equation that finds each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.static_values import lookup, rounds
from dln.compiler.frontend.scan import equations, preconditions, scan
from dln.compiler.frontend.scan.recurrences import first_name, first_value
from dln.grammar import syntax as s


def _define(b: Build, st: s.Define, scope: Scope) -> None:
    name, lag, target = st.target.name, first_value(st.target), st.target
    if lag is not None:
        name, st = first_name(name, lag), st.changed(target=target.changed(dims=None))
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
        equations.once(b, scope, preconditions.name_of(st), st.span, required)


def _for(b: Build, st: s.For, scope: Scope) -> None:
    """Each round binds names of its own, all of which are asked for."""
    equations.refuse_misplaced(b, st.body, "for")
    for inner in rounds(b, st, scope):
        b.bind(st.body, inner)
        for name, binding in list(inner.names.items()):
            if name != st.name:
                lookup(b, name, binding.span or st.span, inner)


BINDERS: dict[type, Callable[..., None]] = {
    s.Define: _define,
    s.Draw: _draw,
    s.Let: _let,
    s.Scan: scan.bind,
    s.Expect: _expect,
    s.For: _for,
}
