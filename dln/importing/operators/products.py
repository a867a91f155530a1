"""Products of matrices: dense layers where one side is weights, sums over an index elsewhere."""

from __future__ import annotations

import numpy as np

from dln.importing.model import Array, Unsaid
from dln.importing.operators.layers import layer
from dln.importing.operators.pointwise import plus, shaped, times
from dln.importing.operators.records import MOST, OnnxCall, Operator, Result, made
from dln.importing.operators.reductions import reduced
from dln.importing.syntax_of import number
from dln.importing.values import BATCH, Constant, Value


def dense(c: OnnxCall, x: Value, w: Constant, bias: Constant | None = None) -> Value:
    """`W @ x + b` along the last axis of x; `w` is [n, m] as ONNX has it."""
    n, m = w.settled().array.shape
    if not x.axes[-1] or BATCH in x.axes[-1]:
        raise Unsaid("it sums over the examples" if x.axes[-1] else "it sums over an axis of one")
    x = c.body.canonical(x)
    if x.shape[-1] != n:
        raise Unsaid(f"its matrix has {n} rows, its input {x.shape[-1]} numbers")
    weights = {"W": Constant(np.ascontiguousarray(w.array.T), w.learnt, w.name)}
    if bias is not None:
        weights["b"] = Constant(
            np.broadcast_to(bias.array.reshape(-1), (m,)), bias.learnt, bias.name
        )
    found = layer(c, x, "dense", (number(m),), weights, 1, (m,), "b", m, True)
    return Value(found, x.axes)


def matmul(c: OnnxCall) -> Result:
    a, b = c.args[0], c.args[1]
    if isinstance(a, Value) and isinstance(b, Constant) and b.array.ndim == 2 and a.rank > 1:
        if b.array.dtype.kind == "f" and b.array.shape[1] > 0:
            return dense(c, a, b)
    if a is None or b is None:
        raise Unsaid("one of its inputs is left out")
    return product(c, a, b)


def product(c: OnnxCall, a: Value | Constant, b: Value | Constant) -> Value:
    """The sum over the last axis of a and the one before the last of b, all others side by side."""
    one, two = lanes(a), lanes(b)
    rows, columns = one > 1, two > 1
    left = laid(a, [*range(one - 2), one - 2 if rows else None, None, one - 1])
    right = laid(
        b, [*range(two - 2), None, two - 1 if columns else None, two - 2 if columns else 0]
    )
    both = made(c, [left, right], times)
    found = reduced(c, both, [both.rank - 1], "sum", False)
    gone = {found.rank - 2} if not rows else set()
    gone |= {found.rank - 1} if not columns else set()
    return found.viewed([axis for k, axis in enumerate(found.axes) if k not in gone])


def lanes(a: Value | Constant) -> int:
    rank = a.array.ndim if isinstance(a, Constant) else a.rank
    if not rank:
        raise Unsaid("it multiplies a single number")
    return rank


def laid(a: Value | Constant, order: list[int | None]) -> Value | Constant:
    """Axes in an order; None is an axis of one."""
    if lanes(a) != len([k for k in order if k is not None]):
        raise Unsaid("its inputs have other axes than it asks for")
    if isinstance(a, Value):
        return a.viewed([() if k is None else a.axes[k] for k in order])
    array = a.settled().array.transpose([k for k in order if k is not None])
    array = np.expand_dims(array, [p for p, k in enumerate(order) if k is None])
    return Constant(array, a.learnt, a.name)


def gemm(c: OnnxCall) -> Result:
    """`alpha A B + beta C`; factors of weights are multiplied into them."""
    a, b, bias = c.arg(0), c.arg(1), c.arg(2)
    alpha, beta = c["alpha"], c["beta"]
    if isinstance(a, Value) and isinstance(b, Constant) and not c["transA"] and b.array.ndim == 2:
        w = b.array.T if c["transB"] else b.array
        w = w if alpha == 1 else (w * w.dtype.type(alpha)).astype(w.dtype)
        held = None
        if (
            isinstance(bias, Constant)
            and bias.array.size in (1, w.shape[1])
            and bias.array.ndim < 3
        ):
            scaled = bias.array * bias.array.dtype.type(beta)
            held = Constant(scaled if beta != 1 else bias.array, bias.learnt, bias.name)
            bias = None
        found: Value = dense(c, a, Constant(w, b.learnt, b.name), held)
        alpha = 1
    else:
        if a is None or b is None:
            raise Unsaid("one of its inputs is left out")
        a, b = turned(a, c["transA"]), turned(b, c["transB"])
        found = product(c, a, b)
    if alpha != 1:
        found = made(c, [found], lambda e: times(shaped(alpha), e))
    if bias is None or beta == 0:
        return found
    scaled_ = bias if beta == 1 else made(c, [bias], lambda e: times(shaped(beta), e))
    return made(c, [found, scaled_], plus)


def turned(a: Value | Constant, asked: int) -> Value | Constant:
    return laid(a, [1, 0]) if asked else a


def einsum(c: OnnxCall) -> Result:
    """A product of one or two tensors, summed over the letters that the result has not."""
    left, arrow, right = c["equation"].replace(" ", "").partition("->")
    terms = left.split(",")
    plain = all(t.isalpha() and len({*t}) == len(t) for t in terms) and len({*right}) == len(right)
    if not arrow or not plain or len(terms) != len(c.args) or not {*right} <= {*"".join(terms)}:
        raise Unsaid(f"its equation is {c['equation'][:40]}")
    letters = [*right, *sorted({*"".join(terms)} - {*right})]
    args: list[Value | Constant] = []
    for term, a in zip(terms, c.args, strict=True):
        if a is None or lanes(a) != len(term):
            raise Unsaid("its equation does not go with its inputs")
        args.append(laid(a, [term.index(x) if x in term else None for x in letters]))
    both = made(c, args, times) if len(args) == 2 else made(c, args, lambda e: e)
    gone = range(len(right), len(letters))
    return reduced(c, both, gone, "sum", False) if gone else both


def multiplied(c: OnnxCall, a: list[Array]) -> Array:
    if a[0].size // max(a[0].shape[-1], 1) * a[1].shape[-1] > MOST:
        raise Unsaid("it multiplies constants that are too large")
    return np.asarray(np.matmul(a[0], a[1]))


TABLE = [
    Operator("MatMul", matmul, (2, 2), fold=multiplied),
    Operator("Einsum", einsum, (1, 2), {"equation": str}),
    Operator("Gemm", gemm, (2, 3), {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}),
]
