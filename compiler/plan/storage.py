"""What a program takes in memory, for a number of examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from math import prod
from operator import or_

from dln.compiler.plan.program import Buffer, Program, at, product
from dln.compiler.schema.shards import PARTS, SharedValue
from dln.grammar.record import Record

ALIGNMENT = 256
"""Bytes that the start of every piece of an arena is a multiple of."""


def item_size(kind: str, dtype: str) -> int:
    """Bytes of one element of a kind, in a precision."""
    return {"index": 8, "bool": 1}.get(kind) or (8 if dtype == "float64" else 4)


def buffer_bytes(program: Program, buffer: Buffer, n: int) -> int:
    """Bytes of a buffer for n examples."""
    return at(product(buffer.shape), n) * item_size(buffer.kind, program.dtype)


def beneath(program: Program) -> Sequence[Sequence[int]]:
    """Of each slot those that it lies above: of a program that does not say, the one before it."""
    return program.below or [range(max(i - 1, 0), i) for i in range(len(program.slots))]


def slot_offsets(program: Program, n: int) -> list[int]:
    """Where each slot of the arena starts for n examples, and after the last one its length."""
    starts, ends = list[int](), list[int]()
    for slot, below in zip(program.slots, beneath(program), strict=True):
        starts.append(max((ends[k] for k in below), default=0))
        ends.append(starts[-1] + -(-at(slot, n) // ALIGNMENT) * ALIGNMENT)
    return [*starts, max(ends, default=0)]


def sharing(program: Program) -> list[int]:
    """Of each slot the slots that may share memory with it, as bits: those of which neither lies
    below the other, for whatever number of examples."""
    under, over = list[int](), [0] * len(program.slots)
    for below in beneath(program):
        under.append(reduce(or_, (under[k] | 1 << k for k in below), 0))
    for i, below in reversed(list(enumerate(beneath(program)))):
        for k in below:
            over[k] |= over[i] | 1 << i
    every = (1 << len(program.slots)) - 1
    return [every & ~(a | b | 1 << i) for i, (a, b) in enumerate(zip(under, over, strict=True))]


def arena_bytes(program: Program, n: int) -> int:
    """Bytes of the arena for n examples."""
    return slot_offsets(program, n)[-1]


def memory(program: Program, n: int) -> dict[str, int]:
    """Bytes by place for n examples: arena, whole, param, state, input, value, const, scalar."""
    found = {"arena": arena_bytes(program, n)}
    for place in ("whole", "param", "state", "input", "value", "const", "scalar"):
        mine = (b for b in program.buffers if b.place == place)
        found[place] = sum(buffer_bytes(program, b, n) for b in mine)
    return found


def scratch(program: Program, n: int) -> int:
    """Bytes that the hungriest of a program's operations takes for itself while it works."""
    sizes = {b.name: (at(product(b.shape), n), b) for b in program.buffers}
    found = 0
    for line in program.lines:
        if line.call is not None and line.call.function in HUNGRY and line.writes in sizes:
            numbers, buffer = sizes[line.writes]
            fixed, own = HUNGRY[line.call.function]
            found = max(found, numbers * (fixed + own * item_size(buffer.kind, program.dtype)))
    return found


HUNGRY = {"warp": (32, 5), "sum_by_class": (0, 1)}
"""Kernels that take memory of their own: bytes for each number of the result, and times its own."""


# ---- sums over shards ----------------------------------------------------------------------------

LINE = 16
"""Numbers at a multiple of which a sum begins: a cache line of them, or two."""


class SumLayout(Record):
    """How what a shard adds to sums lies in its row of `numbers`: where each begins, by key, and
    from where to where the sums, the largest and the smallest lie, as far as there are any."""

    numbers: int
    places: Mapping[str, int]
    segments: Mapping[str, tuple[int, int]]


def sum_layout(program: Program) -> SumLayout:
    """How the sums lie that the program of a shard leaves."""
    places, segments, stop = dict[str, int](), dict[str, tuple[int, int]](), 0
    keys = {b.key: SharedValue.parse(b.key) for b in program.values}
    for how in PARTS:
        start = stop
        for b in program.values:
            key = keys[b.key]
            if key is not None and key.kind == how:
                places[b.key] = stop
                stop += -(-prod(b.shape_at(0)) // LINE) * LINE
        if stop > start:
            segments[how] = start, stop
    return SumLayout(stop, places, segments)
