"""Rules for expressions of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from drawing.blocks import Block
from drawing.choices import Shape
from drawing.terms import BINARY, TESTS, UNARY, Env, Run, Term, lift, literal
from drawing.writer import Writer, rule


@rule(times=2)
def binary(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    form, fn = w.c.pick(BINARY)
    a, b = w.split(steps)
    p, q = w.c.pick([(shape, shape), (shape, ()), ((), shape)])
    x, y = w.term(p, a, depth), w.term(q, b, depth)
    return Term(form.format(x.text, y.text), shape, lift(fn, x, y), steps)


@rule()
def unary(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    form, fn = w.c.pick(UNARY)
    x = w.term(shape, steps, depth)
    return Term(form.format(x.text), shape, lift(fn, x), steps)


@rule()
def turned(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    x = w.term(shape, steps, depth)
    if not steps:
        return x
    return Term(f"reversed({x.text})", shape, lambda env: x.run(env)[::-1], steps)


@rule()
def chosen(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    form, test = w.c.pick(TESTS)
    s, which = w.split(steps, 3), w.c.pick([shape, ()])
    p, q = w.term(which, s[0], depth - 1), w.leaf((), 0)
    x, y = w.term(shape, s[1], depth), w.term(shape, s[2], depth)
    bound = w.c.number()
    run = lift(lambda p, q, x, y: np.where(test(p, q, bound), x, y), p, q, x, y)
    text = form.format(p.text, q.text, literal(bound))
    return Term(f"({x.text} if {text} else {y.text})", shape, run, steps)


@rule()
def call(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    fits = [f for f in w.world.functions if f.shapes is None or shape == ()]
    if not fits:
        return binary(w, shape, steps, depth)
    f = w.c.pick(fits)
    shapes = f.shapes or (shape,) * f.arity
    kids = [w.term(p, n, depth) for p, n in zip(shapes, w.split(steps, f.arity), strict=True)]
    text = f"{f.name}({', '.join(k.text for k in kids)})"
    return Term(text, shape, lift(f.fn, *kids), steps)


@rule()
def applied(w: Writer, shape: Shape, steps: int, depth: int) -> Term:
    """A block applied: at each step, where it takes what one step has."""
    fits = [b for b in w.world.blocks if b.result.shape == shape]
    fits = [b for b in fits if not (b.timed or (b.loops and (steps or w.indices)))]
    if not fits or w.root.owns_nothing or w.depth > 2:
        return unary(w, shape, steps, depth)
    made = w.c.pick(fits)
    s = w.split(steps, len(made.ports))
    args = [w.term(p.shape, k, depth - 1) for p, k in zip(made.ports, s, strict=True)]
    same = len(args) == 1 and made.ports[0].shape == shape
    if same and not made.loops and w.c.below(3) == 2:
        return chained(w, made, args[0])
    name = instance(w, made)
    run = lift_call(made, name, args)
    flow = len(args) == 1 and w.c.below(2)
    text = ", ".join(a.text for a in args)
    return Term(f"({text} -> {name})" if flow else f"{name}({text})", shape, run, steps)


def instance(w: Writer, made: Block) -> str:
    """An instance of a block, perhaps one that is there already."""
    root = w.root
    known = [n for n, part in root.parts.items() if part is made and "[" not in n]
    kind = w.c.below(len(known) + 1)
    if kind:
        return known[kind - 1]
    name = w.name("f")
    root.heads.append(f"let {name} = {made.name}()")
    root.parts[name] = made
    return name


def chained(w: Writer, made: Block, x: Term) -> Term:
    """A list of instances, one after the other."""
    name, n = w.name("f"), 1 + w.c.below(2)
    w.root.heads.append(f"let {name} = [for l in 1..{n}: {made.name}()]")
    text = f"({x.text} -> chain({name}))"
    for k in range(n):
        w.root.parts[f"{name}[{k}]"] = made
        x = Term(text, x.shape, lift_call(made, f"{name}[{k}]", [x]), x.steps)
    return x


def lift_call(made: Block, name: str, args: list[Term]) -> Run:
    """An instance applied, at every step of the sequences among its arguments."""

    def run(env: Env) -> Any:
        params, path = env[""]
        keys = [p.key for p in made.ports]

        def one(*v: Any) -> Any:
            return made.apply(dict(zip(keys, v, strict=True)), params, f"{path}.{name}")

        values = [Term("", a.shape, a.run, a.steps) for a in args]
        return lift(one, *values)(env)

    return run
