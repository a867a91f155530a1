"""The axes of tensors: made to run by an index and stopped again, swapped, indexed and cut."""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.graph import Node
from dln.compiler.state import Build
from dln.compiler.tensor import TensorType
from dln.compiler.tensors import as_tensor, domain_text, equal, lead_sizes, running_union, spread
from dln.compiler.values import IndexVar, Value
from dln.grammar.diagnostics import Span

# ---- running axes ------------------------------------------------------------------------------


def axes_run(b: Build, node: Node, axis: int, index: IndexVar, span: Span) -> Node:
    """The example axis `axis` made a running axis by a bound index."""
    size = node.type.example[axis]
    shown = b.sizes.resolve(size)
    equal(b, index.size, size, span, f"{index.name} runs over {shown} here")
    lead = len(node.type.running)
    if index.axis in node.type.running:
        b.unbuilt("an index that stands twice in one tensor (a diagonal)", span)
    order = [*range(lead), lead + axis]
    order += [i for i in range(lead, len(node.type.shape)) if i != lead + axis]
    running = (*node.type.running, index.axis)
    if order != sorted(order):
        node = b.at(span)("transpose", node, perm=tuple(order))
    return b.at(span)("running", node, running=running)


def axes_stop(b: Build, node: Node, indices: Sequence[IndexVar], span: Span) -> Node:
    """Running axes of bound indices turned back into example axes, in the order of the indices."""
    missing = [i for i in indices if i.axis not in node.type.running]
    if missing:
        extra = tuple(i.axis for i in missing)
        shape = (*node.type.lead, *(i.size for i in missing), *node.type.example)
        like = TensorType(shape, (*node.type.running, *extra))
        lead = len(node.type.running)
        tail = range(lead + len(extra), len(shape))
        if node.type.shape == ():
            node = b.at(span)("broadcast", node, axes=(), shape=shape, running=like.running)
        else:
            node = b.at(span).broadcast(node, like, (*range(lead), *tail))
    keep = [a for a in node.type.running if all(a != i.axis for i in indices)]
    old = node.type.running
    order = [old.index(a) for a in keep] + [old.index(i.axis) for i in indices]
    order += range(len(old), len(node.type.shape))
    if order != sorted(order):
        node = b.at(span)("transpose", node, perm=tuple(order))
    return b.at(span)("running", node, running=tuple(keep))


def transpose(b: Build, value: Value, span: Span) -> Value:
    """A matrix with rows and columns exchanged; of a list of rows again such a list."""
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        if len({len(row) for row in value}) == 1 and value[0]:
            return [list(column) for column in zip(*value, strict=True)]
    node = as_tensor(b, value, span)
    if len(node.type.example) != 2:
        b.fail("E204", "only a matrix has a transpose", span, f"is {b.shown(node.type)}")
    lead = len(node.type.running)
    perm = (*range(lead), lead + 1, lead)
    return b.at(span)("transpose", node, perm=perm)


# ---- indexing ----------------------------------------------------------------------------------


def take(b: Build, node: Node, axis: int, index: int, span: Span) -> Node:
    """One entry along an example axis; the axis goes."""
    axis_at = len(node.type.running) + axis
    size = b.sizes.resolve(node.type.shape[axis_at])
    if index < 0 or (size.value is not None and index >= size.value):
        b.fail(
            "E208",
            f"the index {index} is outside 0..{size - 1}",
            span,
            f"this axis has {size}",
            b.proof_notes(node.type.shape[axis_at], skip=span),
            remedy=f"{size - 1} is the last" if index < 0 else "indices count from 0",
        )
    make = b.at(span)
    part = make("slice", node, axis=axis_at, start=index, stop=index + 1)
    shape = tuple(s for i, s in enumerate(node.type.shape) if i != axis_at)
    return make("reshape", part, shape=shape, running=node.type.running)


def cut(b: Build, node: Node, axis: int, start: int | None, stop: int | None, span: Span) -> Node:
    """A stretch along an example axis."""
    axis_at = len(node.type.running) + axis
    size = b.sizes.resolve(node.type.shape[axis_at]).value
    if size is None:
        b.fail("E209", "the size of this axis is not known where it is cut", span)
    first, last, _ = slice(start, stop).indices(size)
    if (stop is not None and stop > size) or first >= last:
        b.fail(
            "E208",
            f"the slice {start or 0}:{size if stop is None else stop} does not fit",
            span,
            f"this axis has {size}",
        )
    if (first, last) == (0, size):
        return node
    return b.at(span)("slice", node, axis=axis_at, start=first, stop=last)


def pick(b: Build, node: Node, axis: int, index: Node, span: Span) -> Node:
    """The entry that a class names: `d[label]`, or a row of a table: `U[label]`."""
    if index.type.kind != "index":
        b.fail(
            "E210",
            "an index must be a class or a whole number",
            span,
            f"is a {domain_text(b, index.type.domain)}",
        )
    size = node.type.example[axis]
    if index.type.domain.size is not None:
        equal(b, size, index.type.domain.size, span, "the class has another number of values")
    if not node.type.running and axis == 0:
        return b.at(span)("gather", node, index)
    if len(node.type.example) != 1:
        b.unbuilt("picking by class inside a tensor with several axes", span)
    running = running_union([node, index])
    lead = lead_sizes(b, [node, index], running, span)
    node = spread(b, node, TensorType((*lead, size), running), span)
    index = spread(b, index, TensorType(tuple(lead), running), span)
    return b.at(span)("pick", node, index)
