"""Operators on each element, and on the elements of several tensors that stand at one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np

from dln.grammar import syntax as s
from dln.importing.model import Array, Unsaid
from dln.importing.naming import candidates
from dln.importing.operators.records import Fold, OnnxCall, Operator, Result, literal, made
from dln.importing.syntax_of import binary, call, choose, domained, minus, name, number
from dln.importing.values import Arg, Constant, Element, Value

ONE, TWO, ZERO = number(1), number(2), number(0)
SELU = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
ACTS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus"}


def plus(a: s.Expr, b: s.Expr) -> s.Expr:
    return binary("+", a, b)


def times(a: s.Expr, b: s.Expr) -> s.Expr:
    return binary("*", a, b)


def over(a: s.Expr, b: s.Expr) -> s.Expr:
    return binary("/", a, b)


def square(e: s.Expr) -> s.Expr:
    return binary("^", e, TWO)


def positive(x: s.Expr, then: s.Expr, other: s.Expr) -> s.Expr:
    return choose(binary(">", x, ZERO), then, other)


def expm1(x: s.Expr) -> s.Expr:
    return binary("-", call("exp", x), ONE)


# ---- of one tensor -----------------------------------------------------------------------------


def shaped(value: float) -> s.Expr:
    """An attribute as a number; it is stored in single precision."""
    return literal(np.array([value], np.float32))


def named(c: OnnxCall, x: s.Expr) -> s.Expr:
    """What is called the same here."""
    return call(c.node.op.lower(), x)


def elu(c: OnnxCall, x: s.Expr) -> s.Expr:
    a = c["alpha"]
    return call("elu", x) if a == 1 else positive(x, x, times(shaped(a), expm1(x)))


def celu(c: OnnxCall, x: s.Expr) -> s.Expr:
    a = shaped(c["alpha"])
    return positive(x, x, times(a, expm1(over(x, a))))


def selu(c: OnnxCall, x: s.Expr) -> s.Expr:
    a, g = c["alpha"], c["gamma"]
    if abs(a - SELU[0]) < 1e-6 and abs(g - SELU[1]) < 1e-6:
        return call("selu", x)
    return times(shaped(g), positive(x, x, times(shaped(a), expm1(x))))


def leaky(c: OnnxCall, x: s.Expr) -> s.Expr:
    a = c["alpha"]
    small = abs(a - 0.01) < 1e-8
    return call("leaky_relu", x) if small else positive(x, x, times(shaped(a), x))


def hard_sigmoid(c: OnnxCall, x: s.Expr) -> s.Expr:
    line = plus(times(shaped(c["alpha"]), x), shaped(c["beta"]))
    return call("max", call("min", line, ONE), ZERO)


def hard_swish(c: OnnxCall, x: s.Expr) -> s.Expr:
    sixth = over(call("min", call("max", plus(x, number(3)), ZERO), number(6)), number(6))
    return times(x, sixth)


def bell(c: OnnxCall, x: s.Expr) -> s.Expr:
    if c["approximate"] == "tanh":
        cube = times(number(0.044715), binary("^", x, number(3)))
        inner = times(call("sqrt", over(TWO, name("pi"))), plus(x, cube))
        return times(over(x, TWO), plus(ONE, call("tanh", inner)))
    return named(c, x)


def swish(c: OnnxCall, x: s.Expr) -> s.Expr:
    if c["alpha"] == 1:
        return call("silu", x)
    return times(x, call("sigmoid", times(shaped(c["alpha"]), x)))


Unary = Callable[[OnnxCall, s.Expr], s.Expr]

SAME = "Relu Sigmoid Tanh Softplus Exp Log Sqrt Abs Erf Sin Cos Sign Floor"
UNARY: dict[str, tuple[Unary, dict[str, Any], str]] = {
    **{op: (named, {}, "prob" if op == "Sigmoid" else "") for op in SAME.split()},
    "Erfc": (lambda c, x: binary("-", ONE, call("Erf".lower(), x)), {}, ""),
    "Softsign": (lambda c, x: over(x, plus(ONE, call("abs", x))), {}, ""),
    "Neg": (lambda c, x: minus(x), {}, ""),
    "Ceil": (lambda c, x: minus(call("floor", minus(x))), {}, ""),
    "Reciprocal": (lambda c, x: over(ONE, x), {}, ""),
    "Elu": (elu, {"alpha": 1.0}, ""),
    "Celu": (celu, {"alpha": 1.0}, ""),
    "Selu": (selu, {"alpha": SELU[0], "gamma": SELU[1]}, ""),
    "LeakyRelu": (leaky, {"alpha": 0.01}, ""),
    "ThresholdedRelu": (
        lambda c, x: choose(binary(">", x, shaped(c["alpha"])), x, ZERO), {"alpha": 1.0}, ""),
    "HardSigmoid": (hard_sigmoid, {"alpha": 0.2, "beta": 0.5}, ""),
    "HardSwish": (hard_swish, {}, ""),
    "Gelu": (bell, {"approximate": "none"}, ""),
    "Swish": (swish, {"alpha": 1.0}, ""),
    "Mish": (lambda c, x: times(x, call("tanh", call("softplus", x))), {}, ""),
}  # fmt: skip
FOLDS: dict[str, Fold] = {
    "Sqrt": lambda c, a: np.sqrt(a[0]),
    "Neg": lambda c, a: -a[0],
    "Abs": lambda c, a: np.abs(a[0]),
    "Exp": lambda c, a: np.exp(a[0]),
    "Reciprocal": lambda c, a: 1 / a[0],
    "Floor": lambda c, a: np.floor(a[0]),
}


def unary(op: str) -> Operator:
    build, attributes, domain = UNARY[op]

    def run(c: OnnxCall) -> Result:
        x = c.value(0)
        layer = c.body.layer_of(x, c.node.inputs[0])
        act = ACTS.get(op) or plain_act(op, c)
        if layer is not None and layer.acts and act:
            layer.acts = False
            layer.options["act"] = name(act)
            return Value(x.tree, x.axes, x.kind, domain)
        return made(c, [logit(x) if domain else x], lambda a: build(c, a), domain=domain)

    return Operator(op, run, attributes=attributes, fold=FOLDS.get(op))


def plain_act(op: str, c: OnnxCall) -> str:
    """The name of a function of the library that the operator is just now; nothing for others."""
    if op in ("Elu", "LeakyRelu", "Selu", "Gelu", "Swish"):
        found = UNARY[op][0](c, name("x"))
        if (
            isinstance(found, s.Call)
            and isinstance(found.function, s.Name)
            and found.only == name("x")
        ):
            return found.function.id
    return ""


def logit(x: Value) -> Value:
    """What a sigmoid is taken of; of a probability too, where the file says so."""
    if x.domain != "prob":
        return x
    keep = tuple(range(len(x.shape)))
    tree = Element(lambda a: domained(a, "real"), ((x.tree, keep),), x.shape, 1)
    return Value(tree, x.axes, x.kind)


# ---- of several --------------------------------------------------------------------------------


def operands(c: OnnxCall) -> list[Value | Constant]:
    return [a for a in c.args if a is not None]


def neutral(c: OnnxCall, number_: int) -> Arg:
    """The other operand, where one is a number that changes nothing: 1 of a product, 0 of a sum."""
    for k in (1, 0) if c.node.op in ("Add", "Mul") else (1,):
        x, b = c.arg(1 - k), c.arg(k)
        if isinstance(x, Value) and isinstance(b, Constant) and not b.learnt and b.other is None:
            if b.array.size == 1 and b.array.ndim <= x.rank and b.array.reshape(-1)[0] == number_:
                return x
    return None


def product(c: OnnxCall) -> Result:
    """A product; of a whole number and 0 it is 0, which exporters write for a choice."""
    for a in c.args:
        if isinstance(a, Constant) and a.array.dtype.kind in "iu" and not a.array.any():
            return Constant(a.array.reshape(-1)[:1].reshape(()))
    return neutral(c, 1) or made(c, operands(c), times)


def joined(
    op: str, build: Callable[[s.Expr, s.Expr], s.Expr], kind: str = "real"
) -> Callable[[OnnxCall], Result]:
    def run(c: OnnxCall) -> Result:
        args = [real(a) if kind == "real" else a for a in operands(c)]
        return made(c, args, build, kind)

    return run


def real(a: Value | Constant) -> Value | Constant:
    """A truth value among numbers is 0 or 1."""
    return a


def add(c: OnnxCall) -> Result:
    """A sum; of a layer without a bias and a vector of its width it is the layer's bias."""
    if (same := neutral(c, 0)) is not None:
        return same
    for k in (0, 1):
        x, b = c.arg(k), c.arg(1 - k)
        if isinstance(x, Value) and isinstance(b, Constant) and b.array.dtype.kind == "f":
            layer = c.body.layer_of(x, c.node.inputs[k])
            free = layer is not None and layer.bias and "act" not in layer.options
            if free and layer and biased(x, b, layer.width, layer.axis % x.rank):
                layer.weights[layer.bias] = b.array.reshape(-1)
                layer.options.pop(layer.bias)
                layer.bias = ""
                c.body.called(layer, candidates(b.name))
                return x
    return made(c, operands(c), plus)


