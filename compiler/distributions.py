"""The distributions of the language: what stands behind `~`."""

from __future__ import annotations

from dln.compiler import pointwise, tensors
from dln.compiler.graph import Node
from dln.compiler.sizes import BATCH_SIZE
from dln.compiler.state import Build
from dln.compiler.tensor import BINARY, TensorType
from dln.compiler.values import Value
from dln.grammar.diagnostics import Span


def _draws(b: Build, span: Span, name: str, *parameters: Value) -> tuple[str, TensorType]:
    """The site and the shape of a draw: declared, or that of the distribution's parameters."""
    if b.drawing is None:
        b.fail(
            "E343",
            f"{name} draws, and is written with ~",
            span,
            f"a draw from {name}",
            remedy=f"noise ~ {tensors.short(span.text)}",
        )
    nodes = [p for p in parameters if isinstance(p, Node) and p.type.shape]
    if nodes:
        like = tensors.align(b, nodes, span)[0].type
    else:
        like = TensorType(b.drawing.shape or ())
    if b.frame.batched and "batch" not in like.running:
        like = TensorType((BATCH_SIZE, *like.shape), ("batch", *like.running))
    return b.drawing.take(), TensorType(like.shape, like.running)


def _draw(b: Build, span: Span, kind: str, site: str, like: TensorType) -> Node:
    return b.at(span)("draw", kind=kind, site=site, shape=like.shape, running=like.running)


def uniform(b: Build, span: Span, low: Value = 0.0, high: Value = 1.0) -> Value:
    site, like = _draws(b, span, "uniform", low, high)
    u = _draw(b, span, "uniform", site, like)
    if low == 0 and high == 1:
        return u
    spans = (span, span)
    width = _minus(b, high, low, span)
    return pointwise.binary(
        b, "add", low, pointwise.binary(b, "mul", width, u, span, spans), span, spans
    )


def _minus(b: Build, x: Value, y: Value, span: Span) -> Value:
    if isinstance(x, int | float) and isinstance(y, int | float):
        return x - y
    return pointwise.binary(b, "sub", x, y, span, (span, span))


def normal(b: Build, span: Span, mean: Value = 0.0, deviation: Value = 1.0) -> Value:
    """Mean and standard deviation; the gradient runs through both."""
    site, like = _draws(b, span, "normal", mean, deviation)
    z = _draw(b, span, "normal", site, like)
    spans = (span, span)
    scaled = pointwise.binary(b, "mul", deviation, z, span, spans) if deviation != 1 else z
    return pointwise.binary(b, "add", mean, scaled, span, spans) if mean != 0 else scaled


def bernoulli(b: Build, span: Span, p: Value) -> Node:
    """1 with probability p, else 0."""
    site, like = _draws(b, span, "bernoulli", p)
    u = _draw(b, span, "uniform", site, like)
    node = pointwise.binary(b, "lt", u, p, span, (span, span))
    return b.make("asserted", b.make("cast", node, kind="real"), domain=BINARY)
