"""The clauses of `train`: batch or stream, duration, order, precision, seed, shards, phases."""

from __future__ import annotations

import re

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.place import Poisoned
from dln.compiler.frontend.context.size_places import const_place
from dln.compiler.frontend.context.static_values import positive, static, whole, word
from dln.compiler.frontend.context.values import WHOLE, unfit
from dln.compiler.frontend.training.phase_scope import MOST_ROUND, phase_name
from dln.compiler.ir.tensor_type import TIME
from dln.compiler.model import DataSet
from dln.compiler.schema.records import Clauses
from dln.compiler.schema.tables import BY_CLASS, DTYPES, ORDERS, UNITS
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span, nearest

CLASHES = {"stream": ("batch", "order"), "batch": ("stream",), "order": ("stream",)}


def read(b: Build, st: s.Train, scope: Scope, data: DataSet) -> Clauses:
    """The clauses of a phase; each stands once."""
    said = Clauses()
    seen: dict[str, Span] = {}
    for c in st.clauses:
        kind = "after" if isinstance(c, s.After) else c.kind
        if kind in seen:
            b.refuse_again(f"{kind} stands twice", c.span, seen[kind])
        seen[kind] = c.span
        _instead_of(b, kind, seen)
        if isinstance(c, s.After):
            said = said.changed(after=earlier(b, c.phases, scope, st.name.span.text))
        else:
            said = _clause(b, c, scope, data, said)
    if "for" not in seen:
        b.fail("E360", f"how long is {st.name.name} trained?", st.name.span, remedy="for 20 epochs")
    return said


def earlier(b: Build, phases: tuple[s.NameIx, ...], scope: Scope, own: str = "") -> tuple[str, ...]:
    """The names of the phases that something comes after, perhaps a phase of its `own` name."""
    names = tuple(phase_name(b, n, scope) for n in phases)
    for name, n in zip(names, phases, strict=True):
        if own == name:
            fact = f"phases that stand above this one: {', '.join(b.phases.made) or 'none'}"
            b.fail("E331", f"{name} cannot come after itself", n.span, facts=(fact,))
        if name not in b.phases.made and name in b.phases.tried:
            raise Poisoned
        if name not in b.phases.made:
            hint = nearest(name, b.phases.made) or "".join(
                [*b.phases.made] * (len(b.phases.made) == 1)
            )
            above = ", ".join(b.phases.made) or "none"
            facts = () if hint else (f"phases that stand above this one: {above}",)
            text = f"there is no earlier phase {name}"
            if re.search(rf"^train {re.escape(name)}\b", b.source.text[n.span.stop :], re.M):
                hint, facts = "", (f"{name} stands below: it is put above this one",)
            b.fail("E301", text, n.span, "unknown", remedy=hint, facts=facts)
    return names


def _clause(b: Build, c: s.Clause, scope: Scope, data: DataSet, said: Clauses) -> Clauses:
    match c.kind:
        case "batch":
            if c.times is not None:
                positive(b, c.times, scope, "how many minibatches are gathered", most=MOST_ROUND)
            if isinstance(c.value, s.Name) and c.value.id == "all":
                if c.times is not None:
                    text = "all examples are one minibatch: there are no others to gather"
                    b.fail("E434", text, c.span, "is the whole set", remedy="batch all")
                return said.changed(batch=None)
            return said.changed(batch=_positive(b, c, scope, "a batch"))
        case "for":
            unit = c.unit or "epoch"
            value = static(b, c.value, scope, "how long") if c.value else 0
            truth = isinstance(value, bool)
            number = value if isinstance(value, int | float) and not truth else -1
            if number < 0 or (unit != "second" and number != int(number)):
                at, text = (c.value or c).span, f"the number of {unit}s must be a whole number"
                notes = tuple[Note, ...]()
                if c.value is not None and (said_at := const_place(c.value, scope)) is not None:
                    at, notes = said_at, (Note(at, "stands here"),)
                unfit(b, "E305", text, at, value, WHOLE, notes=notes)
            return said.changed(duration=(int(number), UNITS[unit]))
        case "order":
            return _order(b, c, data, said)
        case "stream":
            _refuse_timeless(b, c, data)
            return said.changed(batch=_positive(b, c, scope, "a stream", "row"), order="stream")
        case "dtype":
            if c.word not in DTYPES:
                said_word = c.word or ""
                text, at = f"there is no precision {c.word}", word(c.span, said_word)
                remedy = nearest(said_word, DTYPES) or "float32 or float64"
                b.fail("E361", text, at, "unknown", remedy=remedy)
            return said.changed(dtype=c.word)
        case "shards":
            assert c.value is not None
            wrong = "a minibatch has at least one shard"
            count = positive(b, c.value, scope, "the number of shards", wrong)
            return said.changed(shards=count if count > 1 else None)
    assert c.kind == "seed" and c.value is not None
    return said.changed(seed=whole(b, c.value, scope, "a seed"))


