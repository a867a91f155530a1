"""Which shapes the ports of functions and blocks, fields and parameters take, and whether a tensor
fits."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NoReturn, TypeAlias

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.size_places import instead, size_place
from dln.compiler.frontend.context.static_values import size
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.ir.sizes import Conflict, Size, Var
from dln.compiler.ir.structure import (
    bare,
    in_step,
    is_draw,
    is_full_data,
    is_input,
    is_state,
)
from dln.compiler.ir.tensor_type import IndexAxis, TensorType, spoken
from dln.compiler.schema.keys import WholeField
from dln.compiler.schema.records import On
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span

Axes: TypeAlias = tuple[str, ...]
SHAPED = (
    "the shape of one example is said where it is declared, in the field of the data and in every "
    "port on its way: x[1, 28, 28]"
)

RESHAPED = "a vector becomes one of these by reshape(x, [c, h, w]), with as many numbers"


def port_sizes(
    b: Build, port: s.Port, scope: Scope, declare: dict[str, Var]
) -> tuple[Axes, tuple[Size, ...]]:
    """The running axes and the sizes of a port; new names are dimension variables."""
    dims = list(port.dims or ())
    running = []
    while dims and isinstance(first := dims[0], s.Name) and first.id in ("batch", "time"):
        running.append(first.id)
        dims.pop(0)
    if "batch" in running:
        written = [d.span for d in port.dims or ()]
        at = written[running.index("batch")]
        rest = [span.text for span in written if span != at]
        remedy = f"{port.name}[{', '.join(rest)}]" if rest else port.name
        text = f"{port.name} is written for one example, and mapped over the batch by itself"
        b.fail("E346", text, at, "names the axis of the examples", remedy=remedy)
    return tuple(running), tuple(size(b, d, scope, declare) for d in dims)


def dims_text(port: s.Port) -> str:
    """`[n, m]` as it is written."""
    return "[" + ", ".join(d.span.text for d in port.dims) + "]" if port.dims else ""


def _other_axes(
    b: Build, node: Node, wanted: Sequence[Size], span: Span, who: str, port: Span
) -> NoReturn:
    """A tensor with more axes than its port has, or fewer."""
    found, a_class = node.type.example, node.type.domain.name == "class"
    axes = f"{len(wanted)} ax{'i' if len(wanted) == 1 else 'e'}s"
    text = f"{who}: {f'a tensor with {axes}' if wanted else 'a single number'}"
    _refuse_whole(b, node, wanted, span, who)
    _refuse_largest(b, node, wanted)
    given, label = broadcasting.whole_text(span.text), f"is {b.shown(node.type)}"
    remedy = f"flatten({given})" if len(wanted) == 1 < len(found) and span != port else ""
    if len(wanted) == 3 and len(found) == 1 and (side := _side(b.number(found[0]))):
        remedy = f"reshape({given}, [1, {side}, {side}])"
    ways = _of_maps(b, span, who) if remedy else ()
    remedy = "" if ways else remedy
    if a_class and len(wanted) == len(found) + 1:
        remedy = f"onehot({given})"
    if a_class:
        kind = broadcasting.domain_text(b, node.type.domain)
        label = f"{label} of {kind}" if "[" in label else f"is a {kind}"
    else:
        _refuse_untimed(b, node, wanted, span, text, port)
        _refuse_batch(b, node, wanted, span, text, port)
    facts = _towards(b, node, wanted, given) if not a_class and not remedy else ()
    stepped = re.search(r"\[\s*\w+\s*-\s*\d+\s*\]$", span.text) is not None
    if stepped and ": class(" in port.text and len(found) == 1 and b.number(found[0]):
        facts = ("of a number for each class one is drawn by ~ categorical(softmax(z)); "
                 "argmax(z) is the likeliest",)  # fmt: skip
    if is_state(node) and not found and all(b.number(n) is not None for n in wanted) and wanted:
        at = b.graph.spans[node][0]
        remedy = f"{at.text}[{', '.join(str(b.number(n)) for n in wanted)}]"
        b.fail(
            "E215", text, at, "has one number for each row", (Note(span, "is given here"),), remedy
        )
    drawn = b.facts.single.get(node)
    if drawn is not None and wanted:
        fact = f"{drawn.text}[10] ~ ... draws a vector of ten"
        label = "is drawn as one number"
        b.fail("E215", text, drawn, label, (Note(span, "is taken here"),), "", (fact,))
    notes = (Note(port, "the port"),) if port.source is span.source else ()
    ways += _fields(b, node, wanted, span) if a_class and remedy else ()
    b.fail("E215", text, span, label, notes, remedy, facts, ways, about=(node,))


def _of_maps(b: Build, span: Span, who: str) -> tuple[tuple[Span, str], ...]:
    """The layer of the library that is for images where one for vectors stands behind a value:
    `batch_norm_maps` for `batch_norm`."""
    name, source = who.split()[0], span.source
    found = [k for k in b.outside.shelf if k.startswith(f"{name}_")]
    at = re.compile(rf"->\s*({name})\b").match(source.text, span.stop + 1)
    if len(found) != 1 or at is None:
        return ()
    return ((Span(source, at.start(1), at.end(1)), found[0]),)


def _side(count: int | None) -> int:
    """How many rows a square picture of so many numbers has; 0 where there is none."""
    side = math.isqrt(count or 0)
    return side if side > 2 and side * side == count else 0


def _fields(
    b: Build, node: Node, wanted: Sequence[Size], span: Span
) -> tuple[tuple[Span, str], ...]:
    """The fields beside a class that have as many axes as are wanted: `x`, of an autoencoder."""
    sets = [d for d in b.data.sets.values() if any(f.node is node for f in d.fields.values())]
    fields = {f.name: f.node.type for d in sets for f in d.fields.values()}
    fit = [k for k, t in fields.items() if t.kind == "real" and len(t.example) == len(wanted)]
    return tuple((span, name) for name in fit)


def _towards(b: Build, node: Node, wanted: Sequence[Size], given: str) -> tuple[str, ...]:
    """How what has fewer axes becomes what has more."""
    found = [b.number(n) for n in node.type.example]
    if len(found) == 2 and len(wanted) == 3 and None not in found:
        return (f"one map is [1, h, w]: reshape({given}, [1, {found[0]}, {found[1]}])",)
    index = next((spoken(a) for a in node.type.running[::-1] if isinstance(a, IndexAxis)), "")
    if not found and len(wanted) == 1 and index:
        whole = f"exp({given}) / sum({index}: exp({given}))"
        return (f"over an index it is written out, as softmax over {index} is {whole}",)
    if 1 != len(found) or len(found) >= len(wanted):
        return ()
    said = is_input(bare(node)) or bool(b.calls)
    return (SHAPED,) if said and is_input(bare(node)) else (RESHAPED,)


def fit(
    b: Build,
    node: Node,
    running: Axes,
    wanted: Sequence[Size],
    span: Span,
    who: str,
    port: Span,
    beside: Sequence[Node] = (),
) -> None:
    """A tensor where a port with these sizes stands, which is declared at `port`; others may have
    given it its sizes that stand `beside` it."""
    found = node.type.example
    for axis in running:
        if axis not in node.type.running:
            label = f"is {b.shown(node.type)}, which does not run over {axis}"
            facts = (f"what runs over {axis} says so first: x[{axis}, n]",) * (axis == "time")
            if axis == "time" and any(map(in_step, ancestors([node]))):
                said = re.sub(r"\[\w+\]", "", broadcasting.whole_text(span.text))
                facts = (f"a scan has one step at a time; it takes all of {said}, above the scan",)
            text = f"{who}, which runs over {axis}"
            b.fail("E214", text, span, label, facts=facts, about=(node,))
    if len(found) != len(wanted):
        _other_axes(b, node, wanted, span, who, port)

    def fail(c: Conflict) -> NoReturn:
        notes = b.proof_notes(*wanted, *found, skip=span)
        if span == port:
            notes += tuple(Note(p, f"is {b.shown(node.type)}") for p in b.graph.spans[node][:1])
        facts = (f"{c.left} = {b.sizes.resolve(c.right)}: {c.remainder}",) if c.remainder else ()
        names = dict.fromkeys(v for size in wanted for v, _ in size.terms)
        known = [f"{v} = {n}" for v in names if (n := b.number(Size.of(v))) is not None]
        text = f"{who}, where {', '.join(known)}" if known else who
        if span == port:
            _refuse_promise(b, node, wanted, span, text)
        _refuse_drawn(b, node, wanted, text, port)
        if (
            is_input(bare(node))
            and port.source is b.source is span.source
            and port.line != span.line
        ):
            said = next(iter(b.graph.spans.get(bare(node), ())), span)
            notes += (Note(port, "takes this"),)
            notes += (Note(said, "is declared here"),) if said.source is b.source else ()
            facts = facts or ("one of the two says the wrong size",)
        _refuse_beside(b, node, wanted, span, text, beside)
        label = f"is {b.shown(node.type)}"
        b.fail("E216", text, span, label, notes, "", facts, about=(node,))

    for w, f in zip(wanted, found, strict=True):
        b.equate(w, f, span, f"{broadcasting.short(span.text)} is {b.shown(node.type)}", fail)


def _refuse_drawn(b: Build, node: Node, wanted: Sequence[Size], text: str, port: Span) -> None:
    """A draw of another size than what it is given to takes: its line says the size."""
    numbers, at = [b.number(n) for n in wanted], next(iter(b.graph.spans.get(node, ())), port)
    said = re.match(r"\s*([A-Za-z]\w*)\[[\d, ]+\]\s*~", at.source.line(at.line))
    fixed = not any(c.isalpha() for c in port.text.partition("[")[2])
    if is_draw(node) and said and fixed and None not in numbers and at.source is b.source:
        notes = (Note(port, "takes this"),)
        start = at.source.starts[at.line - 1] + said.start(1)
        place = Span(at.source, start, start + said[0].rindex("]") + 1 - said.start(1))
        remedy = f"{said[1]}[{', '.join(map(str, numbers))}]"
        b.fail("E216", text, place, f"is {b.shown(node.type)}", notes, remedy)


def _refuse_largest(b: Build, node: Node, wanted: Sequence[Size]) -> None:
    """`max(W @ x + b)` for `max(W @ x + b, 0)`, which is one number and not one for each."""
    made = b.graph.spans.get(node, ())[:1]
    text = broadcasting.whole_text(made[0].text) if made else ""
    found = re.search(r"\b(max|min)\((.*)\)$", text)
    if found is None or node.type.example or not wanted or made[0].source is not b.source:
        return
    start = made[0].text.index(found[1] + "(") + made[0].start
    text = f"{found[1]}(x) is one number, {found[1]}(x, 0) one for each"
    remedy = f"{found[1]}({found[2]}, 0)"
    b.fail("E215", text, Span(made[0].source, start, made[0].stop), "is one number", (), remedy)


def _refuse_promise(b: Build, node: Node, wanted: Sequence[Size], port: Span, text: str) -> None:
    """A result of another size than its block promises, of which one line says the size."""
    sizes = [[*map(b.resolve, shape)] for shape in (node.type.example, wanted)]
    unlike = [i for i, (m, n) in enumerate(zip(*sizes, strict=True)) if m != n]
    at = size_place(b, node, unlike[0]) if len(unlike) == 1 else None
    inside = re.search(r"\[(.*?)\]", port.text)
    dims = inside[1].split(",") if inside is not None else []
    if at is None and len(dims) == len(wanted) and all(d.strip().isdigit() for d in dims):
        assert inside is not None
        found = ", ".join(map(str, sizes[0]))
        remedy = f"{port.text[: inside.start()]}[{found}]{port.text[inside.end() :]}"
        notes = _made_on(port, f"makes it {b.shown(node.type)}")
        b.fail("E216", text, port, f"is {b.shown(node.type)}", notes, remedy)
    if at is not None and (remedy := instead(b, at, wanted[unlike[0]])):
        label = f"makes the result {b.shown(node.type)}"
        b.fail("E216", text, at.span, label, (Note(port, "is promised here"),), remedy)


def _made_on(port: Span, label: str) -> tuple[Note, ...]:
    """The line of a block that defines a result which its head promises."""
    source, name = port.source, re.match(r"\w*", port.text)
    start = port.stop
    stop = source.text.find("\n}", start)
    found = re.compile(rf"(?m)^[ \t]*({name[0] if name else ''}\b[^=\n]*=[^\n]*)$").search(
        source.text, start, stop if stop > 0 else len(source.text)
    )
    if found is None:
        return ()
    return (Note(Span(source, found.start(1), found.end(1)), label),)


def _refuse_beside(
    b: Build, node: Node, wanted: Sequence[Size], span: Span, text: str, beside: Sequence[Node]
) -> None:
    """A size that another argument has said, in a layer that gives too few or too many."""
    sizes = [[*map(b.resolve, shape)] for shape in (node.type.example, wanted)]
    unlike = [i for i, (m, n) in enumerate(zip(*sizes, strict=True)) if m != n]
    if len(unlike) != 1 or size_place(b, node, unlike[0]) is not None:
        return
    mine, other = (shape[unlike[0]] for shape in sizes)
    axes = [(n, i) for n in beside for i, k in enumerate(n.type.example) if b.resolve(k) == other]
    if axes and (at := size_place(b, *axes[0])) is not None:
        notes = (Note(span, f"is {b.shown(node.type)}"),)
        b.fail("E216", text, at.span, f"makes it {other}", notes, str(mine))


def _refuse_untimed(
    b: Build, node: Node, wanted: Sequence[Size], span: Span, text: str, port: Span
) -> None:
    """A sequence where a port writes its length as a number: `x[50, 2]` for `x[time, 2]`."""
    timed = "time" in node.type.running and len(node.type.example) + 1 == len(wanted)
    if timed and port.source is b.source:
        remedy = re.sub(r"\[[^,\]]*", "[time", port.text, count=1)
        notes = (Note(span, f"is {b.shown(node.type)}"),)
        b.fail("E215", text, port, "does not run over time", notes, remedy)


def _refuse_batch(
    b: Build, node: Node, wanted: Sequence[Size], span: Span, text: str, port: Span
) -> None:
    """A value of each example where a port has an axis more, which counts the examples by hand.
    An axis of 1 may be meant for something else."""
    rest = [[b.resolve(size) for size in sizes] for sizes in (wanted[1:], node.type.example)]
    by_hand = "batch" in node.type.running and rest[0] == rest[1] != [] and b.number(wanted[0]) != 1
    if by_hand and port.source is b.source:
        label, notes = f"has an axis more than {b.shown(node.type)}", (Note(span, "is given here"),)
        fact = "a port is written for one example, and mapped over the batch by itself"
        remedy = re.sub(r"\[[^,\]]*,?\s*", "[", port.text, count=1).replace("[]", "")
        b.fail("E215", text, port, label, notes, remedy, (fact,), about=(node,))


def _refuse_whole(b: Build, node: Node, wanted: Sequence[Size], span: Span, who: str) -> None:
    """A field of all examples where one example is meant."""
    set_of = node
    while op_of(set_of).is_("identity"):
        set_of = set_of.operands[0]
    if not is_full_data(set_of) or len(set_of.type.example) != len(wanted) + 1:
        return
    field: WholeField = set_of["name"]
    text, on = broadcasting.whole_text(span.text), On(field.data, field.part).spoken
    remedy = f"{text}[i], with i an index; in a watch {field.field}, and on {on} behind it"
    label = f"is {b.shown(node.type)}: every example of {on}"
    b.fail("E215", f"{who} of one example", span, label, remedy=remedy)


# ---- values that take the place of others ------------------------------------------------------


def refuse_running(b: Build, node: Node, span: Span, what: str) -> NoReturn:
    """Of what is one for all examples and steps, a value for each of them."""
    said = {"batch": "example of the batch", "time": "step"}
    axes = [a for a in node.type.running if a in said]
    each = " and ".join(said[a] for a in axes)
    text = f"mean({', '.join(axes)}: {broadcasting.short(span.text)})"
    b.fail("E202", f"{what} is one for all examples", span, f"has a value for each {each or 'row'}",
           remedy=text if axes and span.source is b.source else "")  # fmt: skip


def shaped(b: Build, node: Node, like: TensorType, span: Span, what: str = "it") -> Node:
    """A new value in the shape of what it replaces; a single number fills it."""
    if node.type.running != like.running:
        refuse_running(b, node, span, "the new value" if what == "it" else what)
    if not node.type.shape:
        return b.at(span).broadcast(node, like, ())

    def complain(c: Conflict | None) -> NoReturn:
        text, facts = "the new value has another shape", (f"{what} is {b.shown(like)}",)
        sizes = [[*map(b.resolve, t.example)] for t in (node.type, like)]
        if len(sizes[0]) == 2 and sizes[0] == sizes[1][::-1]:
            turned = broadcasting.whole_text(span.text)
            turned = f"{turned}'" if re.fullmatch(r"[\w.\[\]]+", turned) else f"({turned})'"
            b.fail("E202", text, span, f"is {b.shown(node.type)}", (), turned, facts)
        b.fail("E202", text, span, f"is {b.shown(node.type)}", facts=facts)

    why = "the new value of a parameter"
    b.same_shape(like.example, node.type.example, span, why, complain)
    return node
