"""A scaled product added to what is there: `accumulate(a, b, c, s; left, right, out)`.

It is c + s * contract(a, b), for a number s, as one call of BLAS: c is in the memory of the result
and takes the product in, so no array holds the product alone. Made by the pass of the same name,
when no gradient is left; only of what is one matrix product.
"""

from __future__ import annotations

from dln.compiler.ir import op
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Make, Op, Site, Types, register
from dln.compiler.ir.ops import contract
from dln.compiler.ir.ops.common import real, spread
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import C, Call, Memory, Operand, Statements, View, call, kernel
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


# fmt: off
register(
    Op("accumulate", infer, evaluate, gradient, spell, takes=("real",) * 4, flops=flops,
       facts=("product", "onto"), tight=op.Tight.SUM, examples=cases,
       spell_for={"numpy": spell_blas}),
)
# fmt: on
