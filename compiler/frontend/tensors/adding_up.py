"""Equations that add up: `y[o, 2*i + u] += e` puts what stands at i and u into one place of y.

An index on the left that is a sum of indices is a window of y: where windows overlap their elements
are added, and where none reaches there is 0. So it is the adjoint of a window on the right
(`affine_index`), and is the operation that undoes one; its gradient is the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting, lengths, static_values
from dln.compiler.frontend.context.broadcasting import short
from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.values import INDEX, IndexForm, IndexVar
from dln.compiler.frontend.tensors import affine_index, axes
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Conflict, Size, Var
from dln.compiler.ir.tensor_type import IndexAxis
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span


def added_up(b: Build, st: s.Define, scope: Scope, said: Sequence[Size] | None) -> Node:
    """The result of `y[2*i + u] += e`, whose sizes a port has `said` perhaps."""
    inner, dims = scope.child(), st.target.dims or ()
    places = [_place(b, d, inner) for d in dims]
    indices = [index for form in places for index, _ in form.terms]
    _refuse_twice(b, st, indices)
    if all(_plain(form) for form in places):
        name, value = short(st.target.span.text), broadcasting.whole_text(st.value.span.text)
        text = f"nothing is added up here: {st.target.name} has one value for each index"
        fact = "+= adds up what comes to one place, as in y[2*i + u] += ..."
        b.fail("E318", text, st.span, "", (), f"{name} = {value}", (fact,))
    node = static_values.tensor(b, st.value, inner)
    node = axes.axes_stop(b, broadcasting.quantity(b, node, st.value.span), indices, st.span)
    b.owned.requirements += [partial(_known, b, index, st) for index in indices]
    lead, at = len(node.type.running), len(indices)
    if said is not None and len(said) != len(dims):
        said = None  # told elsewhere
    for k in reversed(range(len(dims))):
        at -= len(places[k].terms)
        size = None if said is None else said[k]
        if not _plain(places[k]):
            node = _added(b, node, lead + at, places[k], size, dims[k].span)
    return node


def _known(b: Build, index: IndexVar, st: s.Define) -> None:
    """Something on the right says how far an index runs, or the size of the result does."""
    if b.number(index.size) is None:
        text = f"nothing says how far {index.name} runs"
        at, value = st.target.span, broadcasting.whole_text(st.value.span.text)
        fact = f"for two places: {short(at.text)} += {short(value)} * ones(2)[{index.name}]"
        b.fail("E209", text, at, f"{index.name} stands here alone", facts=(fact,))


def _plain(form: IndexForm) -> bool:
    """Whether an index is a name alone."""
    return form.offset == 0 and len(form.terms) == 1 and form.terms[0][1] == 1


def _place(b: Build, expr: s.Expr, inner: Scope) -> IndexForm:
    """An index on the left, whose names are bound here; those of numbers stay what they are."""
    for name in _names(b, expr):
        if name.id in inner.names:
            continue
        found = inner.lookup(name.id)
        number = found is not None and (found.constant or _is_number(b, name, inner))
        if name is expr or not number:
            static_values.refuse_shadow(b, name.id, name.span, inner, INDEX | Node)
            size = Size.of(Var(name.id, span=name.span))
            index = IndexVar(name.id, IndexAxis(name.id, next(b.counter)), size)
            inner.value(name.id, index, name.span)
    form = affine_index.as_form(b.evaluate(expr, inner))
    if form is None or not form.terms:
        _refuse_place(b, expr)
    return form


def _names(b: Build, expr: s.Expr) -> list[s.Name]:
    """The names in an index: it is made of names and numbers with `+ - *` alone."""
    match expr:
        case s.Name():
            return [expr]
        case s.Number():
            return []
        case s.Group(body=body):
            return _names(b, body)
        case s.Binary(op="+" | "-" | "*", left=left, right=right):
            return _names(b, left) + _names(b, right)
    _refuse_place(b, expr)


def _refuse_place(b: Build, expr: s.Expr) -> NoReturn:
    text = "an index on the left is a sum of indices and whole numbers, with an index in it"
    b.fail("E318", text, expr.span, facts=("as in y[2*i + u] += ...",))


def _is_number(b: Build, name: s.Name, scope: Scope) -> bool:
    value = static_values.lookup(b, name.id, name.span, scope)
    return isinstance(value, int | float | Size) and not isinstance(value, bool)


def _refuse_twice(b: Build, st: s.Define, indices: Sequence[IndexVar]) -> None:
    names = [i.name for i in indices]
    again = next((n for n in names if names.count(n) > 1), None)
    if again is not None:
        y = st.target.name
        text = f"{again} stands in two indices of {y}"
        fact = f"where two are equal is a choice: {y}[i, j] = ... if i == j else 0"
        b.fail("E318", text, st.target.span, "", facts=(fact,))


def _added(b: Build, node: Node, at: int, form: IndexForm, said: Size | None, span: Span) -> Node:
    """The axes of an index's terms, which stand at `at`, added up into one."""
    terms = form.terms
    for place in range(at, at + len(terms)):
        if lengths.extent(b, node.type.shape[place]) is not None:
            text = f"{short(span.text)} would add up sequences of unequal lengths"
            b.fail("E220", text, span, "runs over such a sequence")
    lowest, size = Size(form.offset), Size(form.offset + 1)
    for place, (index, c) in enumerate(terms, at):
        if c > 0:
            size = size + (index.size - 1) * c
        else:
            lowest = lowest + (index.size - 1) * c
            node = b.at(span)("flip", node, axis=place)
    start = b.number(lowest)
    if start is None or start < 0:
        _refuse_start(b, form, start, span)
    if said is not None:
        _cover(b, size, said, span)
    pairs = tuple((abs(c), index.size) for index, c in terms)
    size = b.sizes.resolve(size)
    return b.at(span)("unwindow", node, axis=at, terms=pairs, offset=start, size=size)


def _refuse_start(b: Build, form: IndexForm, start: int | None, span: Span) -> NoReturn:
    if start is None:
        name = next(index.name for index, c in form.terms if c < 0)
        text = f"how far {name} runs is not known where it runs backwards"
        b.fail("E209", text, span)
    when = "first" if form.offset < 0 else "last"
    b.fail("E217", "the index starts before the axis", span, f"is {start} at {when}")


def _cover(b: Build, size: Size, said: Size, span: Span) -> None:
    """Windows that are added up reach as far as the result that a port promises."""

    def fail(c: Conflict) -> NoReturn:
        reach, whole = b.resolve(size), b.resolve(said)
        text = f"the windows {short(span.text)} do not fit the result"
        notes = tuple(
            Note(r.span, r.text) for r in b.sizes.proof(said)[:1] if r.span and r.span != span
        )
        facts = ("pad(..., n) puts zeros around what they give, a slice cuts it",)
        b.fail("E217", text, span, f"they make {reach}, promised are {whole}", notes, "", facts)

    b.equate(size, said, span, f"{short(span.text)} makes the axis", fail)
