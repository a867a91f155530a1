"""Recurrences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from drawing.statements import equation, indexed_equation
from drawing.terms import Env, Run, Var, element, lift
from drawing.writer import Writer


def scan(w: Writer, depth: int) -> None:
    Scan(w, depth).write()


class Scan:
    """A recurrence of one or two sequences, over time or for a number of steps."""

    def __init__(self, w: Writer, depth: int) -> None:
        self.w, self.c, self.depth = w, w.c, depth
        over = [0] if w.depth else [0, *sorted({v.steps for v in w.vars if v.steps})]
        self.over = self.c.pick(over)
        counts = [n for n in (2, 3, 4, 1, 5, 6) if not (w.ragged and n in w.lengths())]
        self.n = self.over or self.c.pick(counts[:4])
        self.of = next((v for v in w.vars if self.over and v.steps == self.n), None)
        self.t, self.back = w.name("t"), self.c.below(4) == 3
        names = [w.name("h") for _ in range(1 + self.c.below(2))]
        self.own = [Var(h, h, self.c.pick([(), (2,), (3,), (2, 2)]), self.n) for h in names]
        self.seen = [v for v in w.vars if not v.steps]
        self.seen.append(Var(self.t, self.t, (), run=lambda env: env[self.t]))
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
            rules = [equation, indexed_equation]
            rules += [scan] if inner.depth < 2 and self.n * self.depth < 9 else []
            self.c.pick(rules)(inner, self.depth - 1)
        for h in self.own:
            x, key = inner.term(h.shape, 0, self.depth), f"{h.key}[{self.t}]"
            run = lift(np.tanh, x)
            inner.define(Var(key, key, h.shape), f"{key} = tanh({x.text})", run)
        body = "".join(f"    {line}\n" for line in inner.lines)
        count = "time" if self.over else str(self.n)
        way = " backwards" if self.back else ""
        self.w.lines.append(f"scan {self.t} in {count}{way} {{\n{body}  }}")
        self.w.runs.append(lambda env: self.run(env, inner.runs))
        self.w.vars += self.own

    def past(self, h: Var, begins: bool) -> None:
        """What a sequence was one or two steps ago, and what it begins with."""
        most = 1 + self.c.below(2)
        for lag in range(1, most + 1):
            key = f"{h.key}[{self.t}{'+' if self.back else '-'}{lag}]"
            self.pasts.append((key, h, lag))
            v = Var(key, key, h.shape)
            self.seen.append(v if begins or not h.shape else self.beside(v))
        for lag in range(1, most + 1):
            if begins and (lag == 1 or self.c.below(2)):
                x = self.w.term(h.shape, 0, 1)
                end = f"time+{lag - 1}" if lag > 1 else "time"
                at = end if self.back else f"-{lag}"
                self.w.lines.append(f"{h.text}[{at}] = {x.text}")
                self.firsts[h.key, lag] = x.run

    def beside(self, v: Var) -> Var:
        """What nobody says the shape of, beside a parameter that does."""
        if self.c.below(2) or len(v.shape) > 1:  # a matrix may be applied to either
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
        n = len(env[self.of.key]) if self.of else self.n
        for done in range(n):
            s = n - 1 - done if self.back else done
            now = {**env, self.t: float(s)}
            for key, h, lag in self.pasts:
                begins = begun.get((h.key, lag - done), np.zeros(h.shape))
                now[key] = rows[h.key][done - lag] if done >= lag else begins
            for key, v, shift in self.looks:
                at = s + shift
                now[key] = element(env[v.key], at if at >= 0 else n)
            for run in runs:
                run(now)
            for h in self.own:
                rows[h.key].append(now[f"{h.key}[{self.t}]"])
        found = {h.key: np.reshape(rows[h.key], (n, *h.shape)) for h in self.own}
        env |= {k: v[::-1] if self.back else v for k, v in found.items()}