def biased(x: Value, b: Constant, width: int, channel: int) -> bool:
    """Whether a constant has a number for each output of a layer, along its axis."""
    if b.array.size != width or b.array.ndim > x.rank or width < 2:
        return False
    along = [x.rank - b.array.ndim + a for a, size in enumerate(b.array.shape) if size != 1]
    return along == [channel]


def modulo(a: s.Expr, b: s.Expr) -> s.Expr:
    """What is left of a division, with the sign of b."""
    return binary("-", a, times(b, call("floor", over(a, b))))


def several(
    build: Callable[[s.Expr, s.Expr], s.Expr], mean: bool = False
) -> Callable[[OnnxCall], Result]:
    def run(c: OnnxCall) -> Result:
        args = operands(c)

        def put(*found: s.Expr) -> s.Expr:
            total = found[0]
            for one in found[1:]:
                total = build(total, one)
            return over(total, number(len(found))) if mean else total

        return made(c, args, put)

    return run


def extreme(function: str) -> Callable[[OnnxCall], Result]:
    return lambda c: made(c, operands(c), lambda *a: call(function, *a) if len(a) > 1 else a[0])


def power(c: OnnxCall) -> Result:
    """x^y; a half is a root."""
    args = operands(c)
    exponent = args[1].array if isinstance(args[1], Constant) and args[1].array.size == 1 else None
    if exponent is not None and float(exponent.reshape(-1)[0]) == 0.5:
        return made(c, args[:1], lambda a: call("sqrt", a))
    return made(c, args, lambda a, b: binary("^", a, b))


