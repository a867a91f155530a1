"""The axes of tensors: made to run by an index and stopped again, swapped, indexed and cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from dln.compiler.frontend.context import absences, broadcasting, lengths
from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.values import IndexVar
from dln.compiler.frontend.tensors.pointwise import refuse_pairs
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Conflict, Size
from dln.compiler.ir.structure import is_clock, is_input
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.schema.keys import RawInput
from dln.grammar.diagnostics import Span

# ---- running axes ------------------------------------------------------------------------------


def axes_run(b: Build, node: Node, axis: int, index: IndexVar, span: Span) -> Node:
    """The example axis `axis` made a running axis by a bound index."""
    lead = len(node.type.running)
    size = node.type.example[axis]
    known, shown = (b.sizes.resolve(x) for x in (index.size, size))
    if index.ranged and known.value is not None and known.value < (shown.value or 0):
        found = lengths.stepped(b, lengths.extent(b, size), 0, 1, known.value)
        node = b.at(span)("slice", node, axis=lead + axis, start=0, stop=known.value)
        node = lengths.ended(b, node, lead + axis, found)
    else:
        broadcasting.equal(b, index.size, size, span, f"{index.name} runs over {shown} here")
    if index.axis in node.type.running:
        return _diagonal(b, node, node.type.running.index(index.axis), lead + axis, span)
    order = [*range(lead), lead + axis]
    order += [i for i in range(lead, len(node.type.shape)) if i != lead + axis]
    running = (*node.type.running, index.axis)
    return b.at(span)("running", broadcasting.ordered(b, node, order, span), running=running)


def _diagonal(b: Build, node: Node, first: int, second: int, span: Span) -> Node:
    """The entries at which two axes of one size have the same index: every (n + 1)-th, where both
    are laid out as one axis. It stands in the place of the first."""
    make, type = b.at(span), node.type
    n = b.number(type.shape[first])
    if n is None:
        b.fail("E209", "the size of this axis is not known where its diagonal is taken", span)
    rest = [i for i in range(first + 1, len(type.shape)) if i != second]
    plain = make("running", node, running=())
    if second != first + 1:
        plain = make("transpose", plain, perm=(*range(first + 1), second, *rest))
    shape = (*type.shape[:first], Size(n * n), *(type.shape[i] for i in rest))
    flat = make("reshape", plain, shape=shape, running=())
    entries = make("window", flat, axis=first, terms=((n + 1, Size(n)),), offset=0)
    both = lengths.merged(b, type.shape[first], type.shape[second])
    sizes = dict(enumerate(type.shape[:first])) | {first: both}
    sizes |= {first + 1 + i: type.shape[j] for i, j in enumerate(rest)}
    entries = lengths.resized(b, entries, sizes)
    return make("running", entries, running=type.running)


def axes_stop(b: Build, node: Node, indices: Sequence[IndexVar], span: Span) -> Node:
    """Running axes of bound indices turned back into example axes, in the order of the indices."""
    missing = [i for i in indices if i.axis not in node.type.running]
    if missing:
        extra = tuple(i.axis for i in missing)
        shape = (*node.type.lead, *(i.size for i in missing), *node.type.example)
        like = TensorType(shape, (*node.type.running, *extra))
        lead = len(node.type.running)
        tail = range(lead + len(extra), len(shape))
        node = b.at(span).broadcast(node, like, (*range(lead), *tail))
    old, stopped = node.type.running, [i.axis for i in indices]
    keep = tuple(a for a in old if a not in stopped)
    order = [*map(old.index, (*keep, *stopped)), *range(len(old), len(node.type.shape))]
    return b.at(span)("running", broadcasting.ordered(b, node, order, span), running=keep)


def transpose(b: Build, value: Value, span: Span) -> Value:
    """A matrix with rows and columns exchanged; of a list of rows again such a list."""
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        if len({len(row) for row in value}) == 1 and value[0]:
            return [list(column) for column in zip(*value, strict=True)]
    node = broadcasting.as_tensor(b, value, span)
    if len(node.type.example) != 2:
        text, fact = "only a matrix has a transpose", ""
        if len(node.type.example) == 1:
            fact = "of vectors a @ b is the sum of products, outer(a, b) has each with each"
        if len(node.type.example) == 1 and "time" in node.type.running:
            fact = "over time each step meets each in an equation: s[t, r] = q[t] @ k[r]"
        label = f"is {b.shown(node.type)}"
        if not node.type.example:
            fact = "a single number has no rows and columns: the mark goes"
        if len(node.type.example) > 2:
            fact = "with indices any axes change places: y[i, k, j] = x[i, j, k]"
        b.fail("E204", text, span, label, facts=(fact,) if fact else ())
    return _moved(b, node, 0, 1, span)


# ---- indexing ----------------------------------------------------------------------------------


def take(b: Build, node: Node, axis: int, index: int, span: Span) -> Node:
    """One entry along an example axis; the axis goes."""
    axis_at = len(node.type.running) + axis
    size = b.sizes.resolve(node.type.shape[axis_at])
    if index < 0 or (size.value is not None and index >= size.value):
        text, label = f"the index {index} is outside 0..{size - 1}", f"this axis has {size}"
        remedy = f"{size - 1} is the last" if index < 0 else "indices count from 0"
        notes = b.proof_notes(node.type.shape[axis_at], skip=span)
        b.fail("E208", text, span, label, notes, remedy)
    make = b.at(span)
    part = make("slice", node, axis=axis_at, start=index, stop=index + 1)
    shape = tuple(s for i, s in enumerate(node.type.shape) if i != axis_at)
    made = make("reshape", part, shape=shape, running=node.type.running)
    return lengths.there(b, made, lengths.extent(b, node.type.shape[axis_at]), index, span)


def cut(b: Build, node: Node, axis: int, start: int | None, stop: int | None, span: Span) -> Node:
    """A stretch along an example axis."""
    axis_at = len(node.type.running) + axis
    size = b.number(node.type.shape[axis_at])
    if size is None:
        b.fail("E209", "the size of this axis is not known where it is cut", span)
    first, last, _ = slice(start, stop).indices(size)
    if (stop is not None and stop > size) or first >= last:
        text = f"the slice {start or 0}:{size if stop is None else stop} does not fit"
        remedy = f"{start}:" if start is not None and -size <= start < 0 and stop == 0 else ""
        fact = f"a slice is the first entry and the one behind the last, of 0 to {size}"
        b.fail("E208", text, span, f"this axis has {size}", (), remedy, (fact,))
    if (first, last) == (0, size):
        return node
    found = lengths.extent(b, node.type.shape[axis_at])
    found = lengths.stepped(b, found, first, 1, last - first)
    made = b.at(span)("slice", node, axis=axis_at, start=first, stop=last)
    return lengths.ended(b, made, axis_at, found)


def pick(b: Build, node: Node, axis: int, index: Node, span: Span) -> Node:
    """The entry that a class names: `d[label]`, or a row of a table: `U[label]`, `U[:, label]`; of
    a vector of classes one for each: `d[near]`."""
    if index.type.kind != "index":
        label = f"is a {broadcasting.domain_text(b, index.type.domain)}"
        choice = "where a condition holds is a choice: sum(x if x > 0 else 0)"
        facts = (choice,) if index.type.domain.name == "binary" or index.type.kind == "bool" else ()
        if is_clock(index):
            label = "is counted while a phase learns"
            facts = (f"what changes with it is a choice: 0.1 if {span.text} < 10 else 0.01",)
        facts = facts or ("a place is a whole number, an index or a class, as argmax(z) is one",)
        b.fail("E210", "an index must be a class or a whole number", span, label, facts=facts)
    index, has = absences.split(b, index, span)
    if has is not None:
        return _where_there(b, pick(b, node, axis, index, span), axis, has, span)
    size = node.type.example[axis]
    if index.type.domain.size is None:
        _unbounded(b, index, size, span)
    text = "the class has another number of values"
    if None not in (found := [b.number(size), b.number(index.type.domain.size)]):
        text = f"picks one of {found[1]}, and there are {found[0]}"

    def complain(c: Conflict) -> NoReturn:
        sizes = [b.sizes.resolve(x) for x in (c.left, c.right)]
        said = f"the sizes {sizes[0]} and {sizes[1]} do not agree"
        notes = b.proof_notes(c.left, c.right, skip=span)
        facts = (c.remainder,) if c.remainder else ()
        b.fail("E201", said, span, text, notes, facts=facts, about=(node, index))

    b.equate(size, index.type.domain.size, span, text, complain)
    node = lengths.filled(b, node, (len(node.type.running) + axis,), 0.0, span)
    many, before = index.type.example, node.type.example[:axis]
    behind = node.type.example[axis + 1 :]
    refuse_pairs(b, [node, index], (span, span), (len(node.type.example), 0))
    if not node.type.running:
        rows = _moved(b, node, axis, 0, span)
        made = b.at(span)("gather", rows, index)  # [running, many, before, behind]
        first = len(index.type.shape)
        order = (*range(first, first + axis), *range(len(index.type.running), first))
        return _after_running(b, made, order, span)
    type = broadcasting.lead_of(b, [node, index], span)
    lead, running = type.shape, type.running
    last = _moved(b, node, axis, len(node.type.example) - 1, span)
    shape = (*lead, *many, *before, *behind)
    places = tuple(map(running.index, node.type.running))
    rest = range(len(lead) + len(many), len(shape) + 1)
    last = broadcasting.placed(b, last, TensorType((*shape, size), running), (*places, *rest), span)
    places = tuple(map(running.index, index.type.running))
    rest = range(len(lead), len(lead) + len(many))
    index = broadcasting.placed(b, index, TensorType(shape, running), (*places, *rest), span)
    made = b.at(span)("pick", last, index)
    first = len(lead) + len(many)
    return _after_running(b, made, (*range(first, first + axis), *range(len(lead), first)), span)


def _unbounded(b: Build, index: Node, size: Size, span: Span) -> NoReturn:
    """A whole number that may be any: what it names may lie outside of the table."""
    of, said = f"class({b.sizes.resolve(size)})", broadcasting.short(span.text)
    field = is_input(index) and not isinstance(index["name"], RawInput)
    remedy = f"declare the field: {index['name']}: {of} = ..." if field else f"{said} as {of}"
    b.fail("E210", "an index must be a class", span, "is a whole number without bounds", (), remedy)


def _where_there(b: Build, made: Node, axis: int, has: Node, span: Span) -> Node:
    """What classes have picked along an axis; nothing where there is no class."""
    first = len(made.type.running) + axis
    many = range(first, first + len(has.type.example))
    places = (*map(made.type.running.index, has.type.running), *many)
    test = broadcasting.placed(b, has, made.type.like(kind="bool"), places, span)
    return absences.nothing(b, made, test, span)


def _moved(b: Build, node: Node, axis: int, to: int, span: Span) -> Node:
    """An example axis put into another place among the example axes."""
    lead = len(node.type.running)
    order = [i for i in range(len(node.type.shape)) if i != lead + axis]
    order.insert(lead + to, lead + axis)
    return broadcasting.ordered(b, node, order, span)


def _after_running(b: Build, node: Node, first: Sequence[int], span: Span) -> Node:
    """Some axes put right behind the running ones, the others after them as they stand."""
    lead = len(node.type.running)
    rest = [i for i in range(lead, len(node.type.shape)) if i not in first]
    return broadcasting.ordered(b, node, (*range(lead), *first, *rest), span)
