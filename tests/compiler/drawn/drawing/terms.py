"""Expressions with their meaning, and the functions that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from drawing.choices import Shape

Env = dict[str, Any]
Run = Callable[[Env], Any]


@dataclass
class Term:
    """An expression, the shape of its value for one example (at one step), and its value; with
    `steps` it is a sequence of so many, or where lengths differ of so many at most."""

    text: str
    shape: Shape
    run: Run
    steps: int = 0


@dataclass
class Var:
    """A name: a real tensor, or a class of so many values. What has a `run` of its own is an
    expression that stands for a name."""

    text: str
    key: str
    shape: Shape
    steps: int = 0
    classes: int = 0
    run: Run | None = None

    def at(self, index: list[str]) -> str:
        inner = ", ".join(index)
        return f"{self.text[:-1]}, {inner}]" if self.text.endswith("]") else f"{self.text}[{inner}]"


def literal(value: Any) -> str:
    if np.ndim(value):
        return "[" + ", ".join(literal(v) for v in value) + "]"
    return repr(round(float(value), 6))


def lift(fn: Callable[..., Any], *kids: Term) -> Run:
    """A function of what one step has, at every step of the sequences among its arguments."""
    timed = any(k.steps for k in kids)

    def run(env: Env) -> Any:
        values = [k.run(env) for k in kids]
        if not timed:
            return fn(*values)
        steps = max(len(v) for v, k in zip(values, kids, strict=True) if k.steps)
        if not steps:
            return np.zeros((0, *np.shape(fn(*(np.zeros(k.shape) for k in kids)))))
        rows = (
            [v[t] if k.steps else v for v, k in zip(values, kids, strict=True)]
            for t in range(steps)
        )
        return np.stack([fn(*row) for row in rows])

    return run


def element(sequence: Any, at: int) -> Any:
    """Of a sequence; past its end 0."""
    inside = -len(sequence) <= at < len(sequence)
    return sequence[at] if inside else np.zeros(np.shape(sequence)[1:])


def along(fn: Callable[..., Any], run: Run, **options: int) -> Run:
    """A reduction of a sequence; of one that has no step it is 0."""

    def reduced(env: Env) -> Any:
        x = run(env)
        return fn(x, **options) if len(x) else np.zeros(np.shape(x)[1:] if options else ())

    return reduced


def at_indices(run: Run, names: list[str], sizes: Shape) -> Run:
    """An expression at every place of some bound indices."""

    def each(env: Env) -> Any:
        places = np.ndindex(*sizes)
        rows = [
            run({**env, **{f"i:{n}": k for n, k in zip(names, at, strict=True)}}) for at in places
        ]
        return np.array(rows).reshape(*sizes, *np.shape(rows[0]))

    return each


real = np.real


def larger(a: Any, b: Any) -> Any:
    return np.where(real(a) >= real(b), a, b)


def smaller(a: Any, b: Any) -> Any:
    return np.where(real(a) <= real(b), a, b)


def largest(z: Any) -> Any:
    return np.ravel(z)[np.argmax(real(np.ravel(z)))]


def smallest(z: Any) -> Any:
    return np.ravel(z)[np.argmin(real(np.ravel(z)))]


def softmax(z: Any) -> Any:
    e = np.exp(1.5 * (z - np.max(real(z))))
    return e / e.sum()


UNARY: list[tuple[str, Any]] = [
    ("(-({}))", lambda z: -z),
    ("tanh({})", np.tanh),
    ("(({})^2)", lambda z: z * z),
    ("sigmoid(1.5 * {})", lambda z: 1 / (1 + np.exp(-1.5 * z))),
    ("({} -> sin)", np.sin),
    ("exp(tanh({}))", lambda z: np.exp(np.tanh(z))),
    ("abs({})", lambda z: np.where(real(z) < 0, -z, z)),
    ("relu({})", lambda z: larger(z, 0 * z)),
    ("log(1 + ({})^2)", lambda z: np.log(1 + z * z)),
    ("sqrt(1 + ({})^2)", lambda z: np.sqrt(1 + z * z)),
    ("softplus({})", lambda z: np.log(1 + np.exp(z))),
    ("stop({})", lambda z: real(z) + 0 * z),
    ("cos({})", np.cos),
    ("(1 / (2 + ({})^2))", lambda z: 1 / (2 + z * z)),
    ("(tanh({})^3)", lambda z: np.tanh(z) ** 3),
    ("(({} > 0.3) * 1.5)", lambda z: 1.5 * (real(z) > 0.3)),
]
BINARY: list[tuple[str, Any]] = [
    ("({} + {})", lambda a, b: a + b),
    ("({} * {})", lambda a, b: a * b),
    ("({} - {})", lambda a, b: a - b),
    ("max({}, {})", larger),
    ("min({}, {})", smaller),
    ("({} / (1 + ({})^2))", lambda a, b: a / (1 + b * b)),
]
REDUCTIONS: list[tuple[str, Any]] = [
    ("sum", np.sum), ("mean", np.mean), ("max", largest), ("min", smallest),
]  # fmt: skip
TESTS: list[tuple[str, Any]] = [
    ("{0} > {2}", lambda p, q, b: real(p) > b),
    ("{0} < {1}", lambda p, q, b: real(p) < real(q)),
    ("{0} >= {2} and {1} < 0.5", lambda p, q, b: (real(p) >= b) & (real(q) < 0.5)),
    (
        "not ({0} > {1} or {0} < {2})",
        lambda p, q, b: np.logical_not((real(p) > real(q)) | (real(p) < b)),
    ),
]
