"""Which products are computed turned.

A layer maps a few rows by a large matrix, both with the axis that is summed last:

    x[n, i] W[o, i]  ->  [n, o]

BLAS copies the large one turned into its blocks, which takes longer than the product itself where n
is small. The product with the sides changed reads both as they lie:

    transpose(W[o, i] x[n, i]  ->  [o, n])

A copy turns it back, unless its only reader is a product, which reads either way. Which products
these are is a matter of their sizes.
"""

from __future__ import annotations

from math import prod

from dln.compiler.ir.graph import Graph, Node, ancestors, rewrite
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops.contract import Groups, Labels
from dln.compiler.ir.structure import is_contraction, is_product_added
from dln.compiler.lower.im2col import number, overlaps

FEW, WIDE, LARGE, WORK = 128, 64, 800, 1 << 18
"""At most so many rows; a matrix of at least so many rows and columns, of so many numbers for each
row that it maps; and products of so many terms: fewer go to kernels that copy nothing."""


def products_turned(graph: Graph, capacity: int) -> tuple[Graph, tuple[str, ...]]:
    """The graph with such products computed turned, for `capacity` examples; and what is said of
    each."""
    said = list[str]()

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        sizes = few_by_large(node, capacity) if is_contraction(node) else None
        if sizes is None:
            return None
        make, groups = Make(new, graph.spans.get(node, ())), groups_of(node)
        out = groups.cols + groups.rows if rows_first(node) else groups.rows + groups.cols
        sides = {"left": node["left"], "right": node["right"]}
        made = make("contract", *operands, **sides, out=out)
        turned = make("transpose", made, perm=tuple(map(out.index, node["out"])))
        back = make.running(turned, node.type)
        rows, columns, summed = sizes
        said.append(f"{rows} rows by a matrix of {columns} x {summed}, turned")
        return back if read_by_a_product(graph, node) else make("copy", back)

    there = any(is_contraction(n) and few_by_large(n, capacity) for n in nodes_of(graph))
    return (rewrite(graph, rule)[0] if there else graph), tuple(said)


def nodes_of(graph: Graph) -> list[Node]:
    """What the outputs of a graph need."""
    return ancestors(graph.outputs.values())


def groups_of(node: Node) -> Groups:
    return Groups.of(node["left"], node["right"], node["out"])


def rows_first(node: Node) -> bool:
    """Whether the result has the labels of the left operand in front."""
    groups = groups_of(node)
    return bool(node["out"] == groups.rows + groups.cols)


def few_by_large(node: Node, capacity: int) -> tuple[int, int, int] | None:
    """How many rows a product maps by a matrix of how many rows and columns, both with what is
    summed last, where it is better computed turned."""
    if not is_contraction(node) and not is_product_added(node):
        return None
    groups, (left, right) = groups_of(node), (node["left"], node["right"])
    if groups.batch or not (groups.rows and groups.cols and groups.inner):
        return None
    if any(map(overlaps, node.operands[:2])):  # their products are rearranged otherwise
        return None
    if left != groups.rows + groups.inner or right != groups.cols + groups.inner:
        return None
    if node["out"] not in (groups.rows + groups.cols, groups.cols + groups.rows):
        return None
    sizes = dict(zip(left, node.operands[0].type.shape, strict=True))
    sizes |= dict(zip(right, node.operands[1].type.shape, strict=True))

    def count(labels: Labels) -> int:
        return prod(number(sizes[label], capacity) for label in labels)

    n, o, k = count(groups.rows), count(groups.cols), count(groups.inner)
    if not rows_first(node):
        n, o = o, n
    few = 1 < n <= FEW and min(o, k) >= WIDE and o * k >= LARGE * n and n * o * k >= WORK
    return (n, o, k) if few else None


def read_by_a_product(graph: Graph, node: Node) -> bool:
    """Whether the one reader of a value is a product, which reads it turned as well."""
    users = [user for user, _ in graph.users(node)]
    return len(users) == 1 and is_contraction(users[0]) and node not in graph.outputs.values()