def clip(c: OnnxCall) -> Result:
    """Bounds, of which either may be missing; from 0 up it is relu."""
    low, high = (bound(c, k, which) for k, which in ((1, "min"), (2, "max")))
    if low == 0 and high is None:
        return made(c, [c.value(0)], lambda x: call("relu", x))

    def put(x: s.Expr) -> s.Expr:
        if low is not None:
            x = call("max", x, literal(low))
        return x if high is None else call("min", x, literal(high))

    return made(c, [c.value(0)], put)


def bound(c: OnnxCall, k: int, which: str) -> Array | None:
    held = c.given.get(which)
    found = np.array([held], np.float32) if held is not None else c.const(k, which)
    if found is None or found.size != 1:
        return None
    far = float(found.reshape(-1)[0])
    return None if abs(far) > 1e30 else found.reshape(-1)


def prelu(c: OnnxCall) -> Result:
    x, slope = c.value(0), c.weights(1, "slopes")
    return made(c, [x, slope], lambda a, k: positive(a, a, times(k, a)))


def identity(c: OnnxCall) -> Result:
    return c.args[0]


def divided(c: OnnxCall, a: Sequence[Array]) -> Array:
    """A quotient; of whole numbers cut off, as ONNX has it."""
    if a[0].dtype == object or a[1].dtype == object or a[0].dtype.kind in "iu":
        return np.asarray(np.floor_divide(a[0], a[1]))
    return np.asarray(np.divide(a[0], a[1]))


def dropped(c: OnnxCall) -> Result:
    """Dropout does nothing where a network is applied."""
    if len(c.node.outputs) > 1 and c.body.uses[c.node.outputs[1]]:
        raise Unsaid("its mask is used")
    return [c.args[0], None]


TABLE = [
    *map(unary, UNARY),
    Operator("Add", add, (2, 2), fold=lambda c, a: a[0] + a[1]),
    Operator(
        "Sub", joined("-", lambda a, b: binary("-", a, b)), (2, 2), fold=lambda c, a: a[0] - a[1]
    ),
    Operator("Mul", product, (2, 2), fold=lambda c, a: a[0] * a[1]),
    Operator("Div", joined("/", over), (2, 2), fold=divided),
    Operator("Mod", joined("%", modulo), (2, 2), {"fmod": 0}, lambda c, a: np.mod(a[0], a[1])),
    Operator("Pow", power, (2, 2), fold=lambda c, a: np.power(a[0], a[1])),
    Operator("PRelu", prelu, (2, 2)),
    Operator("Sum", several(plus), (1, 64)),
    Operator("Mean", several(plus, True), (1, 64)),
    Operator("Max", extreme("max"), (1, 64), fold=lambda c, a: np.maximum.reduce(a)),
    Operator("Min", extreme("min"), (1, 64), fold=lambda c, a: np.minimum.reduce(a)),
    Operator("Clip", clip, (1, 3), {"min": float, "max": float}),
    Operator("Identity", identity, fold=lambda c, a: a[0]),
    Operator("Dropout", dropped, (1, 3), {"ratio": 0.5, "seed": 0}),
]
ROOT = sqrt(2)
