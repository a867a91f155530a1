"""Equations of a block."""

from __future__ import annotations

from typing import Any

import numpy as np

from drawing.anywhere import instance
from drawing.scalars import with_index
from drawing.terms import Env, Var, at_indices, element
from drawing.writer import Writer


def equation(w: Writer, depth: int) -> None:
    steps = w.c.pick([0, 0, *w.lengths()])
    shape = w.c.pick([(), (2,), (3,), (2, 3), (4,), (2, 2, 2)])
    x, name = w.term(shape, steps, depth), w.name("v")
    w.define(Var(name, name, shape, steps), f"{name} = {x.text}", x.run)


def indexed_equation(w: Writer, depth: int) -> None:
    """`y[i, j] = e`: every index is used; the rest of the shape is e's own."""
    sizes = w.c.pick([(2,), (3,), (2, 3), (2, 2)])
    names = [w.name("i") for _ in sizes]
    inner = w.inner()
    inner.indices |= dict(zip(names, sizes, strict=True))
    body = inner.term(w.c.pick([(), (), (2,)]), 0, depth)
    for index, size in zip(names, sizes, strict=True):
        if index not in inner.used:
            body = with_index(w, body, index, size)
    name, run = w.name("y"), at_indices(body.run, names, sizes)
    text = f"{name}[{', '.join(names)}] = {body.text}"
    w.define(Var(name, name, (*sizes, *body.shape)), text, run)


def sequence_equation(w: Writer, depth: int) -> None:
    """`y[t in time] = e`, where e uses t: the elements of sequences, and as a number."""
    every = [v for v in w.vars if v.steps and not (v.classes or v.run)]
    if not every or w.depth:
        return equation(w, depth)
    of, t = w.c.pick(every), w.name("t")
    inner = w.inner([v for v in w.vars if not v.steps])
    inner.vars += [_at(v, t) for v in every if v.steps == of.steps]
    inner.vars.append(Var(t, t, (), run=lambda env: env[t]))
    x, name = inner.term(of.shape, 0, depth), w.name("y")

    def run(env: Env) -> Any:
        here = env[of.key]
        rows = [x.run({**env, t: float(k)}) + here[k] for k in range(len(here))]
        return np.reshape(rows, (len(here), *of.shape))

    text = f"{name}[{t} in time] = {x.text} + {of.text}[{t}]"
    w.define(Var(name, name, of.shape, of.steps), text, run)
    return None


def _at(v: Var, t: str) -> Var:
    text = f"{v.text}[{t}]"
    return Var(text, text, v.shape, run=lambda env: element(env[v.key], int(env[t])))


def stretch(w: Writer, depth: int) -> None:
    """A part of a sequence."""
    lengths = [n for n in w.lengths() if n > 1]
    if not lengths:
        return equation(w, depth)
    n = w.c.pick(lengths)
    x, name = w.term(w.c.pick([(), (2,)]), n, depth), w.name("v")
    end = w.c.below(2) and not w.ragged
    text = f"{name} = ({x.text} + 0)[{':' + str(n - 1) if end else '1:'}]"
    part = slice(0, n - 1) if end else slice(1, n)
    w.define(Var(name, name, x.shape, n - 1), text, lambda env: x.run(env)[part])
    return None


def over_steps(w: Writer, depth: int) -> None:
    """A block that takes a sequence."""
    fits = [b for b in w.world.blocks if b.timed and b.ports[0].steps in w.lengths()]
    if not fits or w.depth:
        return equation(w, depth)
    made, out = w.c.pick(fits), w.name("z")
    x = w.term(made.ports[0].shape, made.ports[0].steps, depth)
    name = instance(w, made)
    key = made.ports[0].key

    def run(env: Env) -> Any:
        params, path = env[""]
        return made.apply({key: x.run(env)}, params, f"{path}.{name}")

    w.define(Var(out, out, made.result.shape), f"{out} = {name}({x.text})", run)
    return None
