"""The fields of a data set: how each follows from raw, and what phases see of it.

A field that runs over time, `x[time, 2] = raw.x`, takes the first axis of its value for the time.
Where the raw data hold a field `length`, sequences are of unequal length and padded; the lengths
then are a field of the set, whether it is written or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.frame import Drawing, Frame
from dln.compiler.frontend.context.lengths import of_data, resized
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.ports import dims_text, fit, port_sizes
from dln.compiler.frontend.context.static_values import domain_of, tensor
from dln.compiler.frontend.data.columns import as_classes
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import Domain
from dln.compiler.model import FieldOf
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span
from dln.grammar.record import Record

LENGTH = "length"


class Ends(Record):
    """What raw has for how long sequences are: which lengths arrays have of their own, and all
    lengths by name."""

    names: Mapping[str, str] = {}
    nodes: Mapping[str, Node] = {}


NO_ENDS = Ends()


TIMED = ("batch", "time")


def field_of(
    b: Build, st: s.Field, scope: Scope, others: Iterable[FieldOf] = (), said: Ends = NO_ENDS
) -> FieldOf:
    """`x[784]: prob = raw.image / 255`: the value from raw, and the input that phases see.

    `others` are the fields before it: those that end by the same lengths have one number of steps.
    `said` is what the set has in raw for how long its sequences are.
    """
    port = st.port
    running, wanted = port_sizes(b, port, scope, {})
    ends = _ends_of(b, st, said) if running else ""
    frame = Frame(next(b.counter), f"{scope.path}.{port.name}", batched=True)
    drawing = Drawing(frame.site, None) if st.drawn else None
    b = replace(b, frame=frame, drawing=drawing)
    coded = None if port.dims is not None else as_classes(b, st.value, port.domain, scope)
    value = tensor(b, st.value, scope) if coded is None else coded.node
    who = f"the field is declared {port.name}{dims_text(port)}"
    if "batch" not in value.type.running:  # the same for all examples: once for each
        like = value.type.like((BATCH_SIZE, *value.type.shape), ("batch", *value.type.running))
        axes = tuple(range(1, len(like.shape)))
        value = b.at(st.value.span).broadcast(value, like, axes)
    if running:
        value = _over_time(b, value, st, who)
        _one_length(b, value, st, [x for x in others if x.ends == ends])
    else:
        _time_forgotten(b, value, wanted, st, who)
    if port.domain is not None and port.domain.name == "class" and not wanted:
        _one_class(b, value, st)
    if port.dims is not None or len(value.type.example) != 1:
        value = _laid_out(b, value, wanted, st)
    _refuse_columns(b, value, wanted, st)
    fit(b, value, (), wanted, st.value.span, who, port.span)
    domain = domain_of(b, port.domain, scope) if coded is None else coded.domain
    value, checked = _in_domain(b, value, domain, st)
    node = _seen(b, port.name, value, port.span, (ends, said.nodes[ends]) if ends else None)
    if port.name not in scope.names:  # `raw` stays what the reader gives
        scope.value(port.name, value, port.span)
    if checked is not value and b.claims is not None:
        b.claims.append(FieldOf(port.name, value, checked, st.drawn, st.span, ends=ends))
    names = () if coded is None else coded.names
    return FieldOf(port.name, node, checked, st.drawn, st.span, ends=ends, names=names)


def _refuse_columns(b: Build, value: Node, wanted: tuple[Size, ...], st: s.Field) -> None:
    """`x[3] = raw[:2]`: more or fewer columns than the field has numbers."""
    said = re.fullmatch(r"raw\[(\d*):\d*\]", st.value.span.text)
    asked, found = ([b.number(size) or 0 for size in z] for z in (wanted, value.type.example))
    if asked == found or len(asked) != len(found) or not all((*asked, *found)):
        return
    if said is None or len(asked) != 1:
        _refuse_sizes(b, value, found, st)
        return
    first, port = int(said[1] or 0), st.port
    text = f"the field is declared {port.name}{dims_text(port)}, and given {found[0]} columns"
    fact = f"raw[{said[1]}:{first + asked[0]}] has {asked[0]}; {port.name}[{found[0]}] takes these"
    b.fail("E216", text, st.value.span, f"is {b.shown(value.type)}", facts=(fact,))


def _refuse_sizes(b: Build, value: Node, found: list[int], st: s.Field) -> None:
    """`x[4] = [raw.a, raw.b, raw.c]`: of which one side or the other has miscounted."""
    said = re.match(r"\w+\s*(\[[^\]]*\])", st.port.span.text)
    dims = st.port.dims or ()
    if re.search(r"\[[^\[\]]*:[^\[\]]*\]", st.value.span.text):  # a stretch: its ends may be wrong
        return
    if said is None or len(dims) != 1 or not isinstance(dims[0], s.Number):
        return
    name = st.port.name
    text = (
        f"the field is declared {name}{dims_text(st.port)}, and its value is {b.shown(value.type)}"
    )
    at = Span(st.port.span.source, st.port.span.start, st.port.span.start + said.end())
    notes = (Note(st.value.span, f"is {b.shown(value.type)}"),)
    b.fail("E216", text, at, "is declared here", notes, f"{name}[{', '.join(map(str, found))}]")


def _seen(
    b: Build, name: str, value: Node, span: Span, ends: tuple[str, Node] | None = None
) -> Node:
    """The input of phases that stands for the value of a field. Where it runs over time, and raw
    says how long the sequences are, so does the type of the input."""
    sizes = [b.sizes.resolve(size) for size in value.type.shape[1:]]
    if ends is not None and sizes[0].value is not None:
        lengths = _seen(b, *ends, span)
        sizes[0] = of_data(b, sizes[0].constant, lengths)
    type = value.type.like((BATCH_SIZE, *sizes))
    return b.mark(b.at(span)("input", name=name, type=type), span, name)


def _laid_out(b: Build, value: Node, wanted: tuple[Size, ...], st: s.Field) -> Node:
    """An image [28, 28] where `x[784]` is declared is laid out row by row; where `x[1, 28, 28]`
    is, it is one map."""
    found, asked = ([b.number(x) or 0 for x in shape] for shape in (value.type.example, wanted))
    if len(asked) == 1 and len(found) > 1:
        asked = [prod(found)]
    elif [n for n in asked if n != 1] != [n for n in found if n != 1] or asked == found:
        return value
    shape = (*value.type.lead, *map(Size, asked))
    return b.at(st.value.span)("reshape", value, shape=shape, running=value.type.running)


def _in_domain(b: Build, value: Node, domain: Domain | None, st: s.Field) -> tuple[Node, Node]:
    """The value in its declared domain, as other fields see it, and what the data are checked by
    when they are read: of a class made of numbers the numbers themselves, for a cast would cut off
    their fractions."""
    make, checked = b.at(st.value.span), None
    if domain is not None and domain.name == "class":
        if value.type.kind != "index":
            checked = value
            value = make("cast", value, kind="index")
    elif value.type.kind == "bool" or (value.type.kind == "index" and domain is not None):
        value = make("cast", value, kind="real")
    if domain is not None:
        value = make("asserted", value, domain=domain)
    return value, value if checked is None else checked


# ---- time --------------------------------------------------------------------------------------


def _over_time(b: Build, value: Node, st: s.Field, who: str) -> Node:
    """The first axis of each example as the time; what runs over time already stays as it is."""
    span, running = st.value.span, value.type.running
    if "time" in running:
        if running == TIMED:
            return value
        perm = (*(running.index(a) for a in TIMED), *range(2, len(value.type.shape)))
        value = b.at(span)("transpose", value, perm=perm)
    elif not value.type.example:
        label = "is a single number for each example, which does not run over time"
        b.fail("E214", f"{who}, which runs over time", span, label)
    return b.at(span)("running", value, running=TIMED)


def _time_forgotten(b: Build, value: Node, wanted: tuple[Size, ...], st: s.Field, who: str) -> None:
    """A value with the declared axes and one more before them may be meant to run over time."""
    found = [b.sizes.resolve(size) for size in value.type.example]
    if wanted and found[1:] == [b.sizes.resolve(size) for size in wanted]:
        timed = f"{st.port.name}[time, {dims_text(st.port)[1:]}"
        remedy = f"{timed} where the first axis is the time"
        b.fail("E215", who, st.value.span, f"is {b.shown(value.type)}", remedy=remedy)


def _one_class(b: Build, value: Node, st: s.Field) -> None:
    """A row of numbers where the number of a class is meant: one-hot, or an axis of one entry."""
    if len(value.type.example) == 1:
        text, one = broadcasting.short(st.value.span.text), b.number(value.type.example[0]) == 1
        what = f"{text}[0]" if one else f"argmax({text}), where it is one-hot"
        message = f"the field is declared {st.port.name}: a class, one number"
        if value.type.kind == "index" and re.search(r"\w\[time\b", st.span.source.text):
            remedy = re.sub(r"^\w+", lambda m: f"{m[0]}[time]", st.port.span.text)
            notes = (Note(st.value.span, f"is {b.shown(value.type)}, classes one after another"),)
            b.fail("E215", message, st.port.span, "does not run over time", notes, remedy)
        b.fail("E215", message, st.value.span, f"is {b.shown(value.type)}", remedy=what)


def _one_length(b: Build, value: Node, st: s.Field, others: Iterable[FieldOf]) -> None:
    """All fields of a set that run over time have one number of steps."""
    steps = b.sizes.resolve(value.type.size_of("time"))
    for other in others:
        if "time" not in other.node.type.running:
            continue
        theirs = b.sizes.resolve(other.node.type.size_of("time"))
        if steps != theirs:
            text = f"{other.name} runs over {theirs} steps, {st.port.name} over {steps}"
            notes = (Note(other.span, f"has {theirs} steps"),)
            line = other.span.text.partition("=")[2].strip()
            if line == "raw" and st.value.span.text == "raw[1:]":
                at = Span(other.span.source, other.span.stop - 3, other.span.stop)
                note = (Note(st.value.span, f"has {steps} steps"),)
                b.fail("E347", text, at, f"has {theirs} steps", note, "raw[:-1]")
            fact = "all that runs over time in a data set has one number of steps"
            facts = (f"{fact}, but for arrays with lengths of their own, x_length beside x",)
            b.fail("E347", text, st.value.span, f"has {steps} steps", notes, facts=facts)


def said_lengths(raw: Mapping[str, Node]) -> Ends:
    """What raw has for how long each sequence is: `length`, one whole number for each, of all of
    them, and `x_length` of those of `x`, and of what has as many rows as that alone."""
    arrays = {k: node.type.example[0] for k, node in raw.items() if node.type.example}
    own = {k: f"{k}_{LENGTH}" for k in arrays if f"{k}_{LENGTH}" in raw}
    nodes = {name: raw[name] for name in own.values()}
    if LENGTH in raw and _whole(raw[LENGTH]):
        nodes[LENGTH] = raw[LENGTH]
    names = dict(own)
    for k in arrays if LENGTH not in nodes else ():
        alike = {name for j, name in own.items() if arrays[j] == arrays[k]}
        if k not in own and len(alike) == 1:
            names |= dict.fromkeys([k], *alike)
    return Ends(names, nodes)


def _whole(value: Node) -> bool:
    return value.type.kind == "index" and not value.type.example


def _refuse_length(b: Build, name: str, value: Node, span: Span) -> NoReturn:
    what = b.shown(value.type) if value.type.example else "a real number"
    text = f"{name} is how long each sequence is: one whole number for each"
    b.fail("E348", text, span, f"holds {what}")


def _ends_of(b: Build, st: s.Field, said: Ends) -> str:
    """The name of the lengths that the sequences of a field have, "" of none."""
    own = [*dict.fromkeys(said.names[k] for k in _arrays_of(st.value) if k in said.names)]
    if len(own) > 1:
        text = f"{st.port.name} is made of sequences that end apart"
        b.fail("E347", text, st.value.span, f"ends by {' and by '.join(own)}")
    if own and not _whole(said.nodes[own[0]]):
        _refuse_length(b, own[0], said.nodes[own[0]], st.value.span)
    return own[0] if own else LENGTH if LENGTH in said.nodes else ""


def _arrays_of(part: s.Syntax) -> Iterator[str]:
    """The arrays of raw that stand in a piece of syntax."""
    if isinstance(part, s.Attr) and isinstance(part.body, s.Name) and part.body.id == "raw":
        yield part.name
    for inner in part.children():
        yield from _arrays_of(inner)


def with_ends(
    b: Build, raw: Mapping[str, Node], said: Ends, statements: Sequence[s.Syntax]
) -> dict[str, Node]:
    """What raw has, where each sequence ends known: of arrays with lengths of their own, and of
    those that have as many rows as those that become fields over time."""
    fields = (x for x in statements if isinstance(x, s.Field))
    timed = [x for x in fields if x.port.dims and x.port.dims[0].span.text == "time"]
    own = {k: name for k, name in said.names.items() if _whole(said.nodes[name])}
    made = dict(raw)
    for k, name in own.items():
        size = of_data(b, raw[k].type.example[0].constant, said.nodes[name])
        made[k] = resized(b, raw[k], {1: size})
    shared = {k: node for k, node in raw.items() if k not in own}
    rows = {n for line in timed for n in _rows_of(b, line.value, shared)}
    if LENGTH not in said.nodes or len(rows) != 1 or not (steps := rows.pop()):
        return made
    size = of_data(b, steps, said.nodes[LENGTH])
    for k, node in shared.items():
        if node.type.example[:1] == (Size(steps),):
            made[k] = resized(b, node, {1: size})
    return made


def _rows_of(b: Build, part: s.Syntax, raw: Mapping[str, Node]) -> Iterator[int]:
    """How many rows the arrays of raw have that stand in a piece of syntax."""
    if isinstance(part, s.Attr) and isinstance(part.body, s.Name) and part.body.id == "raw":
        if part.name in raw and raw[part.name].type.example:
            yield raw[part.name].type.example[0].constant
        return
    for inner in part.children():
        yield from _rows_of(b, inner, raw)


def lengths(
    b: Build, raw: Mapping[str, Node], fields: dict[str, FieldOf], span: Span
) -> tuple[str, ...]:
    """The fields that hold the lengths of the sequences; added where they are not written. None
    where no field runs over time, or the raw data hold no lengths and no field is called so."""
    if not any("time" in f.node.type.running for f in fields.values()):
        return ()
    used = dict.fromkeys(f.ends for f in fields.values() if f.ends)
    if LENGTH in fields or LENGTH in raw:
        used.setdefault(LENGTH)
    found = [name for name in used if _checked_length(b, name, raw, fields, span)]
    for name in found:
        if name not in fields:
            node = _seen(b, name, raw[name], span)
            fields[name] = FieldOf(name, node, raw[name], False, span)
    return tuple(name for name in found if any(f.ends == name for f in fields.values()))


def _checked_length(
    b: Build, name: str, raw: Mapping[str, Node], fields: Mapping[str, FieldOf], span: Span
) -> bool:
    """Whether there are lengths of a name. Fails where something else is called so."""
    mine, value = fields.get(name), raw.get(name)
    text = f"{name} is how long each sequence is"
    if value is None:
        if mine is None:
            return False
        fact = f'lengths are an array "{name}" beside the sequences, as npz(...) reads it'
        remedy = mine.span.text.replace(name, "steps", 1)
        label = "is a field like any other"
        b.fail("E348", f"{text}, and raw has none", mine.span, label, (), remedy, (fact,))
    if mine is not None and mine.value is not value:
        b.fail("E348", text, mine.span, "is something else", remedy=f"{name} = raw.{name}")
    if not _whole(value):
        _refuse_length(b, name, value, span)
    return True
