"""How operations of the graph are written in ONNX: a row for each, and why some have none.

A row is asked with the graph being written and a node whose operands are written already, and gives
what the node is there. Rows that look at what stands around a node are in the files of their
kind: `products`, `windows`, `loops`.
"""

from __future__ import annotations

import numpy as np

from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import number
from dln.exporting import loops, moves, products, windows
from dln.exporting.writing import OnnxValue, OnnxWriter, Row, value_of
from dln.grammar.diagnostics import DlnError, Problem

PLACES = 48  # of a quadrature, by which an integral is right in all digits

# ---- element by element ------------------------------------------------------------------------


def pointwise(op: str) -> Row:
    """An operator that repeats its operands itself, as far as its result is thin."""

    def row(w: OnnxWriter, node: Node) -> OnnxValue:
        values = [w.values[o] for o in node.operands]
        return w.meeting(w.call(op, *(v.name for v in values)), values)

    return row


def steps(*calls: tuple[str, tuple[object, ...]]) -> Row:
    """Several operators: of each its operands, which are operands of the node by number (`0`),
    numbers (`0.5`), or what an earlier one gave (`"a"`, the first, `"b"`, ...)."""

    def row(w: OnnxWriter, node: Node) -> OnnxValue:
        values, made = [w.values[o] for o in node.operands], dict[str, str]()
        found = ""
        for letter, (op, operands) in zip("abcdefgh", calls, strict=False):
            names = [made[x] if isinstance(x, str) else values[x].name if isinstance(x, int)
                     else w.number(x) for x in operands]  # fmt: skip
            found = made[letter] = w.call(op, *names)
        return w.meeting(found, values)

    return row


def row_maximum(w: OnnxWriter, node: Node) -> OnnxValue:
    """What is not negative: Relu."""
    for slot in (0, 1):
        if number(node.operands[slot]) == 0 and node.operands[1 - slot].type.shape:
            value = w.values[node.operands[1 - slot]]
            return w.meeting(w.call("Relu", value.name), [value])
    return pointwise("Max")(w, node)


def row_where(w: OnnxWriter, node: Node) -> OnnxValue:
    """A choice; where the test is known and the same everywhere there is none."""
    test, a, b = node.operands
    known = w.made.arrays.get(w.values[test].name)
    if known is not None and (known.all() or not known.any()):
        chosen = a if known.all() else b
        if chosen.type.shape == node.type.shape:
            return w.values[chosen]
    return pointwise("Where")(w, node)


def row_erf(w: OnnxWriter, node: Node) -> OnnxValue:
    """In double precision, in which onnxruntime has none: `2 / sqrt(pi) x` times the mean of
    `exp(-(s x)^2)` over s from 0 to 1, by Gauss's quadrature; beyond 6 it is 1 in all digits."""
    if w.made.dtype == "float32":
        return pointwise("Erf")(w, node)
    (value,) = (w.values[o] for o in node.operands)
    places, weights = np.polynomial.legendre.leggauss(PLACES)
    x = w.call("Clip", value.name, w.number(-6), w.number(6))
    each = w.call("Unsqueeze", w.call("Mul", x, x), w.ints(-1))
    powers = w.call("Exp", w.call("Mul", each, w.number(-(((places + 1) / 2) ** 2))))
    mean = w.call("MatMul", powers, w.number(weights / np.sqrt(np.pi)))
    return w.meeting(w.call("Mul", x, mean), [value])


def row_cast(w: OnnxWriter, node: Node) -> OnnxValue:
    (value,) = (w.values[o] for o in node.operands)
    return w.meeting(w.cast(value.name, w.dtype(node.type.kind)), [value])


# ---- over axes ---------------------------------------------------------------------------------


def over(op: str) -> Row:
    """A reduction; the axes go."""

    def row(w: OnnxWriter, node: Node) -> OnnxValue:
        (a,) = node.operands
        return w.whole(w.call(op, w.full(a), w.ints(*node["axes"]), keepdims=0), node)

    return row


def position(op: str) -> Row:
    def row(w: OnnxWriter, node: Node) -> OnnxValue:
        (a,) = node.operands
        return w.whole(w.call(op, w.full(a), axis=node["axis"], keepdims=0), node)

    return row


