"""Equations between tensors: alignment, indexing, contraction and reduction, with their errors.

Everything is written for one example and mapped over the running axes. Scalars and equal shapes
combine freely; every other combination asks for an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dln.compiler.graph import Node
from dln.compiler.sizes import Conflict, Reason, Size
from dln.compiler.state import Build
from dln.compiler.tensor import BINARY, POSITIVE, PROB, Domain, TensorType
from dln.compiler.values import IndexVar, Value, describe
from dln.grammar.diagnostics import Note, Span

COMPARE = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
ORDER = {"batch": 0, "time": 1}


# ---- from static values ------------------------------------------------------------------------


def as_tensor(b: Build, value: Value, span: Span, what: str = "this") -> Node:
    """A value as a tensor: numbers and lists of numbers become constants."""
    if isinstance(value, Node):
        return value
    if isinstance(value, bool):
        return b.at(span).const(value, "bool")
    if isinstance(value, int | float):
        return b.at(span).const(float(value))
    if isinstance(value, Size):
        return b.at(span).size(value)
    if isinstance(value, list | range):
        return _list_tensor(b, value, span, what)
    need = "a tensor or a number is needed here" if what == "this" else (
        f"{what} must be a tensor or a number")  # fmt: skip
    b.fail("E302", need, b.blame(value, span), f"is {describe(value)}")


def _list_tensor(b: Build, value: Sequence[Value], span: Span, what: str) -> Node:
    """A list of numbers is a constant; a list of tensors of one shape is stacked."""
    if any(isinstance(v, Node) for v in value):
        parts = [as_tensor(b, v, span, what) for v in value]
        _same_entries(b, parts, span)
        parts = align(b, parts, span)
        make = b.at(span)
        lifted = []
        for p in parts:
            lead = len(p.type.running)
            shape = (*p.type.lead, Size.of(1), *p.type.example)
            lifted.append(make("reshape", p, shape=shape, running=p.type.running))
        return make("concat", *lifted, axis=lead) if len(lifted) > 1 else lifted[0]
    return b.at(span).const(_numbers(b, value, span, what))


def _same_entries(b: Build, parts: Sequence[Node], span: Span) -> None:
    """The entries of a list that becomes one tensor have one shape."""
    first = parts[0]
    for p in parts[1:]:

        def complain(c: Conflict | None = None, other: Node = p) -> Any:
            label = f"is {b.shown(first.type)} and {b.shown(other.type)}"
            b.fail("E303", "the entries of this list have different shapes", span, label)

        if len(p.type.example) != len(first.type.example):
            complain()
        for s, t in zip(first.type.example, p.type.example, strict=True):
            b.equate(s, t, Reason(span, "the entries of one list"), complain)


def _numbers(b: Build, value: Value, span: Span, what: str) -> Any:
    if isinstance(value, list | range):
        rows = tuple(_numbers(b, v, span, what) for v in value)
        shapes = {_depth(r) for r in rows}
        if len(shapes) > 1:
            b.fail("E303", "the rows of this list have different lengths", b.blame(value, span))
        return rows
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, Size) and b.sizes.resolve(value).value is not None:
        return float(b.sizes.resolve(value).constant)
    need = "a list of numbers is needed here" if what == "this" else (
        f"{what} must be made of numbers")  # fmt: skip
    at = next((s for v, s in b.given if isinstance(v, list) and value in v), span)
    b.fail("E302", need, at, f"holds {describe(value)}")


def _depth(rows: Any) -> tuple[int, ...]:
    return (len(rows), *_depth(rows[0])) if isinstance(rows, tuple) and rows else ()


def quantity(b: Build, node: Node, span: Span) -> Node:
    """A tensor that arithmetic may take: truth values become 0 and 1, classes are refused."""
    if node.type.kind == "index" or node.type.domain.name == "class":
        b.fail(
            "E311",
            "a class is a name, not a quantity",
            b.blame(node, span),
            f"is a {domain_text(b, node.type.domain)}",
            remedy="onehot(...) turns a class into numbers; == compares classes",
        )
    if node.type.kind == "bool":
        return b.at(span)("cast", node, kind="real")
    return node


def domain_text(b: Build, domain: Domain) -> str:
    if domain.size is None:
        return domain.name
    return f"{domain.name}({b.sizes.resolve(domain.size)})"


# ---- alignment ---------------------------------------------------------------------------------


def running_union(nodes: Sequence[Node]) -> tuple[str, ...]:
    """The running axes of several tensors, batch and time first, then in order of appearance."""
    seen: dict[str, None] = {}
    for n in nodes:
        seen.update(dict.fromkeys(n.type.running))
    return tuple(sorted(seen, key=lambda a: ORDER.get(a, 2)))


def lead_sizes(b: Build, nodes: Sequence[Node], axes: tuple[str, ...], span: Span) -> list[Size]:
    """The sizes of running axes; where two tensors share one, the sizes must agree."""
    sizes: dict[str, Size] = {}
    for n in nodes:
        for axis, size in zip(n.type.running, n.type.lead, strict=True):
            if axis in sizes:
                equal(b, sizes[axis], size, span, f"both run over {axis.split('.')[0]}")
            sizes.setdefault(axis, size)
    return [sizes[a] for a in axes]


def equal(b: Build, left: Size, right: Size, span: Span, why: str) -> None:
    """Demand that two sizes agree at a place."""

    def fail(c: Conflict) -> Any:
        left, right = b.sizes.resolve(c.left), b.sizes.resolve(c.right)
        facts = (c.remainder,) if c.remainder else ()
        notes = b.proof_notes(c.left, c.right, skip=span)
        b.fail("E201", f"the sizes {left} and {right} do not agree", span, why, notes, facts=facts)

    b.equate(left, right, Reason(span, why), fail)


def spread(b: Build, node: Node, like: TensorType, span: Span) -> Node:
    """A tensor broadcast to a full shape: its running axes go to theirs, its example to the end."""
    if node.type.shape == () or node.type.shape == like.shape:
        if node.type.running == like.running or node.type.shape == ():
            return node
    lead = [like.running.index(a) for a in node.type.running]
    first = len(like.shape) - len(node.type.example)
    axes = (*lead, *range(first, len(like.shape)))
    if list(axes) != sorted(axes):
        order = sorted(range(len(axes)), key=lambda i: axes[i])
        node = b.at(span)("transpose", node, perm=tuple(order))
        axes = tuple(sorted(axes))
    return b.at(span).broadcast(node, like, axes)


def align(b: Build, nodes: Sequence[Node], span: Span, spans: Sequence[Span] = ()) -> list[Node]:
    """Tensors brought to one shape, as a pointwise operation needs them."""
    example: tuple[Size, ...] = ()
    first: int | None = None
    for i, n in enumerate(nodes):
        if not n.type.example:
            continue
        if first is None:
            example, first = n.type.example, i
            continue
        _same_example(b, nodes[first], n, span, spans, (first, i))
    running = running_union(nodes)
    if not running and not example:
        return list(nodes)
    lead = lead_sizes(b, nodes, running, span)
    like = TensorType((*lead, *example), running)
    return [spread(b, n, like, span) for n in nodes]


def _same_example(
    b: Build, x: Node, y: Node, span: Span, spans: Sequence[Span], which: tuple[int, int]
) -> None:
    """Two tensors of a pointwise operation have the same shape for one example."""

    def complain() -> Any:
        facts: tuple[str, ...] = ()
        places = [spans[i] if spans else span for i in which]
        places = [b.blame(n, p) if p == span else p for n, p in zip((x, y), places, strict=True)]
        names = [
            p.text if p != span else f"operand {i + 1}" for i, p in zip(which, places, strict=True)
        ]
        shown = [b.shown(n.type) for n in (x, y)]
        notes: tuple[Note, ...] = ()
        if places[0] != places[1]:
            notes = (Note(places[0], f"is {shown[0]}"),)
        notes += b.proof_notes(*x.type.example, *y.type.example, skip=span)
        if len(x.type.example) != len(y.type.example):
            facts = ("only single numbers and equal shapes combine; an index says what is meant",)
        b.fail(
            "E202",
            f"{short(names[0])} and {short(names[1])} have different shapes",
            places[1],
            f"is {shown[1]}",
            notes,
            facts=facts,
        )

    if len(x.type.example) != len(y.type.example):
        complain()
    for s, t in zip(x.type.example, y.type.example, strict=True):
        b.equate(s, t, Reason(span, "both sides of one equation"), lambda c: complain())


def short(text: str) -> str:
    """A piece of source fit for the middle of a sentence."""
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:37] + "..."


# ---- pointwise ---------------------------------------------------------------------------------


def unary(b: Build, op: str, value: Value, span: Span) -> Node:
    node = quantity(b, as_tensor(b, value, span), span)
    return b.at(span)(op, node)


def binary(
    b: Build, op: str, left: Value, right: Value, span: Span, spans: tuple[Span, Span]
) -> Node:
    """An arithmetic operation on two values of which at least one is a tensor."""
    nodes = [quantity(b, as_tensor(b, v, s), s) for v, s in zip((left, right), spans, strict=True)]
    return b.at(span)(op, *align(b, nodes, span, spans))


def compare(
    b: Build, sign: str, left: Value, right: Value, span: Span, spans: tuple[Span, Span]
) -> Node:
    """A comparison. Classes compare with classes (and whole numbers) by == and != only."""
    nodes = [as_tensor(b, v, s) for v, s in zip((left, right), spans, strict=True)]
    classes = [n.type.domain.name == "class" for n in nodes]
    if any(classes) and sign not in ("==", "!="):
        b.fail("E311", "classes have no order", span, remedy="compare them with == or !=")
    if all(classes):
        for s, t in [(nodes[0].type.domain.size, nodes[1].type.domain.size)]:
            if s is not None and t is not None:
                equal(b, s, t, span, "the two are classes of different sets")
    elif any(classes):
        nodes = [_as_class(b, n, s) for n, s in zip(nodes, spans, strict=True)]
    elif {n.type.kind for n in nodes} == {"bool", "real"}:
        nodes = [quantity(b, n, s) for n, s in zip(nodes, spans, strict=True)]
    return b.at(span)(COMPARE[sign], *align(b, nodes, span, spans))


def _as_class(b: Build, node: Node, span: Span) -> Node:
    """A whole number beside a class."""
    if node.type.domain.name == "class":
        return node
    if node.op == "const" and float(node["value"]).is_integer():
        return b.at(span).const(int(node["value"]), "index")
    b.fail("E311", "a class is compared with a class or a whole number", span, "is neither")


def choose(b: Build, test: Value, then: Value, other: Value, span: Span, spans: Any) -> Node:
    """`then if test else other` on tensors, element by element."""
    t, x, y = (as_tensor(b, v, s) for v, s in zip((test, then, other), spans, strict=True))
    if t.type.kind != "bool":
        t = b.at(span)("ne", quantity(b, t, spans[0]), b.make.const(0.0))
    x, y = quantity(b, x, spans[1]), quantity(b, y, spans[2])
    nodes = align(b, [t, x, y], span, spans)
    return b.at(span)("where", *nodes)


# ---- axes --------------------------------------------------------------------------------------


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


def transpose(b: Build, value: Value, span: Span) -> Node:
    node = as_tensor(b, value, span)
    if len(node.type.example) != 2:
        b.fail("E204", "only a matrix has a transpose", span, f"is {b.shown(node.type)}")
    lead = len(node.type.running)
    perm = (*range(lead), lead + 1, lead)
    return b.at(span)("transpose", node, perm=perm)


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
        b.fail("E210", "an index must be a class or a whole number", span,
               f"is a {domain_text(b, index.type.domain)}")  # fmt: skip
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
