"""Tasks: what is done with the result of a spec, and whether it fits into the files named."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.artefacts import FILES, FORMS, Artefact
from dln.compiler.frontend.context.build_context import Build, Naming, Scope, Value
from dln.compiler.frontend.context.frame import Frame
from dln.compiler.frontend.context.place import Space, replace
from dln.compiler.frontend.context.static_values import lookup, refuse_idle, static
from dln.compiler.frontend.expressions import phase_queries
from dln.compiler.frontend.expressions.emit_functions import class_names, label_of
from dln.compiler.frontend.results.checks import no_data
from dln.compiler.frontend.scan.equations import bind_flat, unrolled
from dln.compiler.frontend.training import phase_clauses
from dln.compiler.ir.graph import Node
from dln.compiler.ir.tensor_type import spoken
from dln.compiler.model import Emission, EmittedPart, Tasking
from dln.compiler.schema.keys import PhaseNumber
from dln.compiler.schema.tables import PICTURES
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span


def task(b: Build, st: s.Task, scope: Scope) -> Tasking:
    """A `task`: options are constants, turned from outside with `-D`."""
    refuse_idle(b, st, s.Emit, "emit ...")
    inner = scope.child(st.name, Space("task", st.name))
    options = {o.name: _option(b, o, scope) for o in st.options}
    for o in st.options:
        inner.value(o.name, options[o.name], o.span)
    frame = Frame(next(b.counter), st.name)
    own = replace(b, frame=frame, naming=Naming(space=inner.space))
    bind_flat(own, st.body, inner)
    lines = list(unrolled(own, st.body, inner))
    emits = [_emission(own, e, where) for e, where in lines if isinstance(e, s.Emit)]
    for line, where in lines:
        if isinstance(line, s.Define | s.Draw):  # what no emit has asked for may be wrong too
            lookup(own, line.target.name, line.span, where)
    _once_written(b, emits)
    after = phase_clauses.earlier(b, st.after, scope)
    made = Tasking(options, _numbered(emits), st.span, name=st.name, after=after)
    _once_written(b, [e for t in (*b.built.tasks.values(), made) for e in t.emits])
    return made


def _once_written(b: Build, emits: Sequence[Emission]) -> None:
    """Raise a problem where two lines write to one file: the first would be lost."""
    written = dict[PurePath, Span]()
    for e in emits:
        if e.to is not None:
            first = written.setdefault(PurePath(e.to), e.span)
            if first != e.span:
                text, notes = f"{e.to} is written twice", (Note(first, "first here"),)
                path, said, again = PurePath(e.to), e.span.text, e.span.repeats(first)
                other = said.replace(path.name, f"{path.stem}-2{path.suffix}")
                other = "" if again else other  # one of two equal lines goes
                b.fail("E334", text, e.span, "would take its place", notes, other)


def _option(b: Build, o: s.Option, scope: Scope) -> object:
    given = b.outside.constants.get(o.name)
    if given is not None and o.name not in b.built.constants:
        b.built.used.add(o.name)
        return given
    if o.default is not None:
        return static(b, o.default, scope, f"the option {o.name}")
    message = f"the option {o.name} of a task needs a value"
    b.fail("E333", message, o.span, remedy=f"{o.name} = ...")


def _numbered(emits: Sequence[Emission]) -> tuple[Emission, ...]:
    """Names that a `for` uses again get numbers: curve-0.png, curve-1.png."""
    times, seen = Counter(e.to for e in emits), Counter[str]()
    made = []
    for e in emits:
        if e.to is not None and times[e.to] > 1:
            path = PurePath(e.to)
            number, seen[e.to] = seen[e.to], seen[e.to] + 1
            e = e.changed(to=str(path.with_name(f"{path.stem}-{number}{path.suffix}")))
        made.append(e)
    return tuple(made)


# ---- what is emitted ---------------------------------------------------------------------------


def _emission(b: Build, st: s.Emit, scope: Scope) -> Emission:
    """One `emit`. What it holds must fit into the kind of file that it goes to; a picture is of one
    to four axes."""
    value, span = b.evaluate(st.value, scope), st.value.span
    kind = None if st.to is None else PurePath(st.to).suffix
    if kind is not None and kind not in FILES:
        text = f"a task writes no {kind or 'file without a suffix'}"
        facts, pictures = (f"it writes {', '.join(FILES)}",), kind in (".jpg", ".jpeg", ".gif")
        remedy = st.span.text.replace(kind, ".png") if kind and pictures else ""
        if not kind and st.to and not st.to.endswith("/"):
            drawn = re.match(r"emit (tiles|(?:log_)?plot)\b", st.span.text)
            ends = ".png" if drawn else ".csv"
            remedy = st.span.text.replace(f'"{st.to}"', f'"{st.to}{ends}"')
        b.fail("E393", text, st.span, "", (), remedy, facts)
    made = _artefact(b, st, value, kind)
    form = FORMS[made.form]
    if kind not in form.files and (kind is not None or not form.printed):
        _no_file(b, st, form.what, form.suggest)
    parts = tuple(_curve(b, *part) if form.curves else part[0] for part in made.parts)
    for part in parts:
        if isinstance(part.value, Node) and made.on is None:
            no_data(b, part.value, span, "a task")
        if isinstance(part.value, Node) and form.array:
            rank = len(part.value.type.shape)
            if kind in PICTURES and not 1 <= rank <= 4:
                what = f"a tensor with {rank} axes" if rank else "a single number"
                _no_file(b, st, what, "value.npy" if rank else "value.csv")
    return Emission(
        parts, st.span, made.where, form=made.form, to=st.to, on=made.on, count=made.count
    )


def _artefact(b: Build, st: s.Emit, value: Value, kind: str | None) -> Artefact:
    """What is emitted: an artefact, a text, or a tensor; a watch in a picture is its history."""
    if isinstance(value, Artefact):
        return value
    span = st.value.span
    if isinstance(value, str):
        return Artefact("text", ((EmittedPart(value), span),))
    node = broadcasting.as_tensor(b, value, span, "what is emitted")
    form = "plot" if kind in PICTURES and _watch(b, node) is not None else "value"
    part = EmittedPart(
        node, label=label_of(st.value), axis=_axis(node), classes=class_names(b, node)
    )
    return Artefact(form, ((part, span),))


def _no_file(b: Build, st: s.Emit, what: str, better: str) -> NoReturn:
    where = "be printed" if st.to is None else f"go into a {PurePath(st.to).suffix} file"
    short = broadcasting.short(st.value.span.text)
    remedy = f'emit {short} to "{better}"'
    b.fail("E394", f"{what} cannot {where}", st.value.span, f"is {what}", remedy=remedy)


def _curve(b: Build, part: EmittedPart, span: Span) -> EmittedPart:
    """Curves are vectors, or watches, whose history is drawn."""
    node = part.value
    assert isinstance(node, Node)
    if (watch := _watch(b, node)) is not None:
        return part.changed(value=watch[0], axis=watch[1])
    if len(node.type.shape) == 1:
        return part.changed(axis=_axis(node))
    message = "a curve is a vector, or a watch of a phase"
    facts = ("numbers are printed by emit alone, a matrix is a picture of its own",)
    b.fail("E395", message, span, f"is {b.shown(node.type)}", facts=facts)


def _axis(node: Node) -> str:
    """What the first axis of a tensor is called."""
    return spoken(node.type.running[0]) if node.type.running else "index"


def _watch(b: Build, node: Node) -> tuple[PhaseNumber, str] | None:
    """`sse.error`, where a number is the last value of a watch, and the unit that it goes by."""
    number = phase_queries.reported(b, node)
    if not isinstance(number, PhaseNumber):
        return None
    for w in b.phases.made[number.phase].watches:
        if number == PhaseNumber(number.phase, w.name):
            by_epoch = w.every is not None and w.every[1].startswith("epoch")
            return number, "epoch" if by_epoch else "update"
    return None
