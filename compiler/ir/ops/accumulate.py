"""What is added to an array where it lies, as one call of BLAS: no array holds it alone.

    accumulate(a, b, c, s; left, right, out)    c + s * contract(a, b), one matrix product
    accumulate_sum(a, c, s; axes)               c + s * sum(a), over its first axes
    accumulate_rows(a, i, c, s; size)           c + s * scatter_add(a, i), rows at their places
    add_scaled(a, c, s, k)                      k * c + s * a, entry by entry

c is in the memory of the result, s and k are numbers. Made by the pass `accumulate`, when no
gradient is left.
"""

from __future__ import annotations

from dln.compiler.ir import op
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Make, Op, Site, Types, register
from dln.compiler.ir.ops import common, contract, index
from dln.compiler.ir.ops.common import (
    check_axes,
    contiguous,
    real,
    spread,
    spread_back,
    without,
)
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import (
    OUT,
    A,
    Attr,
    B,
    C,
    Call,
    Join,
    Memory,
    Operand,
    Statements,
    View,
    call,
    kernel,
    look,
)
from dln.compiler.ir.structure import number
from dln.compiler.ir.tensor_type import REAL, TensorType
from dln.grammar.diagnostics import Fault

S = Operand(3)
PRODUCT = Memory("product")


def infer(attrs: Attrs, types: Types) -> TensorType:
    """The type of the sum. Raises `Fault` where s is no single number."""
    a, b, c, s = types
    if s.shape:
        raise Fault(f"a product is scaled by a number, found {s}")
    return spread("accumulate", (c, contract.infer(attrs, (a, b)))).like(domain=REAL)


def evaluate(site: Site, a: Array, b: Array, c: Array, s: Array) -> Array:
    return c + s * contract.evaluate(site, a, b)


