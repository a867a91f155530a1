"""Definite assignment: proves of a program's text that whatever a step reads it has written before.

Works from the text and the table of buffers alone, and knows nothing of how they were made. What
a step may read is what stands in inputs, parameters, states, constants and whole fields, and what
the same step has written; a buffer that is written takes the slot of the arena from every other.

The statements are gone through in the order in which they run, loops step by step, over *shadows*:
for each buffer a byte for each element that says whether it holds a value of this step. Views are
made of the shadows as the text makes them of the buffers. Nothing is computed, so it takes about
as long as one step of the program. No statement depends on a value. The number of examples is one
that no other extent of the text is equal to, so what fits for it fits for any.

Also found: views that are copies, taken once and never again; writes to what is only to be read;
buffers that their slot cannot hold; values that the step leaves unwritten.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import count, zip_longest
from typing import Any, TypeAlias

from dln.compiler.lower.effects import CALLS, FACTS, FRESH, NUMBERS, Effect, fills
from dln.compiler.lower.shadows import (
    Looking,
    MadeReady,
    Misfit,
    Region,
    Shadow,
    Unclear,
    dotted,
    leaves,
)
from dln.compiler.plan import LOOKED, Buffer, Program, at, item_size, product, sharing
from dln.grammar.diagnostics import Fault

Operand: TypeAlias = "Region | list[Region | None]"


def verify_program(program: Program) -> None:
    """Raise a Fault that lists what cannot be proved of a program's memory."""
    found = list(faults(program))
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise Fault(f"the memory of {program.name} is not sound: {'; '.join(found[:3])}{more}")


def faults(program: Program) -> Iterable[str]:
    """What cannot be proved, one sentence each."""
    found, tree = dict.fromkeys(unfit(program)), ast.parse(program.text)
    for looked in (True, False) if LOOKED in program.clocks else (True,):
        try:
            try:
                found |= dict.fromkeys(Walk(program, tree, telling(program), looked).found)
            except Misfit:  # a text with the rows of a stream holds for its own number alone
                found |= dict.fromkeys(Walk(program, tree, program.capacity, looked).found)
        except Unclear as unclear:
            found[str(unclear)] = None
    return list(found)


def telling(program: Program) -> int:
    """A number of examples that no other extent of a text is equal to."""
    views = "\n".join(line.code for line in program.setup)
    taken = {int(k) for k in re.findall(r"\b\d+\b", views)}
    taken |= {a for b in program.buffers for a, _ in b.shape}
    grows = any(b for buffer in program.buffers for _, b in buffer.shape)
    return next(n for n in count(3) if n not in taken) if grows else 1


def unfit(program: Program) -> Iterable[str]:
    """Buffers that are larger than their slot for some number of examples."""
    for b in program.buffers:
        if b.place == "arena":
            need, slot = product(b.shape), program.slots[b.slot]
            item = item_size(b.kind, program.dtype)
            grows = zip_longest(need[1:], slot[1:], fillvalue=0)
            if at(need, 1) * item > at(slot, 1) or any(c * item > held for c, held in grows):
                yield f"{b.name} does not fit into slot {b.slot}"


