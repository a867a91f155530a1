"""Sums of products that no matrix product reads where they lie: what to copy together first.

Windows, summed axes that are not neighbours, and results whose axes interleave would be left to
`einsum`, which computes element by element. Here an operand is copied, once, into the order that
a matrix product reads (for a window that is im2col), as few and as cheap copies as possible:

    contract(K, w)  ->  transpose(sum(contract(K, copy(transpose(w)))))

The copies are nodes of their own, so a convolution and its gradient share one. Which labels run
over many products (`batch`, perhaps summed afterwards) and which order each copy has is decided by
estimated time. Constants are measured on one core of an x86 server, in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from dln.compiler.ir.graph import Graph, Node, Spans
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops.common import contiguous, view_of
from dln.compiler.ir.ops.contract import Groups, Labels, flops, matrix_product, spell_outer
from dln.compiler.ir.ops.window import places_of
from dln.compiler.ir.sizes import Size, coefficients
from dln.compiler.ir.spelling import A, Broadcast, Index, Transpose, View, Window
from dln.compiler.ir.tensor_type import TensorType

SMALL = 4096
"""Floating-point operations below which `einsum` is as good as a copy and a product."""

CALL = 1000.0
PRODUCT = 200.0  # one of many matrix products of a call
FLOP = 0.012
CACHED = 2**18  # elements of one product beyond which it runs from memory, three times slower
WIDE = 1.7  # where a long sum is written to more columns than rows (16 x 150 of 6400: 523, 255 us)
RUN, ELEMENT = 6.5, 0.1  # copying: for each contiguous run, and for each element
TURNED = 0.3  # for each element of an operand that the product reads across its rows


def strides(node: Node, n: int) -> tuple[int, ...]:
    """The distance between neighbours along each axis, in elements, for n examples."""
    view = view_of(node)
    if view is None:
        return packed(node.type, n)
    steps = strides(node.operands[0], n)
    for move in view.moves:
        match move:
            case Transpose(perm) if perm is not None:
                steps = tuple(steps[p] for p in perm)
            case Index(parts):
                left = iter(steps)
                steps = (*(0 if p is None else next(left) for p in parts), *left)
            case Broadcast():
                steps = (0,) * (len(node.type.shape) - len(steps)) + steps
            case Window(axis, terms=terms):
                inside = (c * steps[axis] for c, _ in terms)
                steps = (*steps[:axis], *inside, *steps[axis + 1 :])
            case _:
                steps = packed(node.type, n)
    return steps


def packed(type: TensorType, n: int) -> tuple[int, ...]:
    """The strides of an array in C order."""
    sizes = [number(s, n) for s in type.shape]
    return tuple(prod(sizes[i + 1 :]) for i in range(len(sizes)))


def number(size: Size, n: int) -> int:
    """A size in numbers, for n examples."""
    found = coefficients(size) or ()
    return sum(c * n**k for k, c in enumerate(found))


def copy_time(sizes: list[int], steps: list[int]) -> float:
    """Nanoseconds for copying into C order an array with these sizes and strides (in elements): by
    contiguous runs."""
    run, at = 1, 1
    for size, step in zip(reversed(sizes), reversed(steps), strict=True):
        if size > 1 and step != at:
            break
        run, at = run * size, at * size
    return CALL + prod(sizes) * (ELEMENT + (RUN / run if run > 1 else 2.0))


@dataclass(frozen=True, slots=True)
class ProductForm:
    """One way to compute a contraction, in so many nanoseconds.

    `sides` are the operands' labels as the product reads them, and `copies` says which of them are
    copied together; `out` has the product's labels, of which `partial` is summed afterwards.
    """

    time: float
    sides: tuple[Labels, Labels]
    copies: tuple[bool, bool]
    out: Labels
    partial: Labels


class Search:
    """The forms of one contraction over given operands; `held` are copies that exist already."""

    def __init__(self, graph: Graph, node: Node, operands: list[Node], sides: list[Labels], n: int):
        self.graph, self.operands, self.sides = graph, operands, sides
        self.out: Labels = node["out"]
        self.groups = Groups.of(sides[0], sides[1], self.out)
        self.sizes: dict[int, int] = {}
        for operand, labels in zip(operands, sides, strict=True):
            self.sizes |= {x: number(s, n) for x, s in zip(labels, operand.type.shape, strict=True)}
        self.steps = [
            dict(zip(ls, strides(o, n), strict=True)) for o, ls in zip(operands, sides, strict=True)
        ]
        self.lie = [contiguous(o) for o in operands]

    def best(self) -> ProductForm | None:
        return min(self.forms(), key=lambda f: f.time, default=None)

    def forms(self) -> Iterator[ProductForm]:
        g = self.groups
        for extra in [(), *((x,) for x in (*g.rows, *g.cols, *g.inner))]:
            partial = tuple(x for x in extra if x in g.inner)
            batch = partial + tuple(x for x in self.out if x in g.batch or x in extra)
            rows, cols, inner = (
                tuple(x for x in group if x not in extra) for group in (g.rows, g.cols, g.inner)
            )
            if not (rows and cols and inner):
                continue
            for r, c, k, turned in product(
                self.orders(rows, 0), self.orders(cols, 1), self.orders(inner, 1), (False, True)
            ):
                yield self.form(batch, partial, r, c, k, turned)

    def orders(self, group: Labels, slot: int) -> list[Labels]:
        """The order of a group: as it is (in the result, or on the left), or as in an operand."""
        return list(dict.fromkeys([group, tuple(x for x in self.sides[slot] if x in group)]))

    def count(self, labels: Labels) -> int:
        return prod(self.sizes[x] for x in labels)

    def form(
        self,
        batch: Labels,
        partial: Labels,
        rows: Labels,
        cols: Labels,
        inner: Labels,
        turned: bool,
    ) -> ProductForm:
        """The form with these groups, its time estimated."""
        ways = [
            self.read(0, batch, rows, inner, turned),
            self.read(1, batch, inner, cols, turned),
        ]
        out = batch + (cols + rows if turned else rows + cols)
        m, k, n = map(self.count, (rows, inner, cols))
        times = self.count(batch)
        speed = FLOP * (1 + 2 / m) * (1 + 2 / k) * (1 + 2 / n)
        slow = 3.0 if m * k + k * n + m * n > CACHED else 1.0
        if k > max(m, n) and (m > n if turned else n > m):
            slow *= WIDE
        time = CALL + times * (PRODUCT + 2 * m * k * n * speed * slow) + sum(w[0] for w in ways)
        if partial:
            time += CALL + self.count(out) * 0.3
        kept = tuple(x for x in out if x not in partial)
        if kept != self.out:
            time += self.count(kept) * 0.3
        return ProductForm(time, (ways[0][1], ways[1][1]), (ways[0][2], ways[1][2]), out, partial)

    def read(
        self, slot: int, batch: Labels, first: Labels, second: Labels, turned: bool
    ) -> tuple[float, Labels, bool]:
        """How an operand becomes `[batch..., first, second]`: the nanoseconds, its labels, if
        copied."""
        labels, elements = self.sides[slot], self.count(self.sides[slot])
        if self.lie[slot] and all(neighbours(labels, g) for g in (first, second)):
            across = labels.index(first[0]) > labels.index(second[0])
            if labels[-1] not in batch:  # BLAS wants neighbours along one of its two axes
                return (elements * TURNED * (across != turned), labels, False)
        mine = tuple(x for x in batch if x in labels)
        return min(
            (
                self.copied(slot, mine + a + b) + elements * TURNED * (k != turned),
                mine + a + b,
                True,
            )
            for k, (a, b) in enumerate(((first, second), (second, first)))
        )

    def copied(self, slot: int, order: Labels) -> float:
        """The nanoseconds of a copy in this order; none where the graph holds it."""
        if find_copy(self.graph, self.operands[slot], self.sides[slot], order) is not None:
            return 0.0
        return copy_time([self.sizes[x] for x in order], [self.steps[slot][x] for x in order])


def neighbours(labels: Labels, group: Labels) -> bool:
    at = labels.index(group[0])
    return labels[at : at + len(group)] == group


def turn(labels: Labels, order: Labels) -> tuple[int, ...]:
    return tuple(labels.index(x) for x in order)


def find_copy(graph: Graph, node: Node, labels: Labels, order: Labels) -> Node | None:
    """The copy of a node in another order of axes, if the graph holds it."""
    if labels != order:
        turned = graph.find("transpose", (node,), {"perm": turn(labels, order)})
        if turned is None:
            return None
        node = turned
    return graph.find("copy", (node,), {})


# ---- rewriting ---------------------------------------------------------------------------------


def gathered(
    graph: Graph, node: Node, operands: tuple[Node, ...], n: int, spans: Spans
) -> Node | None:
    """A contraction as copies, one (batched) matrix product, and views; None where the product
    reads its operands as they are, or is small. n is the usual number of examples."""
    work = Size.of(flops(node))
    if number(work, n) < SMALL or spell_outer(node) is not None:
        return None
    base, sides = list(operands), [node["left"], node["right"]]
    for slot in (0, 1):
        base[slot], sides[slot] = unturned(base[slot], sides[slot])
    plain = Node("contract", tuple(base), {**node.attrs, "left": sides[0], "right": sides[1]},
                 node.type)  # fmt: skip
    batch = Groups.of(sides[0], sides[1], node["out"]).batch
    if not any(overlaps(o) for o in base) and matrix_product(plain, batch) is not None:
        if base == list(operands):
            return None
        make = Make(graph, spans)  # of what lies there, not of a turned view of it
        return make.running(make(plain.op, *base, **plain.attrs), node.type)
    form = Search(graph, node, base, sides, n).best()
    return None if form is None else build(Make(graph, spans), node, base, sides, form)


def unturned(node: Node, labels: Labels) -> tuple[Node, Labels]:
    """The operand below transposed views, with its labels in that order."""
    while (perm := turned(node)) is not None:
        labels = tuple(labels[perm.index(i)] for i in range(len(perm)))
        node = node.operands[0]
    return node, labels


def turned(node: Node) -> tuple[int, ...] | None:
    """The order of axes of a view that only turns an array; None for any other node."""
    match view_of(node):
        case View(moves=(Transpose(perm),)):
            return perm
    return None


def overlaps(node: Node) -> bool:
    """Whether a node looks at an array through a window."""
    view = view_of(node)
    if view is None:
        return False
    return any(isinstance(m, Window) for m in view.moves) or overlaps(node.operands[0])


def build(
    m: Make, node: Node, operands: list[Node], sides: list[Labels], form: ProductForm
) -> Node:
    """The nodes of a form, its result with the axes of the contraction."""
    read = list(operands)
    for slot in (0, 1):
        if form.copies[slot]:
            labels, order = sides[slot], form.sides[slot]
            if labels != order:
                read[slot] = m("transpose", read[slot], perm=turn(labels, order))
            read[slot] = m.graph.add("copy", (read[slot],), read[slot].type, m.spans)
    made = m("contract", *read, left=form.sides[0], right=form.sides[1], out=form.out)
    made = m.sum(made, (form.out.index(x) for x in form.partial))
    kept = tuple(x for x in form.out if x not in form.partial)
    if kept != node["out"]:
        made = m("transpose", made, perm=turn(kept, node["out"]))
    return m.running(made, node.type)


def unwound(
    graph: Graph, node: Node, operands: tuple[Node, ...], n: int, spans: Spans
) -> Node | None:
    """The sums of windows of a transposed view, taken in the order in which it lies in memory."""
    (operand,) = operands
    while view_of(operand) == View(A):
        operand = operand.operands[0]
    perm, axis, k = turned(operand), node["axis"], len(node["terms"])
    if perm is None or "places" in node.attrs:
        return None
    places = tuple(perm[p] for p in places_of(node.attrs))
    long = max(range(k), key=lambda t: Size.of(node["terms"][t][1]).constant)
    order = [i for i in range(len(perm)) if i not in places or i == places[long]]
    m = Make(graph, spans)
    (turned_back,) = operand.operands
    bare = m.running(turned_back, turned_back.type.like(running=()))
    attrs = {**node.attrs, "axis": order.index(places[long]), "places": places}
    made = m("unwindow", bare, **attrs)
    wanted = [perm[p] for p in range(len(perm)) if not axis <= p < axis + k]
    wanted.insert(axis, places[long])
    if wanted != order:
        made = m("transpose", made, perm=tuple(order.index(i) for i in wanted))
    return m.running(made, node.type)
