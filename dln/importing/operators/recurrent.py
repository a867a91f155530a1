"""Recurrent layers: those of the library where they compute the same, else a block of the spec's
own with the same names.

ONNX keeps the gates of an LSTM in the order i o f c, those of a GRU as z r h, its two biases side
by side, sequences as [steps, examples, ...], and a second direction as a second layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dln.grammar import syntax as s
from dln.importing.body import Layer
from dln.importing.model import Array, Unsaid
from dln.importing.naming import candidates
from dln.importing.operators.records import OnnxCall, Operator, Result, scaled_leaf
from dln.importing.syntax_of import call, index, number, part
from dln.importing.values import BATCH, TIME, Constant, Leaf, Value, leaf

# As PyTorch and Keras have a GRU: r is applied to what the product has given.
LATE_GRU = """\
# A gated recurrent unit that applies r behind the product, as PyTorch and Keras have it.
block late_gru(x[time, n]; m, init = glorot) -> h[time, m] {
  param W[3, m, n] ~ init(n, m), U[3, m, m] ~ init(m, m), b[3, m] = 0, bh[m] = 0
  scan t in time {
    a    = W @ x[t] + b
    c    = U @ h[t-1]
    z    = sigmoid(a[0] + c[0])
    r    = sigmoid(a[1] + c[1])
    h[t] = z * h[t-1] + (1 - z) * tanh(a[2] + r * (c[2] + bh))
  }
}"""
RELU_RNN = """block relu_rnn(x[time, n]; m, init = glorot) -> h[time, m] {
  param Wx[m, n] ~ init(n, m), Wh[m, m] ~ init(m, m), b[m] = 0
  scan t in time {
    h[t] = relu(Wx @ x[t] + Wh @ h[t-1] + b)
  }
}"""
PEEPHOLES = """# Gates that look at the cell (Gers, Schraudolph, Schmidhuber 2002).
block peephole_lstm(x[time, n]; m, init = glorot) -> h[time, m] {
  param W[4, m, n] ~ init(n, m), U[4, m, m] ~ init(m, m), b[4, m] = 0, p[3, m] = 0
  scan t in time {
    a    = W @ x[t] + U @ h[t-1] + b
    i    = sigmoid(a[0] + p[0] * c[t-1])
    f    = sigmoid(a[1] + p[1] * c[t-1])
    c[t] = f * c[t-1] + i * tanh(a[3])
    o    = sigmoid(a[2] + p[2] * c[t])
    h[t] = o * tanh(c[t])
  }
}"""


@dataclass
class Cell:
    """A recurrent layer of a spec: its block, the text of it where the library has none, and its
    weights made of those of one direction of ONNX, W [gates m, n], R [gates m, m], both biases."""

    block: str
    text: str
    weights: Callable[[Array, Array, Array, Array], dict[str, Array]]


def lstm_cell(c: OnnxCall) -> Cell:
    order = [0, 2, 1, 3]  # i o f c, here i f o c
    if c["input_forget"]:
        raise Unsaid("its attribute input_forget joins two gates")

    def weights(w: Array, r: Array, b: Array, rb: Array) -> dict[str, Array]:
        m = r.shape[1]
        parts = (a.reshape(4, m, *a.shape[1:])[order] for a in (w, r, b + rb))
        return dict(zip("WUb", parts, strict=True))

    return Cell("lstm", "", weights)


def gru_cell(c: OnnxCall) -> Cell:
    late = bool(c["linear_before_reset"])

    def weights(w: Array, r: Array, b: Array, rb: Array) -> dict[str, Array]:
        m = r.shape[1]
        w, r, b, rb = (a.reshape(3, m, *a.shape[1:]) for a in (w, r, b, rb))
        if late:
            total = b + np.concatenate([rb[:2], 0 * rb[2:]])
            return {"W": w, "U": r, "b": total, "bh": rb[2]}
        return {"W": w[:2], "U": r[:2], "b": (b + rb)[:2], "Wh": w[2], "Uh": r[2],
                "bh": b[2] + rb[2]}  # fmt: skip

    return Cell("late_gru", LATE_GRU, weights) if late else Cell("gru", "", weights)


def rnn_cell(c: OnnxCall) -> Cell:
    def weights(w: Array, r: Array, b: Array, rb: Array) -> dict[str, Array]:
        return {"Wx": w, "Wh": r, "b": b + rb}

    if acts(c) == ["relu"]:
        return Cell("relu_rnn", RELU_RNN, weights)
    return Cell("rnn", "", weights)


CELLS: dict[str, tuple[int, list[str], Callable[[OnnxCall], Cell]]] = {
    "LSTM": (4, ["sigmoid", "tanh", "tanh"], lstm_cell),
    "GRU": (3, ["sigmoid", "tanh"], gru_cell),
    "RNN": (1, ["tanh"], rnn_cell),
}
"""How many gates each has, its functions, its cell."""


def acts(c: OnnxCall) -> list[str]:
    """The functions of one direction, by name."""
    usual, many = CELLS[c.node.op][1], 2 if c["direction"] == "bidirectional" else 1
    found = [str(a).lower() for a in c["activations"] or usual * many]
    if len(found) != len(usual) * many or found[: len(usual)] * many != found:
        raise Unsaid("its activations differ between the directions")
    return found[: len(usual)]


def recurrent(c: OnnxCall) -> Result:
    """A layer over a sequence, from its beginning, its end, or both."""
    gates, usual, cell_of = CELLS[c.node.op]
    if c["direction"] not in ("forward", "reverse", "bidirectional"):
        raise Unsaid(f"its direction is {c['direction']}")
    known = (usual, ["relu"]) if c.node.op == "RNN" else (usual,)
    if acts(c) not in known:
        raise Unsaid(f"its activations are {', '.join(acts(c))}")
    if c["clip"] is not None or c["activation_alpha"] or c["activation_beta"]:
        raise Unsaid("it cuts off what its gates are given")
    x = sequence(c)
    w, r = c.weights(1, "weights", 3), c.weights(2, "recurrent weights", 3)
    both = c["direction"] == "bidirectional"
    begins(c, (1 + both, r.array.shape[2]))
    m, n = r.array.shape[2], w.array.shape[2]
    shapes = w.array.shape, r.array.shape
    if shapes != ((1 + both, gates * m, n), (1 + both, gates * m, m)) or x.shape[-1] != n or m < 1:
        raise Unsaid("its weights do not go with its input")
    cell = cell_of(c)
    bias = c.weights(3, "biases", 2).array if c.arg(3) is not None else None
    if bias is None:
        bias = np.zeros((1 + both, 2 * gates * m), w.array.dtype)
    if bias.shape != (1 + both, 2 * gates * m):
        raise Unsaid("its biases do not go with its weights")
    halves = [np.split(b, 2) for b in bias]
    weights = [cell.weights(w.array[k], r.array[k], *halves[k]) for k in range(1 + both)]
    peepholes(c, cell, weights, m)
    return results(c, applied(c, x, cell, weights, m, w.name), m)


def sequence(c: OnnxCall) -> Value:
    """What goes in, [steps, n] of each example."""
    x = c.value(0)
    if c["layout"]:
        x = x.viewed([x.axes[1], x.axes[0], x.axes[2]]) if x.rank == 3 else x
    one = len([a for a in x.axes if BATCH in a]) == 0
    if x.rank != 3 or (x.axes[1] != (BATCH,) and not (one and x.axes[1] in ((),))):
        raise Unsaid("its second axis is not that of the examples", of_axes=True)
    if BATCH in x.axes[0] + x.axes[2] or not x.axes[0] or not x.axes[2]:
        raise Unsaid("its first axis is not that of the steps", of_axes=True)
    x = c.body.canonical(x)
    steps = c.body.number(TIME)
    if x.shape[0] != TIME and steps not in (None, x.shape[0]):
        raise Unsaid("it goes over other steps than those before it")
    return x


def begins(c: OnnxCall, sizes: tuple[int, int]) -> None:
    """Raise `Unsaid` for lengths of sequences, and for a first state that is not 0, or not one of
    so many directions and numbers for each example."""
    if c.arg(4) is not None:
        lengths = c.arg(4)
        if not isinstance(lengths, Constant):
            raise Unsaid("each sequence has a length of its own", "export it without sequence_lens")
    for k in (5, 6):
        first = c.arg(k)
        if first is not None and not (isinstance(first, Constant) and zero(first.array)):
            raise Unsaid("it begins with a state that is not 0", "export it without a first state")
        many = (sizes[0], c.body.count("batch"), sizes[1])
        many = (many[1], many[0], many[2]) if c["layout"] else many
        if isinstance(first, Constant) and first.array.shape != many:
            raise Unsaid("its first state has another shape than its examples ask for")


def zero(array: Array) -> bool:
    cut = tuple(slice(0, 1) if step == 0 else slice(None) for step in array.strides)
    return array.dtype != object and not array[cut].any()


def peepholes(c: OnnxCall, cell: Cell, weights: list[dict[str, Array]], m: int) -> None:
    """Weights by which the gates of an LSTM look at the cell, in the order i o f."""
    if c.arg(7) is None:
        return
    p = c.weights(7, "peepholes", 2).array
    if p.shape != (len(weights), 3 * m):
        raise Unsaid("its peepholes do not go with its weights")
    if p.any():
        cell.block, cell.text = "peephole_lstm", PEEPHOLES
        for held, one in zip(weights, p, strict=True):
            held["p"] = one.reshape(3, m)[[0, 2, 1]]


def applied(
    c: OnnxCall, x: Value, cell: Cell, weights: list[dict[str, Array]], m: int, hint: str
) -> Leaf:
    """The line of the layer; a sequence, of both directions side by side."""
    held = scaled_leaf(x)
    if cell.text:
        c.body.helpers[cell.block] = cell.text
    one: s.Expr = call(cell.block, number(m))
    label = c.body.fresh(candidates(hint))
    sizes: tuple[s.Expr, ...]
    if len(weights) == 2:
        block, sizes = "both", (one, one)
        arrays = {f"{way}.{k}": a for way, held_ in zip(("ahead", "back"), weights, strict=True)
                  for k, a in held_.items()}  # fmt: skip
    else:
        block, sizes, arrays = cell.block, (number(m),), weights[0]
    made = Layer(label, block, sizes, {}, arrays, held.expr)
    wide = m * len(weights)
    if c["direction"] == "reverse":
        made.source = call("reversed", held.expr)
        turned = c.body.define(made, (TIME, wide), target=label)
        return c.body.define(call("reversed", turned.expr), (TIME, wide))
    return c.body.define(made, (TIME, wide), target=label)


def results(c: OnnxCall, h: Leaf, m: int) -> list[Any]:
    """All steps, [steps, directions, examples, m], and the last, [directions, examples, m]."""
    outs = [*c.node.outputs, "", ""][:3]
    used = [bool(t) and c.body.uses[t] > 0 for t in outs]
    both, back = c["direction"] == "bidirectional", c["direction"] == "reverse"
    if used[2]:
        raise Unsaid("its last cell state is used")
    every: Value | None = None
    if both:
        split = Leaf(h.expr, (TIME, 2, m), (1, 2), h.key)
        every = Value(split, ((0,), (1,), (BATCH,), (2,)))
    else:
        every = Value(h, ((0,), (), (BATCH,), (1,)))
    if c["layout"]:
        every = every.viewed([every.axes[2], every.axes[0], every.axes[1], every.axes[3]])
    end: Value | None = None
    if used[1]:
        end = ending(c, h, m, both, back)
        if c["layout"]:
            end = end.viewed([end.axes[1], end.axes[0], end.axes[2]])
    return [every, end, None]


def ending(c: OnnxCall, h: Leaf, m: int, both: bool, back: bool) -> Value:
    """The last step of each direction; of the one from the end that is the first."""
    last = call("last", h.expr)
    if both:
        ahead = index(last, [part(None, m)])
        behind = index(h.expr, [number(0), part(m, None)])
        found = c.body.define(call("concat", ahead, behind), (2 * m,))
        return Value(Leaf(found.expr, (2, m), (2,), found.key), ((0,), (BATCH,), (1,)))
    expr = index(h.expr, [number(0)]) if back else last
    return Value(leaf(expr, (m,)), ((), (BATCH,), (0,)))


SHARED: dict[str, Any] = {
    "activations": list, "activation_alpha": list, "activation_beta": list, "clip": float,
    "direction": "forward", "hidden_size": int, "layout": 0,
}  # fmt: skip
TABLE = [
    Operator("LSTM", recurrent, (3, 8), {**SHARED, "input_forget": 0}),
    Operator("GRU", recurrent, (3, 6), {**SHARED, "linear_before_reset": 0}),
    Operator("RNN", recurrent, (3, 6), SHARED),
]
