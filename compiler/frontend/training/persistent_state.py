"""States of a phase: what it keeps from update to update, beside the minibatch.

    state chain[784] ~ bernoulli(0.5)
    chain := gibbs(R, chain, 15)

There is one row for each example of a full minibatch; a shorter minibatch reads and sets the first
rows. In the graph a state is a source that runs over the batch, so an equation takes it as it takes
a field, and no gradient runs into the update before. Its name means the old value all through an
update.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.frame import Drawing, Frame, PhaseStates
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.static_values import (
    domain_of,
    lookup,
    size,
    tensor,
    word,
)
from dln.compiler.frontend.context.values import CALLABLE, describe
from dln.compiler.frontend.scan.equations import naming, once
from dln.compiler.frontend.tensors.domains import want_domain
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.sizes import BATCH_SIZE, Conflict, Size
from dln.compiler.ir.structure import is_const, is_input, is_param, is_state
from dln.compiler.ir.tensor_type import REAL, TensorType, fits
from dln.compiler.model import Estimating
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span

RUNNING = ("batch",)


def bind(b: Build, body: Sequence[s.Item | s.Stmt], scope: Scope) -> None:
    """Bind the states that some statements of a phase declare."""
    for st in body:
        if isinstance(st, s.Kept):
            once(b, scope, st.target.name, st.target.span, partial(_before, st=st, scope=scope))
    for st in body:
        if isinstance(st, s.Define | s.Draw) and st.target.name in scope.names:
            note = Note(scope.names[st.target.name].span or st.span, "declared here")
            name, text = st.target.name, broadcasting.short(st.value.span.text)
            b.fail("E402", f"{name} is a state of the phase, which is set with :=", st.span,
                   "is an equation", (note,), f"{name} := {text}")  # fmt: skip


def _before(b: Build, st: s.Kept, scope: Scope) -> Node:
    """What a state holds before the update, for each example of the minibatch."""
    name, kept = st.target.name, b.frame.kept
    if kept is None:
        b.fail("E400", f"what stands outside of updates cannot use {name}", st.target.span,
               "is a state of the phase")  # fmt: skip
    path = f"{scope.path}.{name}"
    if path not in kept.first:
        kept.first[path] = _first(b, st, scope, path)
        kept.declared[path] = st.target.span
    like = kept.first[path].type
    return b.mark(b.at(st.target.span)("state", path=path, type=like), st.target.span, path)


def _first(b: Build, st: s.Kept, scope: Scope, path: str) -> Node:
    """The first value of a state: for as many rows as there will be."""
    dims = tuple(size(b, d, scope) for d in st.target.dims or ())
    node = _begins(b, st, scope, path, dims)
    domain = domain_of(b, st.target.domain, scope)
    if domain is not None:
        node = want_domain(b, node, domain, st.value.span, st.target.name, "is said to be")
    elif node.type.kind != "index":
        node = broadcasting.quantity(b, node, st.value.span)
    if domain is None:  # a number like 0 is a beginning, and says nothing of what follows
        domain = REAL if is_const(node) else node.type.domain
    like = TensorType((BATCH_SIZE, *dims), RUNNING, node.type.kind, domain)
    return _in_rows(b, node, like, st.value.span, st.target.name, st.target.span)


def _begins(b: Build, st: s.Kept, scope: Scope, path: str, dims: tuple[Size, ...]) -> Node:
    """What stands behind = or ~, worked out where there is no minibatch yet."""
    name, span = st.target.name, st.value.span
    frame = Frame(next(b.counter), scope.path, batched=True, kept=b.frame.kept)
    drawing = Drawing(path, dims) if st.drawn else None
    begun = replace(b, frame=frame, drawing=drawing, naming=naming(path, scope))
    value = begun.evaluate(st.value, scope)
    if drawing is not None and not drawing.used:
        remedy = f"state {st.target.span.text} = {broadcasting.whole_text(span.text)}"
        b.fail("E343", "what stands after ~ is drawn", span, "is no draw", remedy=remedy)
    node = broadcasting.as_tensor(b, value, span, "a first value")
    given = [n for n in ancestors([node]) if is_input(n)]
    if given:
        label, remedy = f"depends on the data {given[0]['name']}", "begin with a number or a draw"
        b.fail("E401", f"{name} begins before there is a minibatch", span, label, remedy=remedy)
    refuse(b, node, span, f"the first value of {name}")
    return node


def _in_rows(b: Build, node: Node, like: TensorType, span: Span, name: str, at: Span) -> Node:
    """A value for each row of a state; a single number fills it."""
    if "time" in node.type.running:
        b.fail("E357", f"{name} holds one value for each row", span, "runs over time",
               remedy=f"last({broadcasting.whole_text(span.text)})")  # fmt: skip
    if node.type.shape:

        def complain(c: Conflict | None) -> NoReturn:
            notes = (Note(at, f"holds {b.shown(like)} for each row"),)
            b.fail("E202", f"{name} has another shape", span, f"is {b.shown(node.type)}", notes)

        why = f"what the state {name} holds"
        b.same_shape(like.example, node.type.example, span, why, complain)
    node = broadcasting.repeated(b, node, like, span)
    if node.type.domain != like.domain:
        node = b.at(span)("asserted", node, domain=like.domain)
    return node


def _spoken(path: str) -> str:
    """What a phase calls a state of its own."""
    return path.rpartition(".")[2]


def refuse(b: Build, node: Node, span: Span, who: str) -> None:
    """What is not worked out in an update, on the phase's own minibatch, can use no state."""
    for n in ancestors([node]):
        if is_state(n) and n.type.running:
            notes = tuple(Note(p, "is a state of the phase") for p in b.graph.spans[n][:1])
            b.fail("E400", f"{who} cannot use {_spoken(n['path'])}", span, "uses it", notes)


