"""Contraction with `@`, and reductions over running axes or over the whole example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dln.compiler.graph import Node
from dln.compiler.sizes import Conflict, Reason, Size
from dln.compiler.state import Build
from dln.compiler.tensor import BINARY, POSITIVE, PROB, Domain
from dln.compiler.tensors import as_tensor, lead_sizes, quantity, running_union, short
from dln.compiler.values import Value
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
    else:
        places = tuple(type.running.index(a) for a in axes if a in type.running)
    if not places and name in ("sum", "mean", "max", "min"):
        return _absent(b, name, node, axes, span)
    make = b.at(span)
    if name == "mean":
        total = make.size(Size.of(1))
        for p in places:
            total = make.mul(total, make.size(type.shape[p]))
        mean = make.div(make.sum(node, places), total)
        return _domain(b, mean, type.domain) if type.domain in (PROB, POSITIVE, BINARY) else mean
    if name == "norm":
        return make("sqrt", make.sum(make("square", node), places))
    if name in ("argmax", "argmin"):
        if len(places) != 1:
            b.fail("E206", f"{name} takes a vector", b.blame(node, span), f"is {b.shown(type)}")
        return make(name, node, axis=places[0])
    return make(name, node, axes=places)


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