def normalised(op: str, last: tuple[str, ...]) -> Row:
    """An exponential over its sum: along one axis an operator, along several `last` of what is
    left when the logarithm of the sum is taken away."""

    def row(w: OnnxWriter, node: Node) -> OnnxValue:
        (a,), axes = node.operands, node["axes"]
        if len(axes) == 1:
            return w.whole(w.call(op, w.full(a), axis=axes[0]), node)
        total = w.call("ReduceLogSumExp", w.full(a), w.ints(*axes), keepdims=1)
        found = w.call("Sub", w.full(a), total)
        for after in last:
            found = w.call(after, found)
        return w.whole(found, node)

    return row


def row_cumsum(w: OnnxWriter, node: Node) -> OnnxValue:
    (a,) = node.operands
    return w.whole(w.call("CumSum", w.full(a), w.number(node["axis"], "index")), node)


# ---- by position -------------------------------------------------------------------------------


def row_onehot(w: OnnxWriter, node: Node) -> OnnxValue:
    """What points at no place, as an index that is missing does, gives zeros: OneHot would count
    it from the end. In double precision onnxruntime has none."""
    (at,), size = node.operands, Size.of(node["size"]).value or 0
    if products.certain(at) and w.made.dtype == "float32":
        ends = (w.number(size, "index"), w.number([0, 1]))
        return w.whole(w.call("OneHot", w.full(at), *ends, axis=-1), node)
    places = w.number(np.arange(size), "index")
    each = w.call("Unsqueeze", w.full(at), w.ints(len(at.type.shape)))
    return w.whole(w.cast(w.call("Equal", each, places), w.made.dtype), node)


def row_pick(w: OnnxWriter, node: Node) -> OnnxValue:
    x, at = node.operands
    axis = len(at.type.shape)
    each = w.call("Unsqueeze", w.full(at), w.ints(axis))
    found = w.call("GatherElements", w.full(x), each, axis=axis)
    return w.whole(w.call("Squeeze", found, w.ints(axis)), node)


def row_gather(w: OnnxWriter, node: Node) -> OnnxValue:
    table, at = node.operands
    return w.whole(w.call("Gather", w.full(table), w.full(at), axis=0), node)


def row_scatter_add(w: OnnxWriter, node: Node) -> OnnxValue:
    rows, at = node.operands
    each = w.call("Unsqueeze", w.full(at), w.ints(len(at.type.shape)))
    zeros = w.zeros(node.type.shape)
    return w.whole(w.call("ScatterND", zeros, each, w.full(rows), reduction="add"), node)


def row_turned(w: OnnxWriter, node: Node) -> OnnxValue:
    x, count = node.operands
    found = w.call("ReverseSequence", w.full(x), w.full(count), time_axis=0, batch_axis=1)
    return w.whole(found, node)


def row_lowest(w: OnnxWriter, node: Node) -> OnnxValue:
    (a,) = node.operands
    _, at = w.several("TopK", [w.full(a), w.ints(node["k"])], 2, largest=0, sorted=1, axis=-1)
    return w.whole(at, node)


# ---- sources -----------------------------------------------------------------------------------


def row_const(w: OnnxWriter, node: Node) -> OnnxValue:
    found = w.number(value_of(node), node.type.kind)
    return OnnxValue(found, (True,) * len(node.type.shape), w.root)


def row_size(w: OnnxWriter, node: Node) -> OnnxValue:
    """The number of examples, as a number."""
    found = w.call("Squeeze", w.size(node["size"]), w.ints(0))
    return w.whole(w.cast(found, w.made.dtype), node)


def row_same(w: OnnxWriter, node: Node) -> OnnxValue:
    """Something is said of a value, which stays what it is."""
    return w.values[node.operands[0]]


def refused(what: str) -> Row:
    """Of what a model of ONNX cannot hold: raises `DlnError` E610 with the line of the spec."""

    def row(w: OnnxWriter, node: Node) -> OnnxValue:
        spans = w.graph.spans.get(node, ())
        text = f"a model of ONNX cannot hold {what}"
        fact = "what is given as a port of the block is an input of the model"
        raise DlnError([Problem("E610", text, spans[0] if spans else None, facts=(fact,))])

    return row


