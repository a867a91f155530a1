"""Contraction with `@`, and reductions over running axes or over the whole example."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from dln.compiler.frontend.context import lengths, standing, time_axis
from dln.compiler.frontend.context.broadcasting import (
    as_tensor,
    lead_of,
    quantity,
    short,
    whole_text,
)
from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.size_places import declared_place, instead, size_place
from dln.compiler.frontend.context.values import WHOLE, unfit, whole_number
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import Conflict, Size
from dln.compiler.ir.structure import bare, is_clock, is_param
from dln.compiler.ir.tensor_type import BINARY, POSITIVE, PROB, Domain
from dln.grammar.diagnostics import Note, Span

# ---- contraction -------------------------------------------------------------------------------


def _do_not_fit(
    b: Build, sides: tuple[Node, Node], span: Span, spans: tuple[Span, Span], conflict: Conflict
) -> NoReturn:
    """The last axis of the left side and the first of the right have other sizes; perhaps they fit
    where one side is turned."""
    a, d = ([b.sizes.resolve(size) for size in n.type.example] for n in sides)
    shown = [b.shown(n.type) for n in sides]
    first = Note(spans[0], f"is {shown[0]}: its last axis has {a[-1]}")
    ends = sides[0].type.example[-1], sides[1].type.example[0]
    notes = (first, *b.proof_notes(*ends, skip=spans[1]))
    label = f"is {shown[1]}: its first axis has {d[0]}"
    text = f"the sizes of {' @ '.join(short(s.text) for s in spans)} do not fit"
    left, right = (whole_text(s.text) for s in spans)
    turned = [t[:-1] if t.endswith("'") else f"{t}'" for t in (left, right)]
    remedy = f"{left} @ {turned[1]}" if len(d) == 2 and a[-1] == d[1] else ""
    if len(a) == 2 and a[0] == d[0]:
        remedy = f"{turned[0]} @ {right}"
    if _is_carried(right, spans[1]):  # W @ h[t-1] is added to h[t]
        remedy = ""
    if remedy:  # of the whole product
        notes = (*notes, Note(spans[1], label))
        b.fail("E205", text, span, "", notes, remedy, about=sides)
    known = [b.number(size) or 0 for size in sides[1].type.example]
    if len(known) > 1 and math.prod(known) == b.number(sides[0].type.example[-1]):
        remedy = f"flatten({right})"
        b.fail("E205", text, spans[1], f"is {shown[1]}", (first,), remedy)
    said = size_place(b, sides[0], len(a) - 1) if len(d) == 1 and is_param(sides[0]) else None
    if said is not None:
        if remedy := instead(b, said, d[0], size_place(b, sides[1], 0)):
            notes = (Note(spans[0], f"is {shown[0]}"), Note(spans[1], label), *notes[1:])
            b.fail("E205", text, said.span, f"makes it {a[-1]}", notes, remedy, about=sides)
    if is_param(bare(sides[1])) and not is_param(bare(sides[0])):
        said, other = size_place(b, sides[1], 0), size_place(b, sides[0], len(a) - 1)
        if said is not None and (remedy := instead(b, said, sides[0].type.example[-1], other)):
            notes = (first, Note(spans[1], label), *notes[1:])
            b.fail("E205", text, said.span, f"makes it {d[0]}", notes, remedy, about=sides)
    b.fail("E205", text, spans[1], label, notes, about=sides)


def _refuse_single(b: Build, node: Node, other: Node, span: Span) -> NoReturn:
    """A single number on a side of @: one that is declared without sizes may lack them."""
    at = next(iter(b.graph.spans.get(node, ())), span)
    text, name = "@ takes vectors and matrices", span.text
    line = at.source.line(at.line)
    head = re.match(r"\s*(param|fixed|hidden|state|block)\b", line)
    if head is not None and name.isidentifier() and re.match(rf"{name}\b(?!\[)", at.text):
        said = declared_place(b, other, 0) if len(other.type.example) == 1 else None
        text = f"{name} is declared as a single number, and {text}"
        place = Span(at.source, at.start, at.start + len(name))
        notes = (Note(span, "is taken for a vector"),)
        remedy = f"{name}[{said[0].text}]" if said is not None else ""
        whole = f"a vector has its size in brackets, {name}[m], a matrix two: {name}[m, n]"
        drawn = re.search(rf"\b{name}\s*~\s*\w+\(([^(),]+),\s*([^(),]+)\)", at.source.line(at.line))
        if drawn is not None and not remedy:  # of n inputs and m results
            remedy = f"{name}[{drawn[2].strip()}, {drawn[1].strip()}]"
        facts = () if remedy else (whole,)
        b.fail("E205", text, place, "has no sizes", notes, remedy, facts)
    facts = ("a number is multiplied by *",)
    b.fail("E205", text, span, "is a single number", facts=facts, about=(node, other))


def _is_carried(text: str, span: Span) -> bool:
    """Whether a factor is what its equation has given before, `h[t-1]` in `h[t] = ...`."""
    found = re.fullmatch(r"(\w+)\[\s*\w+\s*-\s*1\s*\]", text)
    return found is not None and span.source.line(span.line).lstrip().startswith(f"{found[1]}[")


def contract(b: Build, left: Value, right: Value, span: Span, spans: tuple[Span, Span]) -> Node:
    """`left @ right`: the last axis of the left with the first of the right."""
    for v, s in zip((left, right), spans, strict=True):
        if isinstance(v, Node) and v.type.domain.name == "class":
            label, remedy = "is a class", f"onehot({whole_text(s.text)})"
            b.fail("E311", "a class is a name, not a quantity", s, label, (), remedy)
    x, y = (quantity(b, v, s) for v, s in zip((left, right), spans, strict=True))
    for n, s in zip((x, y), spans, strict=True):
        if not n.type.example:
            _refuse_single(b, n, x if n is y else y, s)
    why = " @ ".join(short(s.text) for s in spans)
    unfit = partial(_do_not_fit, b, (x, y), span, spans)
    b.equate(x.type.example[-1], y.type.example[0], span, why, unfit)
    lead = lead_of(b, [x, y], span)
    running = lead.running
    x = lengths.zeroed(b, x, (len(x.type.shape) - 1,), span)
    y = lengths.zeroed(b, y, (len(y.type.running),), span)
    fresh = len(running)
    xe = range(fresh, fresh + len(x.type.example))
    ye = range(xe[-1], xe[-1] + len(y.type.example))
    left = (*map(running.index, x.type.running), *xe)
    right = (*map(running.index, y.type.running), *ye)
    out = (*range(fresh), *xe[:-1], *ye[1:])
    node = b.at(span)("contract", x, y, left=left, right=right, out=out)
    if node.type.running != running:
        node = b.at(span)("running", node, running=running)
    return lengths.resized(b, node, dict(enumerate(lead.shape)))


# ---- reductions --------------------------------------------------------------------------------


def reduce(b: Build, name: str, value: Value, axes: Sequence[str] | None, span: Span) -> Node:
    """sum, mean, max, min, argmax, argmin or norm over running axes by name, or the example."""
    finds = name in ("argmax", "argmin")
    node = as_tensor(b, value, span) if finds else quantity(b, value, span)
    type = node.type
    over_time = "time" in axes if axes is not None else not (b.time.mapped or finds)
    if over_time and standing.is_sequence(b, node):  # a single step has one element of it
        standing.refuse(b, span, "is taken over all steps")
    if axes is None:
        places = tuple(range(len(type.running), len(type.shape)))
        if over_time and "time" in type.running:
            places = (type.running.index("time"), *places)
    else:
        places = tuple(type.running.index(a) for a in axes if a in type.running)
    if not places and name in ("sum", "mean", "max", "min"):
        if axes is None and not b.calls:
            _warn_of_one(b, name, value, node, span)
        return node
    _of_some(b, name, [type.shape[p] for p in places], span)
    if finds:
        if len(places) != 1:
            at, label = b.blame(value, span), f"is {b.shown(type)}"
            if type.domain.name == "class" and not type.example:
                text = f"{whole_text(at.text)} is a class already; {name} finds one in a vector"
                b.fail("E206", text, span, "", (), whole_text(at.text))
            b.fail("E206", f"{name} takes a vector", at, label)
        if lengths.extent(b, type.shape[places[0]]) is not None:
            node = lengths.filled(b, quantity(b, node, span), places, OUTSIDE[name], span)
        return b.at(span)(name, node, axis=places[0])
    if lengths.uneven(b, type):
        return _uneven(b, name, node, places, span)
    return _even(b, name, node, places, span)


def _warn_of_one(b: Build, name: str, value: Value, node: Node, span: Span) -> None:
    """Warn of `min(fit.error)` and `sum(argmax(z) == label)`, of one number each: what was meant is
    over reports, or over examples. A function may well be of one number or of several."""
    if span.source is not b.source:
        return
    at, text = b.blame(value, span), f"{name} is taken of one number, and is that number"
    if is_clock(node) and not isinstance(node["name"], str):
        phase, dot, watch = (said := whole_text(at.text)).rpartition(".")
        fact = f"{said}[0] is the first report"
        fact += (
            f"; with checkpoint best by {watch}, {phase}.best.{watch} is the best" if dot else ""
        )
        b.warn("W311", text, span, label="is the latest report alone", facts=(fact,))
    elif name == "sum" and node.type.domain == BINARY and "batch" in node.type.running:
        fact = ("a watch is the mean over the examples by itself: the share for which it holds; "
                "watch total ... counts them, sum(batch: ...) those of a minibatch")  # fmt: skip
        b.warn("W311", text, span, label="is of one example", facts=(fact,))


def tally(b: Build, span: Span, value: Value) -> Node:
    """`tally(e)`: the sum over all examples, and of sequences over all steps of each, as long as it
    is; each entry of a vector by itself."""
    node = quantity(b, value, span)
    if "batch" not in node.type.running:
        text = "tally adds up over examples, and here there is one value for all"
        b.fail("E207", text, b.blame(value, span), f"is {b.shown(node.type)}")
    return reduce(b, "sum", node, [a for a in ("batch", "time") if a in node.type.running], span)


def _of_some(b: Build, name: str, sizes: Sequence[Size], span: Span, late: bool = False) -> None:
    """Refuse a reduction over nothing, as soon as the sizes are known."""
    known = [b.number(size) for size in sizes]
    if 0 in known:
        b.fail("E315", f"{name} is taken of no elements", span, "an axis of it has the size 0")
    if None in known and not late:
        b.owned.requirements.append(partial(_of_some, b, name, sizes, span, True))


OUTSIDE = {
    "max": -lengths.LARGE,
    "argmax": -lengths.LARGE,
    "min": lengths.LARGE,
    "argmin": lengths.LARGE,
}
"""What is put past the end of a sequence for what looks for an extreme."""


def _even(b: Build, name: str, node: Node, places: Sequence[int], span: Span) -> Node:
    """A reduction over axes that all examples have all of."""
    make = b.at(span)
    if name == "mean":
        mean = make.div(make.sum(node, places), lengths.number(b, node, places, span))
        return _of_domain(make, mean, node.type.domain, name)
    if name == "norm":
        return make("distance", make.sum(make("square", node), places))
    return make(name, node, axes=places)


def _uneven(b: Build, name: str, node: Node, places: Sequence[int], span: Span) -> Node:
    """A reduction of a tensor with axes of which each example has a part of its own."""
    type = node.type
    if any(type.running[p : p + 1] == ("batch",) for p in places):
        return _over_examples(b, name, node, places, span)
    make, like = b.at(span), lengths.uneven(b, type)
    gone = [p for p in places if p in like]
    if not gone:
        return _even(b, name, node, places, span)
    if name in OUTSIDE:
        least = make(name, lengths.filled(b, node, gone, OUTSIDE[name], span), axes=places)
        some = lengths.some(b, type, gone, least.type, span)
        least = least if some is None else make("where", some, least, make.const(0.0))
        return _of_domain(make, least, type.domain, name)
    node = lengths.zeroed(b, node, gone, span)
    if name != "mean":
        return _even(b, name, node, places, span)
    total = make.sum(node, places)
    count = lengths.number(b, node, places, span)
    at = total.type.running.index("batch")
    mean = make.div(total, make.broadcast(count, total.type, (at,)))
    return _of_domain(make, mean, type.domain, name)


def _over_examples(b: Build, name: str, node: Node, places: Sequence[int], span: Span) -> Node:
    """A reduction over the examples too: of each place, over those that have it."""
    make, type = b.at(span), node.type
    axes = lengths.uneven(b, type)
    tests = [lengths.inside(b, type, axis, span) for axis in axes]
    has = make.sum(make("cast", functools.reduce(partial(make, "and"), tests), kind="real"), places)
    some = make("gt", has, make.const(0.0))
    if name in OUTSIDE:
        made = make(name, lengths.filled(b, node, axes, OUTSIDE[name], span), axes=places)
    else:
        summed = make("square", node) if name == "norm" else node
        made = make.sum(lengths.zeroed(b, summed, axes, span), places)
    if name == "norm":
        made = make("distance", made)
    elif name == "mean":
        made = make.div(made, make("maximum", has, make.const(1.0)))
    elif name in OUTSIDE:
        made = make("where", some, made, make.const(0.0))
    return lengths.even(b, _of_domain(make, made, type.domain, name))


def _of_domain(make: Make, node: Node, domain: Domain, name: str) -> Node:
    """A reduction of numbers of a domain has that too; a mean of 0s and 1s is a probability."""
    if name == "mean" and domain == BINARY:
        domain = PROB
    if domain not in (PROB, POSITIVE, BINARY) or node.type.domain == domain:
        return node
    return make("asserted", node, domain=domain)


def lowest(b: Build, span: Span, x: Value, k: Value) -> Node:
    """The places of the k lowest entries of a vector, the lowest first; of equal ones the smaller
    place."""
    node = quantity(b, x, span)
    if len(node.type.example) != 1:
        b.fail("E206", "lowest takes a vector", b.blame(x, span), f"is {b.shown(node.type)}")
    most = b.number(node.type.example[0])
    k = b.resolve(k) if isinstance(k, Size) else k
    number = whole_number(k)
    if number is None or number < 1 or (most is not None and number > most):
        of = "" if most is None else f" from 1 to {most}"
        text = f"how many are lowest is a whole number{of}"
        limited = most is not None and most == b.outside.limit
        facts = (f"--limit leaves {most} examples: --limit {number}, or more",) * limited
        unfit(b, "E305", text, b.blame(k, span), k, WHOLE, facts=facts)
    node = lengths.filled(b, node, (len(node.type.running),), lengths.LARGE, span)
    return b.at(span)("lowest", node, k=number)


def backwards(b: Build, span: Span, x: Value) -> Node:
    """Each sequence from its end to its beginning."""
    node = as_tensor(b, x, span)
    if standing.is_sequence(b, node):
        standing.refuse(b, span, "begins at the end of the sequence")
    if "time" not in node.type.running:
        label = f"is {b.shown(node.type)}, which does not run over time"
        n = b.number(node.type.example[0]) if len(node.type.example) == 1 else None
        facts = () if n is None else (f"a vector backwards: y[i] = x[{n - 1} - i]",)
        b.fail("E214", "reversed takes a sequence", b.blame(x, span), label, facts=facts)
    if b.frame.carry is not None and "batch" in node.type.running:
        text = "a window of a stream does not see what comes after it"
        remedy = "in place of stream: batch, which takes each window as a sequence of its own"
        label = "begins at the end of the sequence"
        b.fail("E319", text, span, label, remedy=remedy)
    return time_axis.backwards(b, node, span)


def _around(at: Span) -> list[Span]:
    """The call of `last` whose only argument stands at a place."""
    text = at.source.text
    before = re.search(r"\blast\(\s*$", text[: at.start])
    after = re.match(r"\s*\)", text[at.stop :])
    return [Span(at.source, before.start(), at.stop + after.end())] if before and after else []


def last(b: Build, span: Span, x: Value) -> Node:
    """The last element of each sequence."""
    node = as_tensor(b, x, span)
    if standing.is_sequence(b, node):
        standing.refuse_both(b, node, span)
        return standing.marked(b, node, "end", span)  # the step at hand is the last so far
    if "time" not in node.type.running:
        label = f"is {b.shown(node.type)}, which does not run over time"
        at = b.blame(x, span)
        step = re.fullmatch(r"\w+\[\w+\]", at.text) is not None
        facts = (f"{at.text} is the element at the step already",) * step
        ways = tuple((whole, at.text) for whole in _around(at) if not step)
        b.fail("E214", "last takes a sequence", at, label, facts=facts, ways=ways)
    return time_axis.final(b, time_axis.time_first(b, node, span), span)