def gradient(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """Those of a contraction, scaled; the cotangent itself for c, its product with ab for s."""
    (a, b, _, s), out = node.operands, node["out"]
    product = m("contract", a, b, **node.attrs)
    by_a, by_b = contract.gradient(m, m.graph.include(product), m.mul(s, bar))
    return by_a, by_b, bar, m("contract", bar, product, left=out, right=out, out=())


def flops(node: Node) -> Size:
    """Those of the product; a scale and a sum of BLAS come with it."""
    return contract.flops(node)


def product(node: Node) -> Call | None:
    """The call that computes the matrix product of a node's first two operands, with no more axes
    than two; None where they are no such product."""
    found = contract.matrix_product(node, ())
    g = contract.Groups.of(node["left"], node["right"], node["out"])
    return found.calls[0] if found and g.rows and g.cols and g.inner and not g.batch else None


def spell(node: Node) -> Statements:
    """The product in an array of its own, scaled, and added."""
    made = contract.spell(node)
    (whole,) = made.calls
    into = whole.out.changed(of=PRODUCT) if isinstance(whole.out, View) else PRODUCT
    calls = [whole.changed(out=into)]
    if number(node.operands[3]) != 1:
        calls.append(call("multiply", PRODUCT, S, out=PRODUCT))
    calls.append(call("add", C, PRODUCT))
    return Statements(tuple(calls), {"product": lambda node: node.type}, made.wants)


def spell_blas(node: Node) -> Statements:
    """What is there, and the product added to it; as above where an operand lies in the way."""
    made = product(node)
    if made is None:
        return spell(node)
    gemm = kernel("gemm", *made.args, S).changed(out=made.out, ready=True)
    return Statements((call("copy", C), gemm), wants="turned")


def cases() -> list[op.Case]:
    """Rows and columns of one axis and of two, the result turned, and several axes summed."""
    rows: list[op.Case] = []
    for text in ("ab,bc->ac", "ba,bc->ac", "ab,bc->ca", "abc,bcd->ad", "ab,bcd->acd"):
        sides = contract.written(text)
        a, b, c = (real(*map(contract.SIZES.__getitem__, labels)) for labels in sides.values())
        rows.append(((a, b, c, real()), contract.numbered(sides)))
    return rows


# ---- sums of rows ------------------------------------------------------------------------------

SUMS = Memory("sums")


def sum_type(attrs: Attrs, types: Types) -> TensorType:
    """The type of the sum. Raises `Fault` where s is no single number, or the axes do not fit."""
    a, c, s = types
    check_axes("accumulate_sum", attrs["axes"], len(a.shape))
    if s.shape:
        raise Fault(f"a sum is scaled by a number, found {s}")
    return spread("accumulate_sum", (c, without(a, attrs["axes"]))).like(domain=REAL)


def sum_gradient(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """The cotangent, scaled and spread over a; itself for c; its product with the sum for s."""
    a, _, s = node.operands
    by_s = m.mul(bar, m.sum(a, node["axes"]))
    return spread_back(m, node, m.mul(s, bar)), bar, m.sum(by_s, range(len(bar.type.shape)))


def sums_rows(node: Node) -> bool:
    """Whether the first operand of a sum lies as a matrix whose rows are added up."""
    (a, *_), over = node.operands, node["axes"]
    rest = len(a.type.shape) - len(over)
    return rest > 0 and over == tuple(range(len(over))) and contiguous(a)


def spell_sum(node: Node) -> Statements:
    """The sum in an array of its own, scaled, and added."""
    calls = [call("sum", A, axis=Attr("axes"), out=SUMS)]
    if number(node.operands[2]) != 1:
        calls.append(call("multiply", SUMS, C, out=SUMS))
    calls.append(call("add", B, SUMS))
    return Statements(tuple(calls), {"sums": lambda node: node.type})


def spell_rows(node: Node) -> Statements:
    """What is there, and the rows added to it; as above where they do not lie in C order."""
    if not sums_rows(node):
        return spell_sum(node)
    first = tuple(node["axes"])
    rest = tuple(range(len(first), len(node.operands[0].type.shape)))
    row = tuple(range(len(rest)))
    a = look(A, *([Join((first, rest))] if len(first) > 1 or len(rest) > 1 else []))
    out = look(OUT, *([Join((row,))] if len(rest) > 1 else []))
    rows = kernel("add_rows", a, C).changed(out=out, ready=True)
    return Statements((call("copy", B), rows), wants="rows")


def sum_cases() -> list[op.Case]:
    return [
        ((real(2, 3), real(3), real()), {"axes": (0,)}),
        ((real(2, 3, 4), real(4), real()), {"axes": (0, 1)}),
        ((real(2, 3, 4), real(3, 4), real()), {"axes": (0,)}),
        ((real(2, 3), real(2), real()), {"axes": (1,)}),
    ]


# ---- rows at their places ----------------------------------------------------------------------


def rows_type(attrs: Attrs, types: Types) -> TensorType:
    """The type of the table. Raises `Fault` where s is no single number."""
    a, at, c, s = types
    if s.shape:
        raise Fault(f"rows are scaled by a number, found {s}")
    return spread("accumulate_rows", (c, index.scatter_type(attrs, (a, at)))).like(domain=REAL)


def rows_gradient(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """The rows of the cotangent, scaled; itself for c; its product with what is added for s."""
    a, at, _, s = node.operands
    rows = m("gather", bar, at)
    by_s = m.sum(m.mul(rows, a), range(len(a.type.shape)))
    return m.mul(s, rows), None, bar, by_s


def spell_places(node: Node) -> Statements:
    """What is there, the rows times s, and these added one by one."""
    one = number(node.operands[3]) == 1
    calls = [call("copy", C), *([] if one else [call("multiply", A, S, out=TERM)])]
    calls.append(call("add_at", B, A if one else TERM))
    return Statements(tuple(calls), {} if one else {"term": lambda node: node.operands[0].type})


def spell_places_flat(node: Node) -> Statements:
    """For NumPy: number by number, as `scatter_add` does it."""
    (rows, at), width = node.operands[:2], index.row_width(node.type)
    made = spell_places(node)
    if width is None or not contiguous(rows):
        return made
    added = index.added_flat(TERM if "term" in made.scratch else A, B, width)
    scratch = {**made.scratch, "places": lambda node: index.places_in(rows, at)}
    return Statements((*made.calls[:-1], *added), scratch)


def added_by(node: Node) -> str | None:
    """The operation that adds what a node is to an array; None where none does."""
    if node.op == "contract":
        return "accumulate" if product(node) is not None else None
    if node.op == "scatter_add":
        return "accumulate_rows"
    return "accumulate_sum" if node.op == "sum" and sums_rows(node) else None


def added_alone(node: Node) -> Node:
    """What an accumulation adds, by itself, not scaled: the other way round."""
    op = {"accumulate": "contract", "accumulate_rows": "scatter_add", "accumulate_sum": "sum"}
    return Node(op[node.op], node.operands[:-2], node.attrs, node.type)


# ---- entry by entry ----------------------------------------------------------------------------

TERM = Memory("term")


def scaled_type(attrs: Attrs, types: Types) -> TensorType:
    """The type of the sum. Raises `Fault` where s or k is no single number, or shapes differ."""
    a, c, s, k = types
    if s.shape or k.shape:
        raise Fault(f"a sum of multiples takes numbers, found {s} and {k}")
    return spread("add_scaled", (c, a)).like(domain=REAL)


def scaled_gradient(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """The cotangent times s for a, times k for c; its products with a and with c for these."""
    a, c, s, k = node.operands
    over = range(len(bar.type.shape))
    return m.mul(s, bar), m.mul(k, bar), m.sum(m.mul(bar, a), over), m.sum(m.mul(bar, c), over)


def spell_scaled(node: Node) -> Statements:
    """What is there times k, the other in an array of its own times s, and added."""
    calls = [call("copy", B) if number(node.operands[3]) == 1 else call("multiply", B, S)]
    if number(node.operands[2]) == 1:
        return Statements((*calls, call("add", OUT, A)))
    calls += [call("multiply", A, C, out=TERM), call("add", OUT, TERM)]
    return Statements(tuple(calls), {"term": lambda node: node.type})


def spell_axpby(node: Node) -> Statements:
    """What is there, and both in one call; as above where the other does not lie in C order."""
    if not contiguous(node.operands[0]):
        return spell_scaled(node)
    both = kernel("add_scaled", A, S, C).changed(out=OUT, ready=True)
    return Statements((call("copy", B), both), wants="rows")


# fmt: off
register(
    Op("accumulate", infer, evaluate, gradient, spell, takes=("real",) * 4, flops=flops,
       facts=("product", "onto"), tight=op.Tight.SUM, examples=cases,
       spell_for={"numpy": spell_blas}),
    Op("accumulate_sum", sum_type,
       lambda site, a, c, s: c + s * a.sum(axis=site.attrs["axes"]), sum_gradient, spell_sum,
       takes=("real",) * 3, flops=op.per_element(1), facts=("product", "onto"),
       formula="{1} + {2} * sum({0})", tight=op.Tight.SUM, examples=sum_cases,
       spell_for={"numpy": spell_rows}),
    Op("accumulate_rows", rows_type,
       lambda site, a, i, c, s: c + s * index.scatter_add(site, a, i), rows_gradient,
       spell_places, takes=("real", "index", "real", "real"), flops=lambda node: 0,
       facts=("product", "onto"), formula="{2} + {3} * scatter({0}, {1})", tight=op.Tight.SUM,
       examples=lambda: [((real(2, 4, 3), index.PLACES, real(5, 3), real()), {"size": Size(5)}),
                         ((real(4), common.index(4, size=3), real(3), real()), {"size": 3})],
       spell_for={"numpy": spell_places_flat}),
    Op("add_scaled", scaled_type, lambda site, a, c, s, k: k * c + s * a, scaled_gradient,
       spell_scaled, takes=("real",) * 4, flops=op.per_element(3), facts=("onto",),
       formula="{3} * {1} + {2} * {0}", tight=op.Tight.SUM,
       examples=lambda: [((real(2, 3), real(2, 3), real(), real()), {})],
       spell_for={"numpy": spell_axpby}),
)
# fmt: on