ROWS: dict[str, Row] = {
    "neg": pointwise("Neg"),
    "exp": pointwise("Exp"),
    "log": pointwise("Log"),
    # log(1 + x), exact also where 1 + x is rounded to 1 or to what is near it
    "log1p": steps(("Add", (0, 1.0)), ("Sub", ("a", 1.0)), ("Log", ("a",)), ("Mul", (0, "c")),
                   ("Equal", ("b", 0.0)), ("Where", ("e", 1.0, "b")), ("Div", ("d", "f")),
                   ("Where", ("e", 0, "g"))),
    # exp(x) - 1 = tanh(x / 2) (exp(x) + 1)
    "expm1": steps(("Mul", (0, 0.5)), ("Tanh", ("a",)), ("Exp", (0,)), ("Add", ("c", 1.0)),
                   ("Mul", ("b", "d"))),
    "sqrt": pointwise("Sqrt"),
    "distance": pointwise("Sqrt"),
    "tanh": pointwise("Tanh"),
    "sin": pointwise("Sin"),
    "cos": pointwise("Cos"),
    "erf": row_erf,
    "square": steps(("Mul", (0, 0))),
    "reciprocal": pointwise("Reciprocal"),
    "abs": pointwise("Abs"),
    "sign": pointwise("Sign"),
    "floor": pointwise("Floor"),
    "sigmoid": pointwise("Sigmoid"),
    "softplus": pointwise("Softplus"),
    "add": products.row_add,
    "sub": pointwise("Sub"),
    "mul": windows.row_mul,
    "div": pointwise("Div"),
    "pow": pointwise("Pow"),
    "maximum": row_maximum,
    "minimum": pointwise("Min"),
    "eq": pointwise("Equal"),
    "ne": steps(("Equal", (0, 1)), ("Not", ("a",))),
    "lt": pointwise("Less"),
    "le": pointwise("LessOrEqual"),
    "gt": pointwise("Greater"),
    "ge": pointwise("GreaterOrEqual"),
    "and": pointwise("And"),
    "or": pointwise("Or"),
    "not": pointwise("Not"),
    "where": row_where,
    "cast": row_cast,
    "stop": row_same,
    "asserted": row_same,
    "running": row_same,
    "copy": row_same,
    "sum": windows.row_sum,
    "max": windows.row_max,
    "min": over("ReduceMin"),
    "argmax": position("ArgMax"),
    "argmin": position("ArgMin"),
    "log_sum_exp": over("ReduceLogSumExp"),
    "softmax": normalised("Softmax", ("Exp",)),
    "log_softmax": normalised("LogSoftmax", ()),
    "cumsum": row_cumsum,
    "contract": products.row_contract,
    "broadcast": moves.row_broadcast,
    "reshape": moves.row_reshape,
    "transpose": moves.row_transpose,
    "slice": moves.row_slice,
    "pad": moves.row_pad,
    "concat": moves.row_concat,
    "flip": moves.row_flip,
    "window": windows.row_window,
    "unwindow": windows.row_unwindow,
    "onehot": row_onehot,
    "pick": row_pick,
    "gather": row_gather,
    "scatter_add": row_scatter_add,
    "turned": row_turned,
    "lowest": row_lowest,
    "const": row_const,
    "size": row_size,
    "states": row_const,
    "classes": row_const,
    "scan": loops.row_scan,
    "item": loops.row_item,
    "draw": refused("numbers that are drawn"),
    "warp": refused("images that are distorted"),
    "whole": refused("all examples of a data set"),
    "state": refused("the state of a phase"),
    "clock": refused("how far a phase has come"),
}  # fmt: skip

GONE = ("input", "param", "slot", "at", "left", "grad", "curvature",
        "accumulate", "accumulate_rows", "accumulate_sum", "add_scaled")  # fmt: skip
"""What is written before rows are asked (ports, parameters, what a step of a loop is given), or is
never met: made by the front end and written out by the compiler, or made for targets only."""
