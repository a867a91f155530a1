"""What ranks send for an update, how long that takes, and from how many examples it pays.

All of it follows from the plan: the sums that each shard leaves, the programs that are run for a
shard and for all, a latency and a bandwidth that are stated, and what was measured of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from dln.compiler.plan import PhaseSpec, Plan, Program, at, item_size, memory, sum_layout
from dln.runtime.device.limits import Limits
from dln.runtime.ranks.messages import SINGLE, sliced

MOST = 1 << 24  # examples of an update, beyond which nobody asks
# Of Python, in calls of the machine: a round of messages, one of them, what is around an update.
ROUND, MESSAGE, AROUND = 50.0, 4.0, 20.0
SHORT = 4.0  # examples of products that take twice as long for each as those of many do
GATHERED = 4.0  # bytes moved at the rate of memory for one that is gathered from anywhere in a set


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
    own, call = ceil(shards / ranks), 1 / most.calls
    messages = [message(size, shards, ranks) for size in sums if ranks > 1]
    times = sum(m.times for m in messages)
    begun = times * link.latency + call * sum(ROUND + m.each * MESSAGE for m in messages)
    waited = begun + sum(max(m.received, m.sent) for m in messages) / link.bandwidth
    step, beside = plan.programs[spec.step], (shards + 1) * sum(sums)

    def around(examples: int) -> float:
        """What is done for an update in which so many examples are gathered."""
        return AROUND * call + GATHERED * memory(step, examples)["input"] / most.memory

    def alone(examples: int) -> float:
        return seconds(step, examples, most) + around(examples)

    def added(ranks: int) -> float:
        cut = (size / ranks if sliced(shards, ranks, size) else size for size in sums)
        return sum((shards - 1) * (call + 3 * k / most.rate(beside)) for k in cut)

    def computing(examples: int, own: int, ranks: int) -> float:
        rows = ceil(examples / shards)
        kept = (memory(s, rows)["value"] - sum_bytes(s) for s, _ in rounds if s is not None)
        held = beside + own * sum(kept)  # rows for later rounds among them
        parts = sum(seconds(s, rows, most, held) for s, _ in rounds if s is not None and examples)
        joins = sum(seconds(j, examples, most, beside) for _, j in rounds)
        mine = min(own, examples)
        return mine * parts + joins + added(ranks) + around(min(mine * rows, examples))

    def pays(examples: int) -> bool:
        return computing(examples, own, ranks) + waited < alone(examples)

    received, sent = sum(m.received for m in messages), sum(m.sent for m in messages)
    on_wire = sum(m.wire for m in messages)
    rank, found = computing(n, own, ranks), least(pays) if ranks > 1 else None
    return Wire(spec.name, n, shards, ranks, times or len(sums), sum(sums), received, sent, on_wire,
                waited, alone(n), computing(n, shards, 1), rank, found)  # fmt: skip


class Message(NamedTuple):
    """What the sums of a round come to on the wire: so many times a rank waits for messages, of
    which one receives and sends `each` at most; the most bytes that a rank receives and sends, and
    those of all."""

    times: int
    each: int
    received: int
    sent: int
    wire: int


def message(size: int, shards: int, ranks: int) -> Message:
    """Of sums of so many bytes from each shard."""
    own, few, others = ceil(shards / ranks), shards // ranks, ranks - 1
    count = shards - few + own * others if size >= SINGLE else 2 * others
    if not sliced(shards, ranks, size):
        return Message(1, count, (shards - few) * size, own * others * size, shards * others * size)
    cut = ceil(size / ranks)
    return Message(2, count + 2 * others, (shards - few + others) * cut, (own + 1) * others * cut,
                   (shards + ranks) * others * cut)  # fmt: skip


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


def seconds(program: Program, n: int, most: Limits, beside: float = 0.0) -> float:
    """How long a run on n examples takes, where so many bytes `beside` its own are gone through
    between two runs."""
    rate = most.rate(sum(memory(program, n).values()) + beside)
    most_flops = most.flops * n / (n + SHORT)
    each = ((at(x.flops, n), at(x.bytes, n), x.times) for x in program.lines)
    return sum(
        times * (1 / most.calls + flops / most_flops + moved / rate) for flops, moved, times in each
    )
