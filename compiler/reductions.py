"""Contraction with `@`, and reductions over running axes or over the whole example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dln.compiler import sequences
from dln.compiler.graph import Node
from dln.compiler.sizes import Conflict, Reason, Size
from dln.compiler.state import Build
from dln.compiler.tensor import BINARY, POSITIVE, PROB, Domain, TensorType
from dln.compiler.tensors import as_tensor, lead_sizes, quantity, running_union, short
from dln.compiler.values import Value, describe
from dln.grammar.diagnostics import Note, Span

# ---- contraction -------------------------------------------------------------------------------


def contract(b: Build, left: Value, right: Value, span: Span, spans: tuple[Span, Span]) -> Node:
    """`left @ right`: the last axis of the left with the first of the right."""
    x, y = (quantity(b, as_tensor(b, v, s), s) for v, s in zip((left, right), spans, strict=True))
    for n, s in zip((x, y), spans, strict=True):
        if not n.type.example:
            b.fail("E205", "@ takes vectors and matrices", s, "is a single number", remedy="use *")
    p, q = x.type.example[-1], y.type.example[0]

    def fail(c: Conflict) -> Any:
        shown = [b.shown(n.type) for n in (x, y)]
        first = Note(spans[0], f"is {shown[0]}: its last axis has {b.sizes.resolve(p)}")
        notes = (first, *b.proof_notes(p, q, skip=spans[1]))
        b.fail(
            "E205",
            f"the sizes of {short(spans[0].text)} @ {short(spans[1].text)} do not fit",
            spans[1],
            f"is {shown[1]}: its first axis has {b.sizes.resolve(q)}",
            notes,
            _transposed(b, x, y, spans),
        )

    b.equate(p, q, Reason(span, f"{short(spans[0].text)} @ {short(spans[1].text)}"), fail)
    running = running_union([x, y])
    lead_sizes(b, [x, y], running, span)
    label = {a: i for i, a in enumerate(running)}
    fresh = len(running)
    xl = [label[a] for a in x.type.running]
    yl = [label[a] for a in y.type.running]
    xe = list(range(fresh, fresh + len(x.type.example)))
    ye = list(range(xe[-1], xe[-1] + len(y.type.example)))
    out = [*label.values(), *xe[:-1], *ye[1:]]
    node = b.at(span)("contract", x, y, left=tuple(xl + xe), right=tuple(yl + ye), out=tuple(out))
    if node.type.running != running:
        node = b.make("running", node, running=running)
    return node


def _transposed(b: Build, x: Node, y: Node, spans: tuple[Span, Span]) -> str:
    """The transpose that would fit, if one would."""
    a, c = x.type.example, y.type.example
    if len(a) == 2 and b.sizes.resolve(a[0]) == b.sizes.resolve(c[0]):
        return f"{short(spans[0].text)}' @ {short(spans[1].text)}"
    if len(c) == 2 and b.sizes.resolve(a[-1]) == b.sizes.resolve(c[1]):
        return f"{short(spans[0].text)} @ {short(spans[1].text)}'"
    return ""


# ---- reductions --------------------------------------------------------------------------------


def reduce(b: Build, name: str, value: Value, axes: Sequence[str] | None, span: Span) -> Node:
    """sum, mean, max, min, argmax, argmin or norm over running axes by name, or the example."""
    node = as_tensor(b, value, span)
    if name not in ("argmax", "argmin"):
        node = quantity(b, node, span)
    type = node.type
    lead = len(type.running)
    if axes is None:
        places = tuple(range(lead, len(type.shape)))
        if "time" in type.running and not b.mapped and name not in ("argmax", "argmin"):
            places = (type.running.index("time"), *places)
    else:
        places = tuple(type.running.index(a) for a in axes if a in type.running)
    if not places and name in ("sum", "mean", "max", "min"):
        return _absent(b, name, node, axes, span)
    make = b.at(span)
    if places and any(type.running[p] == "time" for p in places if p < lead):
        node = within(b, node, name, span)
    if name == "mean":
        mean = make.div(make.sum(node, places), _number(b, node, places, span))
        return _domain(b, mean, type.domain) if type.domain in (PROB, POSITIVE, BINARY) else mean
    if name == "norm":
        return make("distance", make.sum(make("square", node), places))
    if name in ("argmax", "argmin"):
        if len(places) != 1:
            b.fail("E206", f"{name} takes a vector", b.blame(node, span), f"is {b.shown(type)}")
        return make(name, node, axis=places[0])
    return make(name, node, axes=places)


def lowest(b: Build, span: Span, x: Value, k: Value) -> Node:
    """The places of the k lowest entries of a vector, the lowest first; of equal ones the smaller
    place."""
    node = quantity(b, as_tensor(b, x, span), span)
    if len(node.type.example) != 1:
        b.fail("E206", "lowest takes a vector", b.blame(x, span), f"is {b.shown(node.type)}")
    size = b.sizes.resolve(node.type.example[0])
    k = b.resolve(k) if isinstance(k, Size) else k
    most = size.value
    if isinstance(k, bool) or not isinstance(k, int) or k < 1 or (most is not None and k > most):
        of = "" if most is None else f" from 1 to {most}"
        found = f"is {k}" if isinstance(k, int | float) else f"is {describe(k)}"
        b.fail("E305", f"how many are lowest is a whole number{of}", b.blame(k, span), found)
    return b.at(span)("lowest", node, k=k)


def _number(b: Build, node: Node, places: Sequence[int], span: Span) -> Node:
    """How many elements there are over some axes; over time, as many as each sequence has."""
    make, type = b.at(span), node.type
    total = make.size(Size.of(1))
    for p in places:
        if type.running[p : p + 1] == ("time",) and ragged(b, node):
            assert b.frame.lengths is not None
            total = make.mul(total, make("cast", b.frame.lengths, kind="real"))
        else:
            total = make.mul(total, make.size(type.shape[p]))
    if not total.type.shape:
        return total
    rest = [i for i in range(len(type.shape)) if i not in places]
    like = make.sum(node, places).type
    return make.broadcast(total, like, (rest.index(type.running.index("batch")),))


def ragged(b: Build, node: Node) -> bool:
    """Whether the sequences of a tensor are those of the data, of unequal lengths."""
    if b.frame.lengths is None or b.frame.steps is None or "batch" not in node.type.running:
        return False
    size = node.type.size_of("time")
    return b.sizes.resolve(size) == b.sizes.resolve(b.frame.steps)


def within(b: Build, node: Node, name: str, span: Span) -> Node:
    """A tensor with what lies past the end of each sequence replaced by what does not count."""
    if not ragged(b, node):
        return node
    make = b.at(span)
    inside = make("lt", *_steps(b, node.type, span))
    outside = {"max": -3e38, "min": 3e38}.get(name, 0.0)
    return make("where", inside, node, make.const(outside))


def _steps(b: Build, type: TensorType, span: Span, first: int = 0) -> tuple[Node, Node]:
    """The number of each step, counted from `first`, and the length of its sequence, both in the
    shape of a type."""
    make = b.at(span)
    assert b.frame.lengths is not None
    length = b.sizes.resolve(type.size_of("time")).constant
    steps = make.const(tuple(range(first, first + length)), "index")
    like = type.like(kind="index")
    at, batch = type.running.index("time"), type.running.index("batch")
    return make.broadcast(steps, like, (at,)), make.broadcast(b.frame.lengths, like, (batch,))


def last(b: Build, node: Node, span: Span) -> Node:
    """The last element of each sequence."""
    if "time" not in node.type.running and b.stepping:
        return node  # the step at hand is the last so far
    if "time" not in node.type.running:
        b.fail(
            "E214",
            "last takes a sequence",
            b.blame(node, span),
            f"is {b.shown(node.type)}, which does not run over time",
        )
    node = sequences.time_first(b, node, span)
    if not ragged(b, node):
        return sequences.final(b, node, span)
    if node.type.kind != "real":
        return _last_class(b, node, span)
    make = b.at(span)
    steps, lengths = _steps(b, node.type.like(shape=node.type.lead), span, first=1)
    is_last = make("eq", steps, lengths)
    at_end = make("cast", is_last, kind="real")
    labels = tuple(range(len(node.type.shape)))
    lead = labels[: len(at_end.type.shape)]
    made = make("contract", at_end, node, left=lead, right=labels, out=labels[1:])
    return make("asserted", made, domain=node.type.domain)


def _last_class(b: Build, node: Node, span: Span) -> Node:
    """The last class of each sequence: at the place that its length names, where one stands in
    front of the first."""
    make, type = b.at(span), node.type
    assert b.frame.lengths is not None
    longer = make("pad", node, axis=0, before=1, after=0)
    turned = make("transpose", longer, perm=(*range(1, len(type.shape)), 0))
    like = TensorType(type.shape[1:], type.running[1:], "index")
    at = make.broadcast(b.frame.lengths, like, (like.running.index("batch"),))
    made = make("pick", turned, at)
    return make("asserted", made, domain=type.domain)


def _absent(b: Build, name: str, node: Node, axes: Sequence[str] | None, span: Span) -> Node:
    """A reduction over axes that the tensor does not run over."""
    if axes is None:
        return node
    if name == "sum":
        missing = [a.split(".")[0] for a in axes]
        b.fail(
            "E207",
            f"nothing here runs over {', '.join(missing)}",
            span,
            f"is {b.shown(node.type)}",
        )
    return node


def _domain(b: Build, node: Node, domain: Domain) -> Node:
    """A mean of probabilities is one; a mean of 0s and 1s is a probability."""
    wanted = PROB if domain == BINARY else domain
    return b.make("asserted", node, domain=wanted)
