"""What writes the equations of a block: the names it sees, and the rules it chooses from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from drawing.blocks import Block, World
from drawing.choices import Choices, Shape
from drawing.terms import Env, Run, Term, Var, element, lift, literal, real

SIZES = (2, 3, 2, 3, 4, 1)
Rule = Callable[["Writer", Shape, int, int], Term]
ANY: list[Rule] = []
RANKS: dict[int, list[Rule]] = {}


def rule(rank: int | None = None, times: int = 1) -> Callable[[Rule], Rule]:
    """Enters a rule: for values of any shape, or of so many axes. It takes the shape, the steps of
    the sequence, or 0, and how much deeper it may go."""

    def enter(made: Rule) -> Rule:
        (ANY if rank is None else RANKS.setdefault(rank, [])).extend([made] * times)
        return made

    return enter


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
        self.depth: int = around.depth + 1 if around else 0
        self.lines: list[str] = around.lines if around else []
        self.runs: list[Callable[[Env], None]] = around.runs if around else []
        if around:
            return
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

    @property
    def ragged(self) -> bool:
        """Whether each sequence of the data has a length of its own."""
        return self.world.ragged

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
        places = [] if shape else list(self.indices)
        kind = self.c.below(len(same) + len(larger_ones) + 2 + len(places))
        if kind < len(same):
            return self.whole(same[kind])
        kind -= len(same)
        if kind < len(larger_ones):
            return self.indexed(larger_ones[kind], shape)
        if kind == len(larger_ones) and len(shape) < 3:
            value = self.c.array(shape) if shape else self.c.number()
            return Term(literal(value), shape, lambda env: value)
        if kind > len(larger_ones) + 1:
            name = places[kind - len(larger_ones) - 2]
            return Term(name, (), lambda env: float(env["i:" + name]))
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

        def run(env: Env) -> Any:
            value, at = env[v.key], tuple(place(env) for _, place in places)
            return element(value, at[0])[at[1:]] if v.steps else value[at]

        return Term(text, shape, run)

    def place(self, size: int, time: bool = False) -> tuple[str, Run]:
        """An index into an axis: a number, a bound index, a class that is no step."""
        bound = [i for i, n in self.indices.items() if n == size and not (time and self.ragged)]
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
        rules = [None, *ANY, *RANKS.get(len(shape), []) * 4]
        chosen = self.c.pick(rules)
        return chosen(self, shape, steps, depth - 1) if chosen else self.leaf(shape, steps)

    def define(self, v: Var, text: str, run: Run) -> None:
        """An equation: its text, and what it means."""
        self.lines.append(text)
        self.runs.append(lambda env: env.__setitem__(v.key, run(env)))
        self.vars.append(v)

    def split(self, steps: int, n: int = 2) -> list[int]:
        """Which of n operands are sequences: one at least."""
        if not steps or not n:
            return [0] * n
        on = self.c.below(n)
        return [steps if i == on or self.c.below(2) else 0 for i in range(n)]
