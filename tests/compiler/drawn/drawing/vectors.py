"""Rules for vectors and matrices."""

from __future__ import annotations

import numpy as np

from drawing.anywhere import binary
from drawing.choices import Shape
from drawing.scalars import one_step
from drawing.terms import Term, along, lift, real, softmax
from drawing.writer import Writer, rule


@rule(rank=1)
def vector(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    kinds = [product, listed, joined, soft]
    if not steps:
        kinds += [cut, row, moved]
        if w.lengths():
            kinds += [along_time]
    return w.c.pick(kinds)(w, shape, steps, depth)


def product(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    """`@` of a matrix and a vector, either way; of matrices; of three axes and one."""
    m, (a, b) = w.c.pick([2, 3]), w.split(steps)
    if len(shape) == 1:
        p, q = w.c.pick([((*shape, m), (m,)), ((m,), (m, *shape))])
    else:
        options = [((shape[0], m), (m, shape[1])), ((*shape, m), (m,)), ((m,), (m, *shape))]
        p, q = w.c.pick(options)
    x, y = w.term(p, a, depth), w.term(q, b, depth)
    run = lift(lambda p, q: np.tensordot(p, q, 1), x, y)
    return Term(f"({x.text} @ {y.text})", shape, run, steps)


def listed(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    kids = [w.term(shape[1:], k, depth - 1) for k in w.split(steps, shape[0])]
    text = "[" + ", ".join(k.text for k in kids) + "]"
    return Term(text, shape, lift(lambda *v: np.stack(v), *kids), steps)


def joined(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    (n,) = shape
    if n == 1:
        return listed(w, shape, steps, depth)
    first, (a, b) = 1 + w.c.below(n - 1), w.split(steps)
    x, y = w.term((first,), a, depth), w.term((n - first,), b, depth)
    run = lift(lambda p, q: np.concatenate([p, q]), x, y)
    return Term(f"concat({x.text}, {y.text})", shape, run, steps)


def soft(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    x = w.term(shape, steps, depth)
    return Term(f"softmax(1.5 * {x.text})", shape, lift(softmax, x), steps)


def cut(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    n = shape[0]
    m = n + 1 + w.c.below(2)
    x, at = w.term((m,), 0, depth), w.c.below(m - n + 1)
    return Term(f"({x.text})[{at}:{at + n}]", shape, lift(lambda v: v[at : at + n], x))


def row(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    x, turned = w.term((w.c.pick([2, 3]), *shape), 0, depth), w.c.below(2)
    text, place = w.place(x.shape[0])
    text = f"({x.text}')[:, {text}]" if turned else f"({x.text})[{text}]"
    return Term(text, shape, lambda env: x.run(env)[place(env)])


def moved(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    """A border of zeros, a matrix laid out, a class as numbers, the places of the lowest."""
    (n,) = shape
    classes = [v for v in w.vars if v.classes == n and not v.steps]
    kind = w.c.pick(["pad", "flatten", "onehot", "lowest"])
    if kind == "onehot" and classes:
        v = w.c.pick(classes)
        return Term(f"onehot({v.text})", shape, lambda env: np.eye(n)[int(env[v.key])])
    if kind == "flatten" and n == 4:
        x = w.term((2, 2), 0, depth)
        return Term(f"flatten({x.text} + 0)", shape, lift(np.ravel, x))
    if kind == "lowest":
        x, y = w.term((n + 1,), 0, depth), w.term((n + 1,), 0, depth - 1)
        run = lift(lambda x, y: x[np.argsort(real(y), kind="stable")[:n]], x, y)
        return Term(f"({x.text} + 0)[lowest({y.text}, {n})]", shape, run)
    if n > 2:
        x = w.term((n - 2,), 0, depth)
        return Term(f"pad({x.text}, 1)", shape, lift(lambda v: np.pad(v, 1), x))
    return binary(w, shape, steps, depth)


def along_time(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    n = w.c.pick(w.lengths())
    name, fn = w.c.pick([("sum", np.sum), ("mean", np.mean), ("", None)])
    if not name:
        return one_step(w, shape, n, depth)
    x = w.term(shape, n, depth)
    return Term(f"{name}(time: {x.text})", shape, along(fn, x.run, axis=0))


@rule(rank=2)
def matrix(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    n, m = shape
    kind, (a, b) = w.c.pick(["outer", "turn", "product", "list"]), w.split(steps)
    if kind == "outer":
        x, y = w.term((n,), a, depth), w.term((m,), b, depth)
        run = lift(np.multiply.outer, x, y)
        return Term(f"outer({x.text}, {y.text})", shape, run, steps)
    if kind == "turn":
        x = w.term((m, n), steps, depth)
        return Term(f"({x.text})'", shape, lift(np.transpose, x), steps)
    return (product if kind == "product" else listed)(w, shape, steps, depth)