def _instead_of(b: Build, kind: str, seen: dict[str, Span]) -> None:
    """A stream says itself how many examples are read at once, and in which order."""
    other = next((k for k in CLASHES.get(kind, ()) if k in seen), None)
    if other is None:
        return
    left = other if kind == "stream" else kind
    why = "takes as many examples at once as it has rows"
    why = why if left == "batch" else "reads windows one after the other"
    note = Note(seen[other], f"{other} stands here")
    text = f"a stream {why}: {left} has nothing to say"
    b.fail("E363", text, seen[kind], f"and {kind} here", (note,), f"leave out {left}, or stream")


def _positive(b: Build, c: s.Clause, scope: Scope, what: str, of: str = "example") -> int:
    assert c.value is not None
    return positive(b, c.value, scope, what, f"{what} has at least one {of}")


def _order(b: Build, c: s.Clause, data: DataSet, said: Clauses) -> Clauses:
    """`order shuffled`, `file`, `replacement`, `balanced(label)`, `even(label)`."""
    value = c.value
    head = value.function if isinstance(value, s.Call) else value
    name = head.id if isinstance(head, s.Name) else ""
    if name not in ORDERS:
        at = value.span if value is not None else c.span
        remedy = nearest(name, ORDERS) or "one of " + ", ".join(ORDERS)
        text = f"there is no order {broadcasting.short(at.text)}"
        b.fail("E362", text, at, "unknown", remedy=remedy)
    if name not in BY_CLASS:
        return said.changed(order=name)
    args = value.arguments if isinstance(value, s.Call) else ()
    label = args[0].id if len(args) == 1 and isinstance(args[0], s.Name) else ""
    if label not in data.fields or data.fields[label].node.type.domain.name != "class":
        classes = [k for k, f in data.fields.items() if f.node.type.domain.name == "class"]
        at, text = args[0].span if args else c.span, f"{name} takes the field that holds the class"
        remedy = f"order {name}({classes[0]})" if classes else ""
        facts = () if remedy else ("a field is one where it says so: label: class(10) = raw.label",)
        is_ = (
            f"is {data.fields[label].node.type.domain}"
            if label in data.fields
            else f"{broadcasting.short(at.text)} is no field of {data.name}"
        )
        b.fail("E362", text, at, is_, remedy=remedy, facts=facts)
    return said.changed(order=name, balanced=label)


def gathered(b: Build, st: s.Train, scope: Scope) -> int:
    """The gradients of how many minibatches are gathered before parameters move; 1 where nothing,
    or what is wrong, is said, which `read` reports."""
    for c in st.clauses:
        if isinstance(c, s.Clause) and c.times is not None:
            found = b.evaluate(c.times, scope)
            return found if isinstance(found, int) and 1 <= found <= MOST_ROUND else 1
    return 1


def _refuse_timeless(b: Build, c: s.Clause, data: DataSet) -> None:
    """A stream of examples of which nothing runs over time: there is nothing to carry on."""
    if not any(TIME in f.node.type.running for f in data.fields.values()):
        text = f"a stream reads what runs over time, and nothing in {data.name} does"
        at = c.value.span if c.value is not None else c.span
        whole = Span(at.source, c.span.start, at.stop)
        remedy = f"batch {at.text}" if whole.text == f"stream {at.text}" else ""
        b.fail("E397", text, whole, "has nothing to go on with", remedy=remedy)


def rows(b: Build, st: s.Train, scope: Scope) -> int | None:
    """How many rows a `stream` reads side by side; None where the phase has no stream, or what it
    says is wrong, which `read` reports."""
    for c in st.clauses:
        if isinstance(c, s.Clause) and c.kind == "stream" and c.value is not None:
            found = b.evaluate(c.value, scope)
            return found if isinstance(found, int) and found >= 1 else None
    return None