def assign(b: Build, st: s.SetTo, scope: Scope) -> None:
    """`chain := e`: what is kept after the update."""
    if scope.lookup(st.name) is None:
        remedy = f"{st.name} = {broadcasting.whole_text(st.value.span.text)}"
        text = ":= sets a state of the phase; an equation has ="
        b.fail("E402", text, word(st.span, st.name), "is no state", remedy=remedy)
    held, kept = lookup(b, st.name, word(st.span, st.name), scope), b.frame.kept
    own = held if isinstance(held, Node) and is_state(held) else None
    if kept is None or own is None or own["path"] not in kept.first:
        is_, remedy = describe(held), f"{st.name} = {broadcasting.short(st.value.span.text)}"
        remedy = f"state {st.name} = 0, or {remedy}"
        if isinstance(held, Node) and is_param(held):
            is_, remedy = "a parameter", f"update {st.name} += ..."
        elif isinstance(held, Node) and is_input(held):
            remedy = "a state has a name of its own"
        at, text = word(st.span, st.name), ":= sets a state of the phase"
        if isinstance(held, CALLABLE):
            fact = f"a state is declared above, with its first value: state {st.name}[784] = 0"
            b.fail("E402", text, at, f"is {is_}", facts=(fact,))
        b.fail("E402", text, at, f"is {is_}", remedy=remedy)
    path, like = own["path"], own.type
    if path in kept.after:
        again = kept.places[path] == st.span
        notes = () if again else (Note(kept.places[path], "first here"),)
        label = "set in every round" if again else "set again"
        b.fail("E404", f"{st.name} is set twice in one update", st.span, label, notes,
               "one := for each state")  # fmt: skip
    kept.places[path] = st.span
    declared, said = kept.declared[path], broadcasting.short(st.value.span.text)
    node = _in_domain(b, tensor(b, st.value, scope), like, st, declared)
    node = _in_rows(b, node, like, st.value.span, st.name, declared)
    kept.after[path] = b.mark(node, st.span, f"{st.name} := {said}")


def _in_domain(b: Build, node: Node, like: TensorType, st: s.SetTo, declared: Span) -> Node:
    """A new value in the domain of the state."""
    if like.kind == "index" or node.type.kind == "index":
        return want_domain(b, node, like.domain, st.value.span, st.name, "holds")
    node = broadcasting.quantity(b, node, st.value.span)
    if not fits(node.type.domain, like.domain):
        found = node.type.domain.name
        remedy = f"state {declared.text.partition(':')[0].strip()}: {found} ..."
        b.fail("E310", f"{st.name} holds a {like.domain}, not a {found}", st.value.span,
               f"is a {found}", (Note(declared, f"begins as a {like.domain}"),),
               f"{remedy}, or assert the value with `as {like.domain}`")  # fmt: skip
    return node


def complete(b: Build, kept: PhaseStates) -> None:
    """Every state is set once in an update."""
    for path, span in kept.declared.items():
        if path not in kept.places:
            with b.collecting():
                name = _spoken(path)
                b.fail("E403", f"it is not said what is kept in {name}", span, "is never set",
                       remedy=f"{name} := ...")  # fmt: skip


def estimated(b: Build, estimates: Iterable[Estimating]) -> None:
    """What is estimated on other examples than the minibatch cannot use a state."""
    for e in estimates:
        for node in ancestors([e.value]):
            if is_state(node) and node.type.running:
                name = _spoken(node["path"])
                b.fail("E405", f"{name} goes with the minibatch, curvature does not",
                       b.graph.spans[node][0], "the loss uses this state",
                       (Note(e.span, "is estimated on a sample"),),
                       "an optimiser without curvature")  # fmt: skip
