"""Sequences in the graph: tensors that run over time, which is their first axis inside."""

from __future__ import annotations

import re

from dln.compiler.frontend.context import absences, lengths
from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.context.place import Extent
from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.loop import row_type
from dln.compiler.ir.tensor_type import TIME, TensorType
from dln.grammar.diagnostics import Span

OF_BEFORE = "prev|previous|last|old"  # as papers and programs call it


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
    length = b.number(node.type.shape[0])
    if b.time.reading and length is not None and -offset >= length:  # what is read may be short
        longer = b.at(span)("pad", node, axis=0, before=-offset, after=0)
        nothing = b.at(span)("slice", longer, axis=0, start=0, stop=length)
        if node.type.kind != "index":
            return nothing
        never, like = b.at(span).const(False, "bool"), node.type.like(kind="bool")
        test = b.at(span).broadcast(never, like, ())
        return absences.nothing(b, nothing, test, span)
    if length is None and b.built.rehearsal:
        return node  # of the same type, and nobody asks for its values
    if length is None or abs(offset) >= length:
        b.fail("E208", f"the sequence is not {abs(offset) + 1} steps long", span)
    if node.type.kind == "index":
        return _shifted_classes(b, node, offset, length, span)
    if offset > 0:
        node = lengths.filled(b, node, (0,), 0.0, span)
    return _moved(b, node, offset, length, span)


def _shifted_classes(b: Build, node: Node, offset: int, length: int, span: Span) -> Node:
    """A sequence of classes, of which there is none before the first step and past the end."""
    make, type = b.at(span), node.type
    has = [0 <= t + offset < length for t in range(length)]
    test = make.broadcast(make.const(tuple(has), "bool"), type.like(kind="bool"), (0,))
    if offset > 0 and lengths.extent_at(b, type, 0) is not None:
        before = _moved(b, lengths.inside(b, type, 0, span), offset, length, span)
        test = make("and", test, before)
    return absences.nothing(b, _moved(b, node, offset, length, span), test, span)


def _moved(b: Build, node: Node, offset: int, length: int, span: Span) -> Node:
    """The elements of a sequence some steps earlier or later; 0 where there is none."""
    steps, make, k = node.type.shape[0], b.at(span), abs(offset)
    start, stop = (0, length - k) if offset < 0 else (k, length)
    cut = make("slice", node, axis=0, start=start, stop=stop)
    before, after = (k, 0) if offset < 0 else (0, k)
    return lengths.resized(b, make("pad", cut, axis=0, before=before, after=after), {0: steps})


def backwards(b: Build, node: Node, span: Span) -> Node:
    """A sequence from its end: of each example, from its own. Time is its first axis then."""
    node = lengths.of_each(b, time_first(b, node, span), span)
    if (found := lengths.extent_at(b, node.type, 0)) is None:
        return b.at(span)("flip", node, axis=0)
    at = node.type.running.index("batch")
    if at != 1:
        rest = (i for i in range(1, len(node.type.shape)) if i != at)
        node = b.at(span)("transpose", node, perm=(0, at, *rest))
    count = found.count
    count = count if count.type.kind == "index" else b.at(span)("cast", count, kind="index")
    return b.at(span)("turned", node, count)


def final(b: Build, node: Node, span: Span) -> Node:
    """The last element of a sequence that has time first: of each example, its own."""
    if (found := lengths.extent_at(b, node.type, 0)) is not None:
        return _at_end(b, node, found, span)
    if (length := b.number(node.type.shape[0])) is None and b.built.rehearsal:
        type = TensorType(node.type.shape[1:], node.type.running[1:], node.type.kind).like(
            domain=node.type.domain
        )
        return b.at(span)("input", name="last", type=type)
    if length is None:
        b.fail("E209", "the length of this sequence is not known where its end is asked for", span)
    return element(b, node, length - 1, span)


def _at_end(b: Build, node: Node, found: Extent, span: Span) -> Node:
    """The element at the end of each sequence; 0 of one without any."""
    make, type = b.at(span), node.type
    if type.kind != "real":
        return _class_at_end(b, node, found, span)
    steps = b.sizes.resolve(type.shape[0]).constant
    counted = found.count.type.kind
    numbers = [float(i) if counted == "real" else i for i in range(1, steps + 1)]
    like = TensorType(type.lead, type.running, counted)
    here = make.broadcast(make.const(tuple(numbers), counted), like, (0,))
    ends = make.broadcast(found.count, like, (type.running.index("batch"),))
    at_end = make("cast", make("eq", here, ends), kind="real")
    node = lengths.filled(b, node, (0,), 0.0, span)
    labels = tuple(range(len(type.shape)))
    lead = labels[: len(at_end.type.shape)]
    made = make("contract", at_end, node, left=lead, right=labels, out=labels[1:])
    made = lengths.resized(b, made, dict(enumerate(type.shape[1:])))
    return make("asserted", made, domain=type.domain)


def _class_at_end(b: Build, node: Node, found: Extent, span: Span) -> Node:
    """The class at the end of each sequence: at the place that its length names, where one stands
    in front of the first."""
    make, type = b.at(span), node.type
    longer = make("pad", node, axis=0, before=1, after=0)
    turned = make("transpose", longer, perm=(*range(1, len(type.shape)), 0))
    like = TensorType(type.shape[1:], type.running[1:], "index")
    count = found.count
    count = count if count.type.kind == "index" else make("cast", count, kind="index")
    at = make.broadcast(count, like, (like.running.index("batch"),))
    made = make("asserted", make("pick", turned, at), domain=type.domain)
    some = None if found.least else make("gt", at, make.const(0, "index"))
    return made if some is None else absences.nothing(b, made, some, span)


def element(b: Build, node: Node, at: int, span: Span) -> Node:
    """The element of a sequence at a place known now; 0 in the examples that end before it."""
    make, type = b.at(span), row_type(node.type)
    cut = make("slice", node, axis=0, start=at, stop=at + 1)
    made = make("reshape", cut, shape=type.shape, running=type.running)
    return lengths.there(b, made, lengths.extent(b, node.type.shape[0]), at, span)


def step_before(body: str, name: str) -> str:
    """`h[t-1]`, for `h_prev` or `last_h` in the text of a block whose scan defines `h[t]`."""
    said = re.fullmatch(rf"(?:{OF_BEFORE})_?(\w+)|(\w+?)_?(?:{OF_BEFORE}|tm1)", name)
    of = (said[1] or said[2]) if said is not None else ""
    line = re.search(rf"^\s*{of}\[(\w+)\] *=", body, re.MULTILINE) if of else None
    if line is None:
        return ""
    back = re.search(rf"\bscan {line[1]} in [^{{\n]*\bbackwards\b", body) is not None
    return f"{of}[{line[1]}{'+' if back else '-'}1]"
