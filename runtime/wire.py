"""What ranks send for an update, how long that takes, and from how many examples it pays.

All of it follows from the plan: the sums that each shard leaves, the programs that are run for a
shard and for all, a latency and a bandwidth that are stated, and what this machine does at most. A
step takes longer than that, alone and in ranks alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from dln.compiler.plan import PhaseSpec, Plan, Program, at, item_size, sum_layout
from dln.runtime.device.limits import Limits
from dln.runtime.ranks.messages import sliced

CALL = 1.5e-6  # seconds of a statement that has next to nothing to do
MOST = 1 << 24  # examples of an update, beyond which nobody asks
MESSAGE = 2e-6  # seconds that it takes Python to send one message, and to receive it


@dataclass(frozen=True)
class Link:
    """Seconds until a message begins to arrive, and bytes a second of each machine."""

    latency: float
    bandwidth: float


@dataclass(frozen=True)
class Wire:
    """An update of a phase on `examples`, in `shards` dealt to `ranks`.

    In so many `rounds` of messages go the `sums` bytes that a shard leaves. The rank with most
    receives `received` and sends `sent` bytes, and `wire` go over the network in all. Seconds are
    those of computing: by one process, undivided, `alone`, and in shards, `divided`; by one `rank`;
    and of messages, on the `network`. It pays from `pays` examples on, where that is ever.
    """

    phase: str
    examples: int
    shards: int
    ranks: int
    rounds: int
    sums: int
    received: int
    sent: int
    wire: int
    network: float
    alone: float
    divided: float
    rank: float
    pays: int | None

    @property
    def together(self) -> float:
        """Seconds of an update in ranks."""
        return self.rank + self.network


def wires(plan: Plan, ranks: int, link: Link, most: Limits) -> Iterator[Wire]:
    """What each phase that sums over shards costs in so many ranks, on a full minibatch."""
    for spec in plan.phases.values():
        if spec.cuts and (spec.shards or 1) > 1:
            rows = spec.rows or plan.data[spec.data].parts[spec.part].count
            found = wire(plan, spec, min(spec.batch or rows, rows), ranks, link, most)
            if found.sums:
                yield found


def wire(plan: Plan, spec: PhaseSpec, n: int, ranks: int, link: Link, most: Limits) -> Wire:
    """An update of a phase on n examples, of the first step where they differ."""
    shards = spec.shards or 1
    rounds = [
        (None if r.shard is None else plan.programs[r.shard], plan.programs[r.join])
        for r in spec.cuts[0]
    ]
    sums = [sum_bytes(shard) for shard, _ in rounds if shard is not None]
    sums = [size for size in sums if size]
    own = ceil(shards / ranks)
    messages = [message(size, shards, ranks) for size in sums if ranks > 1]
    times = sum(m.times for m in messages)
    begun = times * (link.latency + (ranks - 1) * MESSAGE)
    waited = begun + sum(max(m.received, m.sent) for m in messages) / link.bandwidth

    def added(ranks: int) -> float:
        cut = (size / ranks if sliced(shards, ranks, size) else size for size in sums)
        return sum((shards - 1) * (CALL + 3 * k / most.bytes(3 * k)) for k in cut)

    step = plan.programs[spec.step]

    def computing(examples: int, own: int, ranks: int) -> float:
        rows = ceil(examples / shards)
        parts = sum(seconds(s, rows, most) for s, _ in rounds if s is not None and examples)
        joins = sum(seconds(j, examples, most) for _, j in rounds)
        return min(own, examples) * parts + joins + added(ranks)

    def pays(examples: int) -> bool:
        return computing(examples, own, ranks) + waited < seconds(step, examples, most)

    received, sent = sum(m.received for m in messages), sum(m.sent for m in messages)
    on_wire = sum(m.wire for m in messages)
    alone, divided = seconds(step, n, most), computing(n, shards, 1)
    rank, found = computing(n, own, ranks), least(pays) if ranks > 1 else None
    return Wire(spec.name, n, shards, ranks, times or len(sums), sum(sums), received, sent,
                on_wire, waited, alone, divided, rank, found)  # fmt: skip


class Message(NamedTuple):
    """What the sums of a round come to on the wire: so many times a message from each rank to each
    other one; the most bytes that a rank receives and sends, and those of all."""

    times: int
    received: int
    sent: int
    wire: int


def message(size: int, shards: int, ranks: int) -> Message:
    """Of sums of so many bytes from each shard."""
    own, few = ceil(shards / ranks), shards // ranks
    if not sliced(shards, ranks, size):
        return Message(1, (shards - few) * size, own * (ranks - 1) * size,
                       shards * (ranks - 1) * size)  # fmt: skip
    cut = ceil(size / ranks)
    return Message(2, (shards - few) * cut + (ranks - 1) * cut, (own + 1) * (ranks - 1) * cut,
                   (shards + ranks) * (ranks - 1) * cut)  # fmt: skip


def least(pays: Callable[[int], bool]) -> int | None:
    """From how many examples on something pays, which pays with more where it does with fewer;
    None where it never does."""
    high = 1
    while not pays(high):
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if pays(middle) else (middle, high)
    return high


def sum_bytes(program: Program) -> int:
    """The bytes of the sums that a shard's program leaves."""
    return sum_layout(program).numbers * item_size("real", program.dtype)


def seconds(program: Program, n: int, most: Limits) -> float:
    """How long a run on n examples takes at least."""
    each = ((at(x.flops, n), at(x.bytes, n), x.times) for x in program.lines)
    return sum(
        times * (CALL + max(flops / most.flops, moved / most.bytes(moved)))
        for flops, moved, times in each
    )
