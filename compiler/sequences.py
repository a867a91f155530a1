"""Sequences in the graph: tensors that run over time, which is their first axis inside."""

from __future__ import annotations

from dln.compiler.graph import Node
from dln.compiler.ops.loop import row_type
from dln.compiler.state import Build
from dln.compiler.tensor import TIME
from dln.grammar.diagnostics import Span


def time_first(b: Build, node: Node, span: Span) -> Node:
    """A sequence with time as its first axis."""
    at = node.type.running.index(TIME)
    if at == 0:
        return node
    rest = [i for i in range(len(node.type.shape)) if i != at]
    return b.at(span)("transpose", node, perm=(at, *rest))


def batch_first(b: Build, node: Node, span: Span) -> Node:
    """A result with the example as its first axis, as users see it."""
    if node.type.running[:2] != (TIME, "batch"):
        return node
    rest = range(2, len(node.type.shape))
    return b.at(span)("transpose", node, perm=(1, 0, *rest))


def shifted(b: Build, node: Node, offset: int, span: Span) -> Node:
    """The sequence x[t + offset]; zeros where there is no such element."""
    length = b.sizes.resolve(node.type.shape[0]).value
    if b.reading and length is not None and -offset >= length:  # what is read may be short
        longer = b.at(span)("pad", node, axis=0, before=-offset, after=0)
        return b.at(span)("slice", longer, axis=0, start=0, stop=length)
    if length is None or abs(offset) >= length:
        b.fail("E208", f"the sequence is not {abs(offset) + 1} steps long", span)
    make, k = b.at(span), abs(offset)
    start, stop = (0, length - k) if offset < 0 else (k, length)
    cut = make("slice", node, axis=0, start=start, stop=stop)
    before, after = (k, 0) if offset < 0 else (0, k)
    return make("pad", cut, axis=0, before=before, after=after)


def final(b: Build, node: Node, span: Span) -> Node:
    """The last element of a sequence that has time first."""
    length = b.sizes.resolve(node.type.shape[0])
    if length.value is None:
        b.fail("E209", "the length of this sequence is not known where its end is asked for", span)
    return element(b, node, length.value - 1, span)


def element(b: Build, node: Node, at: int, span: Span) -> Node:
    """The element of a sequence at a place known now."""
    make, type = b.at(span), row_type(node.type)
    cut = make("slice", node, axis=0, start=at, stop=at + 1)
    return make("reshape", cut, shape=type.shape, running=type.running)
