"""Rules for expressions that are single numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from drawing.choices import Shape
from drawing.terms import REDUCTIONS, Env, Term, along, at_indices, element, lift
from drawing.writer import Writer, rule


@rule(rank=0)
def scalar(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    kinds = ["dot"] if steps else ["whole", "dot", "summed", "norm", "class"]
    if not steps and w.lengths():
        kinds += ["time", "step"]
    kind = w.c.pick(kinds)
    if kind == "whole":
        name, fn = w.c.pick(REDUCTIONS)
        x = w.term(w.c.pick([(2,), (3,), (2, 3), (2, 2, 2)]), 0, depth)
        plus = " + 0" if len(x.shape) > 1 else ""  # a list of vectors is added up otherwise
        return Term(f"{name}({x.text}{plus})", (), lift(fn, x))
    if kind == "norm":
        x = w.term((w.size(),), 0, depth)
        run = lift(lambda z: np.sqrt(np.sum(z * z) + 1), x)
        return Term(f"norm(concat({x.text}, [1]))", (), run)
    if kind == "class":
        labels = [v for v in w.vars if v.classes and not v.steps]
        if labels:
            v = w.c.pick(labels)
            at, x, y = w.c.below(v.classes), w.leaf((), 0), w.leaf((), 0)
            text = f"({x.text} if {v.text} == {at} else {y.text})"
            return Term(text, (), lambda env: (x if env[v.key] == at else y).run(env))
    if kind == "summed":
        return summed(w, depth)
    if kind in ("time", "step"):
        n = w.c.pick(w.lengths())
        return over_time(w, n, depth) if kind == "time" else one_step(w, (), n, depth)
    n, (a, b) = w.size(), w.split(steps)
    x, y = w.term((n,), a, depth), w.term((n,), b, depth)
    run = lift(lambda p, q: np.sum(p * q), x, y)
    return Term(f"({x.text} @ {y.text})", (), run, steps)


def over_time(w: Writer, n: int, depth: int) -> Term:
    """A reduction of all of a sequence."""
    name, fn = w.c.pick(REDUCTIONS)
    x = w.term(w.c.pick([(), (2,)]), n, depth)
    time = "time: " if x.shape == () and w.c.below(2) else ""
    plus = " + 0" if x.shape else ""
    return Term(f"{name}({time}{x.text}{plus})", (), along(fn, x.run))


def one_step(w: Writer, shape: Shape, n: int, depth: int) -> Term:
    x, at = w.term(shape, n, depth), w.c.below(n + 1)
    text = f"last({x.text})" if at == n else f"({x.text} + 0)[{at}]"
    return Term(text, shape, lambda env: element(x.run(env), -1 if at == n else at))


def summed(w: Writer, depth: int) -> Term:
    """`sum(k: e)`, where e uses k, perhaps over a written range."""
    name, fn = w.c.pick(REDUCTIONS)
    index, size = w.name("k"), w.size()
    inner = w.inner()
    inner.indices[index] = size
    body = inner.term((), 0, depth)
    if index not in inner.used:
        body = with_index(w, body, index, size)
    w.used |= inner.used - {index}
    ranged = f" in 0..{size - 1}" if w.c.below(3) == 2 else ""
    each = at_indices(body.run, [index], (size,))
    return Term(f"{name}({index}{ranged}: {body.text})", (), lambda env: fn(each(env)))


def with_index(w: Writer, x: Term, index: str, size: int) -> Term:
    """An expression with something in it that uses an index: an element, or a window."""
    kind, key = w.c.below(3), "i:" + index
    if kind < 2:
        v = w.param((size,))
        fn = (np.add, np.multiply)[kind]
        text = f"({x.text} {'+*'[kind]} {v.text}[{index}])"
        return Term(text, x.shape, lambda env: fn(x.run(env), env[v.key][env[key]]))
    step, width, u = 1 + w.c.below(2), 1 + w.c.below(2), w.name("u")
    seen, kernel = w.param((step * (size - 1) + width,)), w.param((width,))

    def value(env: Env) -> Any:
        first = step * env[key]
        return x.run(env) + env[kernel.key] @ env[seen.key][first : first + width]

    text = f"sum({u}: {kernel.text}[{u}] * {seen.text}[{step}*{index} + {u}])"
    return Term(f"({x.text} + {text})", x.shape, value)