class Walk:
    """One run of a program's text over shadows, for n examples, looked at or not; `found` is what
    is wrong. Its methods raise `Unclear` for a text of which nothing can be proved."""

    def __init__(self, program: Program, tree: ast.Module, n: int, looked: bool = True) -> None:
        self.program, self.lines, self.looked = program, program.text.splitlines(), looked
        self.found: dict[str, None] = {}
        self.shadows = {b.name: Shadow(b, b.shape_at(n)) for b in program.buffers}
        self.order = sorted(self.shadows, key=lambda name: self.shadows[name].start)
        self.starts = [self.shadows[name].start for name in self.order]
        self.last = Shadow(Buffer("", "scalar", "", "real", ()), ())
        self.regions: dict[str, Operand | None] = {}
        self.live: dict[int, set[Shadow]] = {}
        self.sharing = sharing(program)
        self.aliases: dict[str, str] = {}
        self.numbers = {"n", "seed"}
        self.steps: dict[str, int] = {}
        self.look = Looking(n)
        self.running = False
        (bind,) = tree.body
        assert isinstance(bind, ast.FunctionDef)
        self.setup(bind.body)
        spared = set() if looked else {line.writes for line in program.lines if line.looked}
        for name, shadow in self.shadows.items():
            if shadow.buffer.place == "value" and name not in spared and not shadow.all():
                self.say(f"{shadow} is not written", None)

    # ---- what is made once ---------------------------------------------------------------------

    def setup(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if isinstance(statement, ast.FunctionDef):
                self.numbers |= {a.arg for a in statement.args.args}
                self.running = True
                self.run(statement.body)
            elif isinstance(statement, ast.Assign):
                self.bind(statement)
            elif not isinstance(statement, ast.Return):
                self.run([statement])

    def bind(self, statement: ast.Assign) -> None:
        """A buffer, a function under a shorter name, a number, or a view."""
        name, value = self.target(statement), statement.value
        held = value.slice if isinstance(value, ast.Subscript) else None
        if isinstance(held, ast.Constant) and isinstance(held.value, str):
            self.look.known[name] = self.shadows[held.value].array
        elif isinstance(value, ast.Attribute) and (called := dotted(value)).startswith("xp."):
            self.aliases[name] = called.removeprefix("xp.")
        elif name.startswith("s"):
            self.count(statement)
        else:
            made = self.look.visit(value)
            of = leaves(value) & self.look.known.keys()
            for array in made if isinstance(made, list) else [made]:
                if of and not isinstance(array, MadeReady) and self.owner(array) is None:
                    raise Unclear(f"{name} is a copy of {', '.join(sorted(of))}, made only once")
            self.look.known[name] = made

    def target(self, statement: ast.Assign) -> str:
        (target,) = statement.targets
        if not isinstance(target, ast.Name):
            raise Unclear(f"line {statement.lineno} assigns to no name")
        return target.id

    def count(self, statement: ast.Assign) -> None:
        """A number: made of numbers that are known."""
        self.reads(statement.value, statement)
        self.numbers.add(self.target(statement))

    # ---- statements ----------------------------------------------------------------------------

    def run(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if isinstance(statement, ast.For):
                self.loop(statement)
            elif isinstance(statement, ast.If):
                self.run(statement.body if self.looked else [])
            elif isinstance(statement, ast.Assign):
                self.count(statement)
            elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                self.do(Access(self, statement, statement.value), 0)
            elif not isinstance(statement, ast.Pass | ast.Return):
                raise Unclear(f"line {statement.lineno}: {type(statement).__name__} is not known")

    def loop(self, loop: ast.For) -> None:
        """A loop, step by step; its statements are looked at once."""
        assert isinstance(loop.target, ast.Name) and isinstance(loop.iter, ast.Call)
        steps = range(*(self.look.visit(a) for a in loop.iter.args))
        self.numbers.add(loop.target.id)
        self.look.index = loop.target.id
        accesses = []
        for statement in loop.body:
            if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
                raise Unclear(f"line {statement.lineno}: a loop holds calls alone")
            accesses.append(Access(self, statement, statement.value))
        for t in steps:
            for access in accesses:
                self.do(access, t)
        self.look.index = ""
        self.numbers.discard(loop.target.id)

    def do(self, access: Access, t: int) -> None:
        """One call: what it reads must be there; what it fills is there afterwards."""
        for operand in access.reads:
            region = operand if isinstance(operand, Region) else at_step(operand, t, access)
            if region is not None and not region.all():
                self.say(f"{region.shadow} is read before it is written", access.statement)
        for operand in access.fills:
            region = operand if isinstance(operand, Region) else at_step(operand, t, access)
            if region is None:
                raise Unclear(f"line {access.statement.lineno} writes to what is no buffer")
            self.write(region, access.statement)

    def write(self, region: Region, statement: ast.stmt) -> None:
        """What is written takes the slot from every other buffer, and all that may share memory
        with it."""
        shadow = region.shadow
        place, slot = shadow.buffer.place, shadow.buffer.slot
        if place in ("input", "whole", "const") or (place != "scalar" and not self.running):
            self.say(f"{shadow} is written, which is only to be read", statement)
        if place == "arena":
            live = self.live.setdefault(slot, set())
            if live != {shadow}:
                shared = self.sharing[slot]
                for near in [k for k in self.live if k == slot or shared >> k & 1]:
                    for other in self.live.pop(near) - {shadow}:
                        other.clear()
                self.live[slot] = {shadow}
        region.fill()

    # ---- what a call reads ---------------------------------------------------------------------

    def owner(self, array: Any) -> Shadow | None:
        """The shadow that an array is a view of; None for one of its own."""
        start = array.__array_interface__["data"][0]
        if not self.last.start <= start < self.last.start + self.last.size:
            k = bisect_right(self.starts, start) - 1
            found = self.shadows[self.order[k]] if k >= 0 else self.last
            if not found.start <= start < found.start + found.size:
                return None
            self.last = found
        return self.last

    def operand(self, node: ast.expr) -> Operand | None:
        """The part of a buffer that an expression stands for, in a loop one for each step."""
        by_step = isinstance(node, ast.Subscript) and ast.unparse(node.slice) == self.look.index
        key = ast.unparse(node.value if by_step and isinstance(node, ast.Subscript) else node)
        if key not in self.regions:
            found = self.look.visit(node)
            if isinstance(found, list):
                self.regions[key] = [self.region(array) for array in found]
            else:
                self.regions[key] = self.region(found)
        region = self.regions[key]
        if isinstance(region, list) != by_step:
            raise Unclear(f"{key} is not read by the steps of its loop")
        return region

    def parts(self, array: Any) -> Operand | None:
        """The part of a buffer that an array is, or of each array of a list."""
        return list(map(self.region, array)) if isinstance(array, list) else self.region(array)

    def region(self, array: Any) -> Region | None:
        shadow = self.owner(array)
        return None if shadow is None else Region(shadow, array)

    def reads(self, node: ast.expr, statement: ast.stmt) -> list[Operand]:
        """What an argument reads: an array, numbers, or a call that gives a new array."""
        arrays = self.look.known.keys()
        if isinstance(node, ast.Name | ast.Subscript) and leaves(node) & arrays:
            found = self.operand(node)
            return [] if found is None else [found]
        if isinstance(node, ast.Call):
            name = self.called(node)
            if not fills(name) and name.partition(".")[0] not in NUMBERS | FRESH:
                raise Unclear(f"line {statement.lineno}: nothing is known of {name}")
            parts: list[ast.expr] = [*node.args, *(k.value for k in node.keywords)]
        elif isinstance(node, ast.Attribute):
            if node.attr not in FACTS and dotted(node).partition(".")[0] != "math":
                raise Unclear(f"line {statement.lineno}: nothing is known of .{node.attr}")
            return []
        else:
            if isinstance(node, ast.Name) and node.id not in self.numbers:
                self.say(f"{node.id} is not known", statement)
            parts = [p for p in ast.iter_child_nodes(node) if isinstance(p, ast.expr)]
        return [operand for part in parts for operand in self.reads(part, statement)]

    def ready(self, function: ast.expr) -> MadeReady | None:
        """What a call does that was made ready; in a loop over its arrays at each step."""
        name = function.value if isinstance(function, ast.Subscript) else function
        made = self.look.known.get(name.id) if isinstance(name, ast.Name) else None
        if isinstance(made, list) and isinstance(made[0], MadeReady):
            self.look.visit(function)  # it is read by the steps of its loop
            return MadeReady(*map(list, zip(*(one.given for one in made), strict=True)))
        return made if isinstance(made, MadeReady) else None

    def called(self, call: ast.Call) -> str:
        """The full name of the function that is called."""
        name = dotted(call.func)
        return self.aliases.get(name, name.removeprefix("xp."))

    def is_kernel(self, call: ast.Call) -> bool:
        """Whether the function is handed in by the device: a plain name that the text does not
        bind."""
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        return bool(name) and name not in self.aliases and name not in NUMBERS

    def say(self, what: str, statement: ast.stmt | None) -> None:
        if statement is not None:
            line = self.lines[statement.lineno - 1].partition("  #")[0].strip()
            what = f"line {statement.lineno}, {line}: {what}"
        self.found[what] = None


class Access:
    """What one call reads, and what it fills."""

    def __init__(self, walk: Walk, statement: ast.stmt, call: ast.Call) -> None:
        self.walk, self.statement = walk, statement
        self.reads: list[Operand] = []
        self.fills: list[Operand] = []
        if (made := walk.ready(call.func)) is not None:
            self.reads = [r for array in made.given if (r := walk.parts(array)) is not None]
            self.fills = self.reads[-1:]
            return
        keywords = {k.arg or "": k.value for k in call.keywords}
        if isinstance(call.func, ast.Attribute) and call.func.attr == "fill":
            self.fill(call.func.value)
            effect = Effect()
        else:
            effect = self.effect(walk.called(call), walk.is_kernel(call), keywords)
        for i, argument in enumerate(call.args):
            if i in effect.fills:
                self.fill(argument)
            else:
                self.reads += walk.reads(argument, statement)
        for name, value in keywords.items():
            if name == "out":
                self.fill(value)
            else:
                self.reads += walk.reads(value, statement)

    def effect(self, name: str, kernel: bool, keywords: Mapping[str, ast.expr]) -> Effect:
        if (kernel or fills(name)) and "out" in keywords and "where" not in keywords:
            return Effect()
        if name not in CALLS:
            raise Unclear(f"line {self.statement.lineno}: nothing is known of {name}")
        found = CALLS[name]
        # Where a mask is given the rest keeps what it had: so it must have something.
        return Effect(changes=found.fills) if "where" in keywords else found

    def fill(self, node: ast.expr) -> None:
        found = self.walk.operand(node)
        if found is None:
            raise Unclear(f"line {self.statement.lineno} writes to what is no buffer")
        self.fills.append(found)


def at_step(operand: list[Region | None], t: int, access: Access) -> Region | None:
    if not 0 <= t < len(operand):
        raise Unclear(f"line {access.statement.lineno}: there is no row {t}")
    return operand[t]
