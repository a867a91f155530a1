"""Whole specs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from drawing.blocks import Block, Function, World, port
from drawing.choices import Choices, Shape
from drawing.scans import scan
from drawing.statements import (
    equation,
    indexed_equation,
    over_steps,
    sequence_equation,
    stretch,
)
from drawing.terms import BINARY, UNARY, Env, Var, literal
from drawing.writer import Writer


def write(w: Writer, name: str, ports: list[Var], result: Var, most: int, depth: int) -> Block:
    rules = [equation, indexed_equation, scan, equation, over_steps]
    rules += [stretch, sequence_equation]
    for _ in range(w.c.below(most + 1)):
        w.c.pick(rules)(w, depth)
    x, own = w.term(result.shape, 0, depth), w.whole(w.param(result.shape, True))
    p = w.whole(ports[0])  # what it gives depends on what it takes
    text = f"{result.text} = {x.text} + {own.text} * sum({p.text} + 0)"
    w.define(result, text, lambda env: x.run(env) + own.run(env) * np.sum(p.run(env)))
    sizes = {n for v in ports for n in v.shape if n > 1} if w.c.below(3) == 2 else set()
    names = {n: f"n{n}" for n in sorted(sizes)}
    kept = (w.heads, w.lines, w.runs, w.values, w.fixed, w.parts)
    return Block(name, ports, result, *kept, names)


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
        return np.stack([self.net.apply(self.example(b), params, "net") for b in range(n)])

    def example(self, b: int) -> Env:
        """The fields of one example, its sequences cut to its length."""
        row = {k: v[b] for k, v in self.fields.items()}
        timed = [p.key for p in self.net.ports if p.steps]
        return row | {k: row[k][: row.get("length")] for k in timed}

    def save(self, folder: Path) -> Path:
        """Write the spec, and the file that it reads its data from."""
        if "length" in self.fields:
            np.savez(folder / FILE, **self.fields)
        path = folder / "net.dln"
        path.write_text(self.text)
        return path

    def loss(self, params: Env) -> Any:
        y = self.outputs(params)
        if self.kind in PAIRS:
            return self.pairs(y.reshape(len(y), -1))
        centre = y.mean(0) if self.kind == "batch" else 0.3
        each = [np.sum((row - centre) ** 2) for row in y]
        found = sum(each) if self.kind == "total" else sum(each) / len(each)
        if self.kind == "decay":
            found = found + 0.1 * sum(np.sum(v**2) for v in params.values())
        return found

    def pairs(self, y: Any) -> Any:
        """The loss of kinds that hold examples against one another."""
        n = len(y)
        if self.kind == "pairs":
            return sum(np.sum((a - b) ** 2) for a in y for b in y) / n
        apart = [np.tanh(np.sum(y[i] * y[k])) for i in range(n) for k in range(n) if i != k]
        return sum(apart) / (n * max(n - 1, 1)) + sum(np.sum(row**2) for row in y) / n


FILE = "d.npz"
PAIRS = ("pairs", "others")
LOSSES = {
    "mean": "minimize sum((o - 0.3)^2)",
    "total": "minimize total sum((o - 0.3)^2)",
    "batch": "m = mean(batch: o)\n  minimize sum((o - m)^2)",
    "decay": "minimize sum((o - 0.3)^2) + 0.1 * ({})",
    "pairs": "minimize sum(k in batch: sum((o - o[k])^2))",
    "others": "minimize mean(k in others: tanh(sum(o * o[k]))) + sum(o^2)",
}


def part(c: Choices, world: World, number: int, steps: int) -> Block:
    ports = [Var(f"p{i}", f"p{i}", c.pick([(2,), (3,), (), (2, 3)])) for i in range(1 + c.below(2))]
    out = Var("r", "r", c.pick([(), (2,), (3,)]))
    if c.below(4) == 3:
        ports = [Var("p0", "p0", c.pick([(2,), (3,), ()]), steps)]
    w = Writer(c, World(world.functions, list(world.blocks), world.ragged), ports)
    return write(w, f"part{number}", ports, out, 2, 2)


def draw(c: Choices) -> Drawn:
    """A spec: functions, blocks, a data set, a phase."""
    world, batch, steps = World(ragged=c.below(2) > 0), 1 + c.below(3), 2 + c.below(3)
    world.functions += [function(c, world, k) for k in range(c.below(3))]
    for k in range(c.below(3)):
        world.blocks.append(part(c, world, k, steps))
    ports = [Var("x", "x", (2,)), Var("q", "q", ()), Var("A", "A", (2, 3)), Var("c", "c", (), 0, 3)]
    timed = c.below(2)
    if timed:
        ports += [Var("s", "s", (2,), steps), Var("e", "e", (), steps, 3)]
    out = Var("y", "y", c.pick([(), (2,), (3,), (2, 3)]))
    net = write(Writer(c, world, ports), "model", ports, out, c.pick([4, 2, 3]), c.pick([3, 2]))
    fields = {v.key: field_of(c, v, batch) for v in ports}
    if timed and world.ragged:
        fields["length"] = np.array([1 + c.below(steps) for _ in range(batch)])
        past = np.arange(steps) >= fields["length"][:, None]
        fields["s"][past], fields["e"][past] = 1e9, 7  # nobody may see it
    first, kind = net.params("net"), c.pick(["mean", "mean", *LOSSES])
    text = data(ports, fields)
    text += "".join(f.text for f in world.functions) + "".join(b.text() for b in world.blocks)
    decay = " + ".join(f"sum({path}^2)" for path in first)
    phase = (
        f"  o = net({', '.join(v.text for v in ports)})\n  {LOSSES[kind].format(decay)} over net"
    )
    text += f"{net.text()}let net = model()\ntrain t on d batch all for 1 update dtype float64 {{\n"
    clip = " clip 1e100" * (kind == "decay")  # is never reached, and changes nothing
    return Drawn(f"{text}{phase} with sgd(lr = 0.1){clip}\n}}\n", net, fields, first, kind)


def data(ports: list[Var], fields: Env) -> str:
    """The data set: a table in the spec, or, where sequences have lengths, a file."""
    if "length" in fields:
        lines = "".join(f"  {port(v, {})} = raw.{v.key}\n" for v in ports)
        return f'data d = npz("{FILE}") {{\n{lines}}}\n'
    rows = np.concatenate([a.reshape(len(a), -1) for a in fields.values()], axis=1)
    lines, at = "", 0
    for v in ports:
        shape = fields[v.key].shape[1:]
        lines += f"  {port(v, {})} = {laid(shape, at)}\n"
        at += int(np.prod(shape))
    return f"data d = rows({literal(rows)}) {{\n{lines}}}\n"


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
