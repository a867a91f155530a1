"""Specs drawn at random, each with its meaning beside it in NumPy, for one example at a time.

A `Term` is an expression: its text in dln, and a function that works it out from the values of the
names. Nothing of the compiler stands in here: what the compiler reads is the text, what it is held
against is the function. Batches, sequences and bound indices are plain loops.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

Env = dict[str, Any]
Run = Callable[[Env], Any]
Shape = tuple[int, ...]
SIZES = (2, 3, 2, 3, 4, 1)


class Choices:
    """Where choices come from: a seed, or choices made before, so that they can be made fewer and
    smaller. 0 is the simplest."""

    def __init__(self, seed: int = 0, given: list[int] | None = None) -> None:
        self.rng, self.given = random.Random(seed), given
        self.made: list[int] = []

    def below(self, n: int) -> int:
        at = len(self.made)
        if self.given is None:
            value = self.rng.randrange(n)
        else:
            value = self.given[at] % n if at < len(self.given) else 0
        self.made.append(value)
        return value

    def pick(self, options: Any) -> Any:
        return options[self.below(len(options))]

    def number(self) -> float:
        """Never 0, and hardly the same twice."""
        return round((self.below(199) * 37 % 199 - 99) / 80 + 0.0031, 6)

    def array(self, shape: Shape) -> Any:
        return np.array([self.number() for _ in range(int(np.prod(shape)))]).reshape(shape)


# ---- expressions -------------------------------------------------------------------------------


@dataclass
class Term:
    """An expression, the shape of its value for one example (at one step), and its value; with
    `steps` it is a sequence of so many."""

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
    steps = max((k.steps for k in kids), default=0)

    def run(env: Env) -> Any:
        values = [k.run(env) for k in kids]
        if not steps:
            return fn(*values)
        rows = (
            [v[t] if k.steps else v for v, k in zip(values, kids, strict=True)]
            for t in range(steps)
        )
        return np.stack([fn(*row) for row in rows])

    return run


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


# ---- blocks and functions ----------------------------------------------------------------------


@dataclass
class Block:
    """A block that has been written: what it takes, gives and owns, and its equations."""

    name: str
    ports: list[Var]
    result: Var
    heads: list[Any]
    lines: list[str]
    runs: list[Callable[[Env], None]]
    values: dict[str, Any]
    fixed: dict[str, Any]
    parts: dict[str, Block]
    names: dict[int, str] = field(default_factory=dict)

    @property
    def loops(self) -> bool:
        return any(line.lstrip().startswith("scan") for line in self.lines)

    @property
    def timed(self) -> bool:
        return any(p.steps for p in self.ports)

    def text(self) -> str:
        ports = ", ".join(port(v, self.names) for v in self.ports)
        heads = [h if isinstance(h, str) else declared(h, self.names) for h in self.heads]
        body = "".join(f"  {line}\n" for line in (*heads, *self.lines))
        return f"block {self.name}({ports}) -> {port(self.result, self.names)} {{\n{body}}}\n"

    def params(self, path: str) -> Env:
        """The first values of its parameters, those of its parts among them."""
        own = {f"{path}.{k}": v for k, v in self.values.items()}
        for name, part in self.parts.items():
            own |= part.params(f"{path}.{name}")
        return own

    def apply(self, given: Env, params: Env, path: str) -> Any:
        env: Env = {**given, **self.fixed, "": (params, path)}
        env |= {k: params[f"{path}.{k}"] for k in self.values}
        for run in self.runs:
            run(env)
        return env[self.result.key]


def dims(shape: Shape, names: dict[int, str], time: bool = False) -> str:
    found = ["time"] * time + [names.get(n, str(n)) for n in shape]
    return f"[{', '.join(found)}]" if found else ""


def port(v: Var, names: dict[int, str]) -> str:
    of_classes = f": class({v.classes})" if v.classes else ""
    return v.text + dims(v.shape, names, bool(v.steps)) + of_classes


def declared(head: tuple[str, Var, Any], names: dict[int, str]) -> str:
    word, v, value = head
    return f"{word} {v.text}{dims(v.shape, names)} = {literal(value)}"


@dataclass
class Function:
    """A `fn` of the spec; with a signature it takes tensors of these shapes and gives a number."""

    name: str
    text: str
    fn: Any
    shapes: tuple[Shape, ...] | None
    arity: int


@dataclass
class World:
    """What the blocks of a spec may use."""

    functions: list[Function] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


class Writer:
    """Writes the equations of a block, and beside each what it means.

    An inner writer sees names or bound indices of its own; what it declares is the block's."""

    def __init__(
        self, c: Choices, world: World, vars: list[Var], around: Writer | None = None
    ) -> None:
        self.c, self.world, self.vars = c, world, list(vars)
        self.root: Writer = around.root if around else self
        self.indices: dict[str, int] = dict(around.indices) if around else {}
        self.used: set[str] = set()
        self.depth = around.depth + 1 if around else 0
        if around:
            self.lines, self.runs = around.lines, around.runs
            return
        self.lines: list[str] = []
        self.runs: list[Callable[[Env], None]] = []
        self.heads: list[Any] = []
        self.values: dict[str, Any] = {}
        self.fixed: dict[str, Any] = {}
        self.parts: dict[str, Block] = {}
        self.count = 0
        self.owns_nothing = False

    def inner(self, vars: list[Var] | None = None, body: bool = False) -> Writer:
        made = Writer(self.c, self.world, self.vars if vars is None else vars, self)
        if body:
            made.lines, made.runs = [], []
        return made

    def name(self, stem: str) -> str:
        self.root.count += 1
        return f"{stem}{self.root.count}"

    def size(self) -> int:
        return self.c.pick(SIZES)

    def lengths(self) -> list[int]:
        return sorted({v.steps for v in self.vars if v.steps and not v.classes})

    # ---- leaves --------------------------------------------------------------------------------

    def param(self, shape: Shape, learnt: bool = False) -> Var:
        root, value = self.root, self.c.array(shape)
        if root.owns_nothing:  # a function
            name = self.name("D")
            root.fixed[name] = value
            return Var(f"({literal(value)})", name, shape)
        fixed = self.c.below(8) == 7 and not learnt
        name = self.name("D" if fixed else "W")
        (root.fixed if fixed else root.values)[name] = value
        v = Var(name, name, shape)
        root.heads.append(("fixed" if fixed else "param", v, value))
        return v

    def whole(self, v: Var) -> Term:
        return Term(v.text, v.shape, v.run or (lambda env: env[v.key]), v.steps)

    def leaf(self, shape: Shape, steps: int) -> Term:
        if steps:
            return self.timed_leaf(shape, steps)
        same = [v for v in self.vars if v.shape == shape and not v.steps and not v.classes]
        larger_ones = [v for v in self.vars if self.has_inside(v, shape)]
        kind = self.c.below(len(same) + len(larger_ones) + 2)
        if kind < len(same):
            return self.whole(same[kind])
        kind -= len(same)
        if kind < len(larger_ones):
            return self.indexed(larger_ones[kind], shape)
        if kind == len(larger_ones) and len(shape) < 3:
            value = self.c.array(shape) if shape else self.c.number()
            return Term(literal(value), shape, lambda env: value)
        return self.whole(self.param(shape))

    def has_inside(self, v: Var, shape: Shape) -> bool:
        """Whether a name, its first axes indexed, has a shape; of a sequence the first is time."""
        if v.classes or v.run or (v.steps and v.text.endswith("]")):
            return False
        full = ((v.steps,) if v.steps else ()) + v.shape
        return len(full) > len(shape) and full[len(full) - len(shape) :] == shape

    def indexed(self, v: Var, shape: Shape) -> Term:
        full = ((v.steps,) if v.steps else ()) + v.shape
        lead = full[: len(full) - len(shape)]
        places = [self.place(n, k == 0 and v.steps > 0) for k, n in enumerate(lead)]
        text = v.at([text for text, _ in places])
        return Term(text, shape, lambda env: env[v.key][tuple(run(env) for _, run in places)])

    def place(self, size: int, time: bool = False) -> tuple[str, Run]:
        """An index into an axis: a number, a bound index, a class that is no step."""
        bound = [i for i, n in self.indices.items() if n == size]
        still = [v for v in self.vars if not (v.steps or v.run or time)]
        classes = [v for v in still if v.classes == size]
        tops = [v for v in still if v.shape == (size,)]
        kind = self.c.below(1 + 2 * len(bound) + len(classes) + bool(tops))
        if kind == 0:
            at = self.c.below(size)
            return str(at), lambda env: at
        kind -= 1
        if kind < 2 * len(bound):
            name = bound[kind // 2]
            if kind % 2 and self.c.below(2):
                return f"{size - 1} - {name}", lambda env: size - 1 - env["i:" + name]
            self.used.add(name)
            return name, lambda env: env["i:" + name]
        kind -= 2 * len(bound)
        if kind < len(classes):
            v = classes[kind]
            return v.text, lambda env: int(env[v.key])
        top = self.c.pick(tops)
        return f"argmax({top.text})", lambda env: int(np.argmax(real(env[top.key])))

    def timed_leaf(self, shape: Shape, steps: int) -> Term:
        options = [v for v in self.vars if v.steps == steps and not v.classes]
        same = [v for v in options if v.shape == shape]
        classes = [v for v in self.vars if v.steps == steps and (v.classes,) == shape]
        kind = self.c.below(len(same) + len(classes) + 1)
        if kind < len(same):
            return self.whole(same[kind])
        if kind < len(same) + len(classes):
            v = classes[kind - len(same)]
            run = lift(lambda c: np.eye(v.classes)[int(c)], self.whole(v))
            return Term(f"onehot({v.text})", shape, run, steps)
        made = self.whole(self.c.pick(options))
        for n in made.shape[::-1]:
            w = self.whole(self.param((n,)))
            run = lift(lambda m, w: m @ w, made, w)
            made = Term(f"({made.text} @ {w.text})", made.shape[:-1], run, steps)
        if shape:
            w = self.whole(self.param(shape))
            run = lift(lambda a, b: a * b, w, made)
            made = Term(f"({w.text} * {made.text})", shape, run, steps)
        return made

    # ---- what has any shape --------------------------------------------------------------------

    def term(self, shape: Shape, steps: int = 0, depth: int = 3) -> Term:
        if depth <= 0:
            return self.leaf(shape, steps)
        own = [self.scalar, self.vector, self.matrix][len(shape) : len(shape) + 1]
        any_shape = [self.binary, self.unary, self.binary, self.chosen, self.call, self.applied]
        rules = [None, *any_shape, *own * 4]
        rule = self.c.pick(rules)
        return rule(shape, steps, depth - 1) if rule else self.leaf(shape, steps)

    def split(self, steps: int, n: int = 2) -> list[int]:
        """Which of n operands are sequences: one at least."""
        if not steps or not n:
            return [0] * n
        on = self.c.below(n)
        return [steps if i == on or self.c.below(2) else 0 for i in range(n)]

    def binary(self, shape: Shape, steps: int, depth: int) -> Term:
        form, fn = self.c.pick(BINARY)
        a, b = self.split(steps)
        p, q = self.c.pick([(shape, shape), (shape, ()), ((), shape)])
        x, y = self.term(p, a, depth), self.term(q, b, depth)
        return Term(form.format(x.text, y.text), shape, lift(fn, x, y), steps)

    def unary(self, shape: Shape, steps: int, depth: int) -> Term:
        form, fn = self.c.pick(UNARY)
        x = self.term(shape, steps, depth)
        return Term(form.format(x.text), shape, lift(fn, x), steps)

    def chosen(self, shape: Shape, steps: int, depth: int) -> Term:
        form, test = self.c.pick(TESTS)
        s, which = self.split(steps, 3), self.c.pick([shape, ()])
        p, q = self.term(which, s[0], depth - 1), self.leaf((), 0)
        x, y = self.term(shape, s[1], depth), self.term(shape, s[2], depth)
        bound = self.c.number()
        run = lift(lambda p, q, x, y: np.where(test(p, q, bound), x, y), p, q, x, y)
        text = form.format(p.text, q.text, literal(bound))
        return Term(f"({x.text} if {text} else {y.text})", shape, run, steps)

    def call(self, shape: Shape, steps: int, depth: int) -> Term:
        fits = [f for f in self.world.functions if f.shapes is None or shape == ()]
        if not fits:
            return self.binary(shape, steps, depth)
        f = self.c.pick(fits)
        shapes = f.shapes or (shape,) * f.arity
        kids = [
            self.term(p, n, depth) for p, n in zip(shapes, self.split(steps, f.arity), strict=True)
        ]
        text = f"{f.name}({', '.join(k.text for k in kids)})"
        return Term(text, shape, lift(f.fn, *kids), steps)

    def applied(self, shape: Shape, steps: int, depth: int) -> Term:
        """A block applied: at each step, where it takes what one step has."""
        fits = [b for b in self.world.blocks if b.result.shape == shape]
        fits = [b for b in fits if not (b.timed or (b.loops and (steps or self.indices)))]
        if not fits or self.root.owns_nothing or self.depth > 2:
            return self.unary(shape, steps, depth)
        made = self.c.pick(fits)
        s = self.split(steps, len(made.ports))
        args = [self.term(p.shape, k, depth - 1) for p, k in zip(made.ports, s, strict=True)]
        same = len(args) == 1 and made.ports[0].shape == shape
        if same and not made.loops and self.c.below(3) == 2:
            return self.chained(made, args[0])
        name = self.instance(made)
        run = lift_call(made, name, args)
        flow = len(args) == 1 and self.c.below(2)
        text = ", ".join(a.text for a in args)
        return Term(f"({text} -> {name})" if flow else f"{name}({text})", shape, run, steps)

    def instance(self, made: Block) -> str:
        """An instance of a block, perhaps one that is there already."""
        root = self.root
        known = [n for n, part in root.parts.items() if part is made and "[" not in n]
        kind = self.c.below(len(known) + 1)
        if kind:
            return known[kind - 1]
        name = self.name("f")
        root.heads.append(f"let {name} = {made.name}()")
        root.parts[name] = made
        return name

    def chained(self, made: Block, x: Term) -> Term:
        """A list of instances, one after the other."""
        name, n = self.name("f"), 1 + self.c.below(2)
        self.root.heads.append(f"let {name} = [for l in 1..{n}: {made.name}()]")
        text = f"({x.text} -> chain({name}))"
        for k in range(n):
            self.root.parts[f"{name}[{k}]"] = made
            x = Term(text, x.shape, lift_call(made, f"{name}[{k}]", [x]), x.steps)
        return x

    # ---- single numbers ------------------------------------------------------------------------

    def scalar(self, shape: Shape, steps: int, depth: int) -> Term:
        kinds = ["dot"] if steps else ["whole", "dot", "summed", "norm", "class"]
        if not steps and self.lengths():
            kinds += ["time", "step"]
        kind = self.c.pick(kinds)
        if kind == "whole":
            name, fn = self.c.pick(REDUCTIONS)
            x = self.term(self.c.pick([(2,), (3,), (2, 3), (2, 2, 2)]), 0, depth)
            plus = " + 0" if len(x.shape) > 1 else ""  # a list of vectors is added up otherwise
            return Term(f"{name}({x.text}{plus})", (), lift(fn, x))
        if kind == "norm":
            x = self.term((self.size(),), 0, depth)
            run = lift(lambda z: np.sqrt(np.sum(z * z) + 1), x)
            return Term(f"norm(concat({x.text}, [1]))", (), run)
        if kind == "class":
            labels = [v for v in self.vars if v.classes and not v.steps]
            if labels:
                v = self.c.pick(labels)
                at, x, y = self.c.below(v.classes), self.leaf((), 0), self.leaf((), 0)
                text = f"({x.text} if {v.text} == {at} else {y.text})"
                return Term(text, (), lambda env: (x if env[v.key] == at else y).run(env))
        if kind == "summed":
            return self.summed(depth)
        if kind in ("time", "step"):
            n = self.c.pick(self.lengths())
            return self.over_time(n, depth) if kind == "time" else self.one_step((), n, depth)
        n, (a, b) = self.size(), self.split(steps)
        x, y = self.term((n,), a, depth), self.term((n,), b, depth)
        run = lift(lambda p, q: np.sum(p * q), x, y)
        return Term(f"({x.text} @ {y.text})", (), run, steps)

    def over_time(self, n: int, depth: int) -> Term:
        """A reduction of all of a sequence."""
        name, fn = self.c.pick(REDUCTIONS)
        x = self.term(self.c.pick([(), (2,)]), n, depth)
        time = "time: " if x.shape == () and self.c.below(2) else ""
        plus = " + 0" if x.shape else ""
        return Term(f"{name}({time}{x.text}{plus})", (), lambda env: fn(x.run(env)))

    def one_step(self, shape: Shape, n: int, depth: int) -> Term:
        x, at = self.term(shape, n, depth), self.c.below(n + 1)
        text = f"last({x.text})" if at == n else f"({x.text} + 0)[{at}]"
        return Term(text, shape, lambda env: x.run(env)[min(at, n - 1)])

    def summed(self, depth: int) -> Term:
        """`sum(k: e)`, where e uses k, perhaps over a written range."""
        name, fn = self.c.pick(REDUCTIONS)
        index, size = self.name("k"), self.size()
        inner = self.inner()
        inner.indices[index] = size
        body = inner.term((), 0, depth)
        if index not in inner.used:
            body = self.with_index(body, index, size)
        self.used |= inner.used - {index}
        ranged = f" in 0..{size - 1}" if self.c.below(3) == 2 else ""
        each = at_indices(body.run, [index], (size,))
        return Term(f"{name}({index}{ranged}: {body.text})", (), lambda env: fn(each(env)))

    def with_index(self, x: Term, index: str, size: int) -> Term:
        """An expression with something in it that uses an index: an element, or a window."""
        kind, key = self.c.below(3), "i:" + index
        if kind < 2:
            v = self.param((size,))
            fn = (np.add, np.multiply)[kind]
            text = f"({x.text} {'+*'[kind]} {v.text}[{index}])"
            return Term(text, x.shape, lambda env: fn(x.run(env), env[v.key][env[key]]))
        step, width, u = 1 + self.c.below(2), 1 + self.c.below(2), self.name("u")
        seen, kernel = self.param((step * (size - 1) + width,)), self.param((width,))

        def value(env: Env) -> Any:
            first = step * env[key]
            return x.run(env) + env[kernel.key] @ env[seen.key][first : first + width]

        text = f"sum({u}: {kernel.text}[{u}] * {seen.text}[{step}*{index} + {u}])"
        return Term(f"({x.text} + {text})", x.shape, value)

    # ---- vectors and matrices ------------------------------------------------------------------

    def vector(self, shape: Shape, steps: int, depth: int) -> Term:
        kinds = [self.product, self.listed, self.joined, self.soft]
        if not steps:
            kinds += [self.cut, self.row, self.moved]
            if self.lengths():
                kinds += [self.along_time]
        return self.c.pick(kinds)(shape, steps, depth)

    def product(self, shape: Shape, steps: int, depth: int) -> Term:
        """`@` of a matrix and a vector, either way; of matrices; of three axes and one."""
        m, (a, b) = self.c.pick([2, 3]), self.split(steps)
        if len(shape) == 1:
            p, q = self.c.pick([((*shape, m), (m,)), ((m,), (m, *shape))])
        else:
            options = [((shape[0], m), (m, shape[1])), ((*shape, m), (m,)), ((m,), (m, *shape))]
            p, q = self.c.pick(options)
        x, y = self.term(p, a, depth), self.term(q, b, depth)
        run = lift(lambda p, q: np.tensordot(p, q, 1), x, y)
        return Term(f"({x.text} @ {y.text})", shape, run, steps)

    def listed(self, shape: Shape, steps: int, depth: int) -> Term:
        kids = [self.term(shape[1:], k, depth - 1) for k in self.split(steps, shape[0])]
        text = "[" + ", ".join(k.text for k in kids) + "]"
        return Term(text, shape, lift(lambda *v: np.stack(v), *kids), steps)

    def joined(self, shape: Shape, steps: int, depth: int) -> Term:
        (n,) = shape
        if n == 1:
            return self.listed(shape, steps, depth)
        first, (a, b) = 1 + self.c.below(n - 1), self.split(steps)
        x, y = self.term((first,), a, depth), self.term((n - first,), b, depth)
        run = lift(lambda p, q: np.concatenate([p, q]), x, y)
        return Term(f"concat({x.text}, {y.text})", shape, run, steps)

    def soft(self, shape: Shape, steps: int, depth: int) -> Term:
        x = self.term(shape, steps, depth)
        return Term(f"softmax(1.5 * {x.text})", shape, lift(softmax, x), steps)

    def cut(self, shape: Shape, steps: int, depth: int) -> Term:
        n = shape[0]
        m = n + 1 + self.c.below(2)
        x, at = self.term((m,), 0, depth), self.c.below(m - n + 1)
        return Term(f"({x.text})[{at}:{at + n}]", shape, lift(lambda v: v[at : at + n], x))

    def row(self, shape: Shape, steps: int, depth: int) -> Term:
        x, turned = self.term((self.c.pick([2, 3]), *shape), 0, depth), self.c.below(2)
        text, place = self.place(x.shape[0])
        text = f"({x.text}')[:, {text}]" if turned else f"({x.text})[{text}]"
        return Term(text, shape, lambda env: x.run(env)[place(env)])

    def moved(self, shape: Shape, steps: int, depth: int) -> Term:
        """A border of zeros, a matrix laid out, a class as numbers, the places of the lowest."""
        (n,) = shape
        classes = [v for v in self.vars if v.classes == n and not v.steps]
        kind = self.c.pick(["pad", "flatten", "onehot", "lowest"])
        if kind == "onehot" and classes:
            v = self.c.pick(classes)
            return Term(f"onehot({v.text})", shape, lambda env: np.eye(n)[int(env[v.key])])
        if kind == "flatten" and n == 4:
            x = self.term((2, 2), 0, depth)
            return Term(f"flatten({x.text} + 0)", shape, lift(np.ravel, x))
        if kind == "lowest":
            x, y = self.term((n + 1,), 0, depth), self.term((n + 1,), 0, depth - 1)
            run = lift(lambda x, y: x[np.argsort(real(y), kind="stable")[:n]], x, y)
            return Term(f"({x.text} + 0)[lowest({y.text}, {n})]", shape, run)
        if n > 2:
            x = self.term((n - 2,), 0, depth)
            return Term(f"pad({x.text}, 1)", shape, lift(lambda v: np.pad(v, 1), x))
        return self.binary(shape, steps, depth)

    def along_time(self, shape: Shape, steps: int, depth: int) -> Term:
        n = self.c.pick(self.lengths())
        name, fn = self.c.pick([("sum", np.sum), ("mean", np.mean), ("", None)])
        if not name:
            return self.one_step(shape, n, depth)
        x = self.term(shape, n, depth)
        return Term(f"{name}(time: {x.text})", shape, lambda env: fn(x.run(env), axis=0))

    def matrix(self, shape: Shape, steps: int, depth: int) -> Term:
        n, m = shape
        kind, (a, b) = self.c.pick(["outer", "turn", "product", "list"]), self.split(steps)
        if kind == "outer":
            x, y = self.term((n,), a, depth), self.term((m,), b, depth)
            run = lift(np.multiply.outer, x, y)
            return Term(f"outer({x.text}, {y.text})", shape, run, steps)
        if kind == "turn":
            x = self.term((m, n), steps, depth)
            return Term(f"({x.text})'", shape, lift(np.transpose, x), steps)
        return (self.product if kind == "product" else self.listed)(shape, steps, depth)

    # ---- statements ----------------------------------------------------------------------------

    def define(self, v: Var, text: str, run: Run) -> None:
        self.lines.append(text)
        self.runs.append(lambda env: env.__setitem__(v.key, run(env)))
        self.vars.append(v)

    def equation(self, depth: int) -> None:
        steps = self.c.pick([0, 0, *self.lengths()])
        shape = self.c.pick([(), (2,), (3,), (2, 3), (4,), (2, 2, 2)])
        x, name = self.term(shape, steps, depth), self.name("v")
        self.define(Var(name, name, shape, steps), f"{name} = {x.text}", x.run)

    def indexed_equation(self, depth: int) -> None:
        """`y[i, j] = e`: every index is used; the rest of the shape is e's own."""
        sizes = self.c.pick([(2,), (3,), (2, 3), (2, 2)])
        names = [self.name("i") for _ in sizes]
        inner = self.inner()
        inner.indices |= dict(zip(names, sizes, strict=True))
        body = inner.term(self.c.pick([(), (), (2,)]), 0, depth)
        for index, size in zip(names, sizes, strict=True):
            if index not in inner.used:
                body = self.with_index(body, index, size)
        name, run = self.name("y"), at_indices(body.run, names, sizes)
        text = f"{name}[{', '.join(names)}] = {body.text}"
        self.define(Var(name, name, (*sizes, *body.shape)), text, run)

    def stretch(self, depth: int) -> None:
        """A part of a sequence."""
        lengths = [n for n in self.lengths() if n > 1]
        if not lengths:
            return self.equation(depth)
        n = self.c.pick(lengths)
        x, name, end = self.term(self.c.pick([(), (2,)]), n, depth), self.name("v"), self.c.below(2)
        text = f"{name} = ({x.text} + 0)[{':' + str(n - 1) if end else '1:'}]"
        part = slice(0, n - 1) if end else slice(1, n)
        self.define(Var(name, name, x.shape, n - 1), text, lambda env: x.run(env)[part])
        return None

    def over_steps(self, depth: int) -> None:
        """A block that takes a sequence."""
        fits = [b for b in self.world.blocks if b.timed and b.ports[0].steps in self.lengths()]
        if not fits or self.depth:
            return self.equation(depth)
        made, out = self.c.pick(fits), self.name("z")
        x = self.term(made.ports[0].shape, made.ports[0].steps, depth)
        name = self.instance(made)
        key = made.ports[0].key

        def run(env: Env) -> Any:
            params, path = env[""]
            return made.apply({key: x.run(env)}, params, f"{path}.{name}")

        self.define(Var(out, out, made.result.shape), f"{out} = {name}({x.text})", run)
        return None

    def scan(self, depth: int) -> None:
        Scan(self, depth).write()

    def write(self, name: str, ports: list[Var], result: Var, most: int, depth: int) -> Block:
        rules = [self.equation, self.indexed_equation, self.scan, self.equation, self.over_steps]
        rules += [self.stretch]
        for _ in range(self.c.below(most + 1)):
            self.c.pick(rules)(depth)
        x, w = self.term(result.shape, 0, depth), self.whole(self.param(result.shape, True))
        p = self.whole(ports[0])  # what it gives depends on what it takes
        text = f"{result.text} = {x.text} + {w.text} * sum({p.text} + 0)"
        self.define(result, text, lambda env: x.run(env) + w.run(env) * np.sum(p.run(env)))
        sizes = {n for v in ports for n in v.shape if n > 1} if self.c.below(3) == 2 else set()
        names = {n: f"n{n}" for n in sorted(sizes)}
        kept = (self.heads, self.lines, self.runs, self.values, self.fixed, self.parts)
        return Block(name, ports, result, *kept, names)


def lift_call(made: Block, name: str, args: list[Term]) -> Run:
    """An instance applied, at every step of the sequences among its arguments."""

    def run(env: Env) -> Any:
        params, path = env[""]
        keys = [p.key for p in made.ports]

        def one(*v: Any) -> Any:
            return made.apply(dict(zip(keys, v, strict=True)), params, f"{path}.{name}")

        values = [Term("", a.shape, lambda env, a=a: a.run(env), a.steps) for a in args]
        return lift(one, *values)(env)

    return run


class Scan:
    """A recurrence of one or two sequences, over time or for a number of steps."""

    def __init__(self, w: Writer, depth: int) -> None:
        self.w, self.c, self.depth = w, w.c, depth
        over = [0] if w.depth else [0, *sorted({v.steps for v in w.vars if v.steps})]
        self.over = self.c.pick(over)
        self.n = self.over or self.c.pick([2, 3, 4, 1])
        self.t = w.name("t")
        names = [w.name("h") for _ in range(1 + self.c.below(2))]
        self.own = [Var(h, h, self.c.pick([(), (2,), (3,), (2, 2)]), self.n) for h in names]
        self.seen = [v for v in w.vars if not v.steps]
        self.pasts: list[tuple[str, Var, int]] = []
        self.looks: list[tuple[str, Var, int]] = []
        self.firsts: dict[tuple[str, int], Run] = {}

    def write(self) -> None:
        for h in self.own:
            self.past(h, bool(self.c.below(3)))
        for v in self.w.vars:
            if self.over and v.steps == self.n:
                self.look(v)
        inner = self.w.inner(self.seen, body=True)
        for _ in range(self.c.below(2)):
            rules = [inner.equation, inner.indexed_equation]
            rules += [inner.scan] if inner.depth < 2 and self.n * self.depth < 9 else []
            self.c.pick(rules)(self.depth - 1)
        for h in self.own:
            x, key = inner.term(h.shape, 0, self.depth), f"{h.key}[{self.t}]"
            run = lift(np.tanh, x)
            inner.define(Var(key, key, h.shape), f"{key} = tanh({x.text})", run)
        body = "".join(f"    {line}\n" for line in inner.lines)
        count = "time" if self.over else str(self.n)
        self.w.lines.append(f"scan {self.t} in {count} {{\n{body}  }}")
        self.w.runs.append(lambda env: self.run(env, inner.runs))
        self.w.vars += self.own

    def past(self, h: Var, begins: bool) -> None:
        """What a sequence was one or two steps ago, and what it begins with."""
        most = 1 + self.c.below(2)
        for lag in range(1, most + 1):
            key = f"{h.key}[{self.t}-{lag}]"
            self.pasts.append((key, h, lag))
            v = Var(key, key, h.shape)
            self.seen.append(v if begins or not h.shape else self.beside(v))
        for lag in range(1, most + 1):
            if begins and (lag == 1 or self.c.below(2)):
                x = self.w.term(h.shape, 0, 1)
                self.w.lines.append(f"{h.text}[-{lag}] = {x.text}")
                self.firsts[h.key, lag] = x.run

    def beside(self, v: Var) -> Var:
        """What nobody says the shape of, beside a parameter that does."""
        if self.c.below(2):
            w = self.w.param(v.shape)
            text = f"({w.text} * {v.text})"
            return Var(text, v.key, v.shape, run=lambda env: env[w.key] * env[v.key])
        w = self.w.param((v.shape[0], v.shape[0]))
        text = f"({w.text} @ {v.text})"
        return Var(text, v.key, v.shape, run=lambda env: env[w.key] @ env[v.key])

    def look(self, v: Var) -> None:
        """An element of a sequence from outside, perhaps the one before or behind as well."""
        for shift in (0,) if v.classes else self.c.pick([(0,), (0,), (0, -1), (0, 1)]):
            key = f"{v.text}[{self.t}{f'{shift:+d}' if shift else ''}]"
            self.seen.append(Var(key, key, v.shape, 0, v.classes))
            self.looks.append((key, v, shift))

    def run(self, env: Env, runs: list[Callable[[Env], None]]) -> None:
        begun = {k: first(env) for k, first in self.firsts.items()}
        rows: dict[str, list[Any]] = {h.key: [] for h in self.own}
        for s in range(self.n):
            now = dict(env)
            for key, h, lag in self.pasts:
                begins = begun.get((h.key, lag - s), np.zeros(h.shape))
                now[key] = rows[h.key][s - lag] if s >= lag else begins
            for key, v, shift in self.looks:
                inside = 0 <= s + shift < self.n
                now[key] = env[v.key][s + shift] if inside else 0 * env[v.key][0]
            for run in runs:
                run(now)
            for h in self.own:
                rows[h.key].append(now[f"{h.key}[{self.t}]"])
        env |= {k: np.stack(v) for k, v in rows.items()}


# ---- specs -------------------------------------------------------------------------------------


def function(c: Choices, world: World, number: int) -> Function:
    """A function element by element, or one with a signature."""
    name, arity = f"fn{number}", 1 + c.below(2)
    args = ["a", "b"][:arity]
    if c.below(3) == 2:
        n = c.pick([2, 3])
        w = Writer(c, World(), [Var(a, a, (n,)) for a in args])
        w.owns_nothing = True
        x = w.term((), 0, 2)
        ports = ", ".join(f"{a}[{n}]" for a in args)
        text = f"fn {name}({ports}) -> real = {x.text} + sum(a)\n"

        def fn(*v: Any) -> Any:
            return x.run({**dict(zip(args, v, strict=True)), **w.fixed}) + np.sum(v[0])

        return Function(name, text, fn, ((n,),) * arity, arity)
    (form, f), (form2, g), value = c.pick(UNARY), c.pick(BINARY), c.number()
    second = "b" if arity == 2 else literal(value)
    text = f"fn {name}({', '.join(args)}) = {form2.format(form.format('a'), second)}\n"
    if arity == 2:
        return Function(name, text, lambda a, b: g(f(a), b), None, 2)
    return Function(name, text, lambda a: g(f(a), value), None, 1)


@dataclass
class Drawn:
    """A drawn spec: its text, the values of its fields and parameters, and what it means."""

    text: str
    net: Block
    fields: Env
    first: Env
    kind: str
    choices: list[int] = field(default_factory=list)

    def outputs(self, params: Env) -> Any:
        n = len(next(iter(self.fields.values())))
        rows = ({k: v[b] for k, v in self.fields.items()} for b in range(n))
        return np.stack([self.net.apply(row, params, "net") for row in rows])

    def loss(self, params: Env) -> Any:
        y = self.outputs(params)
        centre = y.mean(0) if self.kind == "batch" else 0.3
        each = [np.sum((row - centre) ** 2) for row in y]
        found = sum(each) if self.kind == "total" else sum(each) / len(each)
        if self.kind == "decay":
            found = found + 0.1 * sum(np.sum(v**2) for v in params.values())
        return found


LOSSES = {
    "mean": "minimize sum((o - 0.3)^2)",
    "total": "minimize total sum((o - 0.3)^2)",
    "batch": "m = mean(batch: o)\n  minimize sum((o - m)^2)",
    "decay": "minimize sum((o - 0.3)^2) + 0.1 * ({})",
}


def part(c: Choices, world: World, number: int, steps: int) -> Block:
    ports = [Var(f"p{i}", f"p{i}", c.pick([(2,), (3,), (), (2, 3)])) for i in range(1 + c.below(2))]
    out = Var("r", "r", c.pick([(), (2,), (3,)]))
    if c.below(4) == 3:
        ports = [Var("p0", "p0", c.pick([(2,), (3,), ()]), steps)]
    w = Writer(c, World(world.functions, list(world.blocks)), ports)
    return w.write(f"part{number}", ports, out, 2, 2)


def draw(c: Choices) -> Drawn:
    """A spec: functions, blocks, a data set, a phase."""
    world, batch, steps = World(), 1 + c.below(3), 2 + c.below(3)
    world.functions += [function(c, world, k) for k in range(c.below(3))]
    for k in range(c.below(3)):
        world.blocks.append(part(c, world, k, steps))
    ports = [Var("x", "x", (2,)), Var("q", "q", ()), Var("A", "A", (2, 3)), Var("c", "c", (), 0, 3)]
    if c.below(2):
        ports += [Var("s", "s", (2,), steps), Var("e", "e", (), steps, 3)]
    out = Var("y", "y", c.pick([(), (2,), (3,), (2, 3)]))
    net = Writer(c, world, ports).write("model", ports, out, 4, 3)
    fields = {v.key: field_of(c, v, batch) for v in ports}
    first, kind = net.params("net"), c.pick(["mean", "mean", *LOSSES])
    rows = np.concatenate([a.reshape(batch, -1) for a in fields.values()], axis=1)
    lines, at = [], 0
    for v in ports:
        shape = fields[v.key].shape[1:]
        lines.append(f"  {port(v, {})} = {laid(shape, at)}\n")
        at += int(np.prod(shape))
    text = f"data d = rows({literal(rows)}) {{\n{''.join(lines)}}}\n"
    text += "".join(f.text for f in world.functions) + "".join(b.text() for b in world.blocks)
    decay = " + ".join(f"sum({path}^2)" for path in first)
    phase = (
        f"  o = net({', '.join(v.text for v in ports)})\n  {LOSSES[kind].format(decay)} over net"
    )
    text += f"{net.text()}let net = model()\ntrain t on d batch all for 1 update dtype float64 {{\n"
    return Drawn(f"{text}{phase} with sgd(lr = 0.1)\n}}\n", net, fields, first, kind)


def field_of(c: Choices, v: Var, batch: int) -> Any:
    shape = (batch, *((v.steps,) if v.steps else ()), *v.shape)
    if not v.classes:
        return c.array(shape)
    return np.array([c.below(v.classes) for _ in range(int(np.prod(shape)))]).reshape(shape)


def laid(shape: Shape, at: int) -> str:
    """A field of this shape out of the columns from `at` on."""
    if not shape:
        return f"raw[{at}]"
    if len(shape) == 1:
        return f"raw[{at}:{at + shape[0]}]"
    width = int(np.prod(shape[1:]))
    return "[" + ", ".join(laid(shape[1:], at + k * width) for k in range(shape[0])) + "]"


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Drawn]:
    """`drawn(seed)`, or `drawn(given=choices)`: a spec and what it means."""

    def made(seed: int = 0, given: list[int] | None = None) -> Drawn:
        c = Choices(seed, given)
        spec = draw(c)
        spec.choices = c.made
        return spec

    return made
