"""Data sets that the ranks of a run keep together: each machine has a block of the examples once,
filled in by its ranks.

Examples that can be read by rows each rank reads for itself: those of its chunks. What can only be
read whole, as a table or a packed file, the first rank of a machine reads and makes into fields;
the others never have it. What is known of all examples (classes by which a set is divided, means by
which fields are standardised) the first rank of all works out and hands on. Chunks are those of
one process, and so are the bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeVar, cast

from dln.compiler.plan import DataSpec, Plan
from dln.runtime.data.measures import Numbers
from dln.runtime.ranks.common import Forms, Machine, SharedRoom
from dln.runtime.ranks.ranks import Ranks

LEAST = 16 << 20  # bytes of a set from which on it is kept together: less is read as quickly
Value = TypeVar("Value")


def kept_together(plan: Plan, spec: DataSpec, ranks: int) -> bool:
    """Whether so many ranks keep a set together: a large one that no program reads whole."""
    if ranks == 1 or any(field.data == spec.name for field in plan.wholes):
        return False
    numbers = (sum(prod(f.shape) for f in some) for some in (spec.fields, spec.raw))
    return spec.count * max(numbers) * 8 >= LEAST


class Together:
    """How the ranks of a run keep its data sets. All that are asked for anything of a set that is
    `shared` are asked at once."""

    def __init__(
        self, ranks: Callable[[], Ranks], plan: Plan, measured: dict[str, Numbers], host: bool
    ) -> None:
        self._ranks, self._measured, self._host = ranks, measured, host
        self._plan = plan
        self._machine: Machine | None = None
        self._alone = 0

    def shared(self, spec: DataSpec) -> bool:
        """Whether a set is one that all ranks keep together, and they are asked for it now."""
        return self.concerns(spec) and not self._alone

    def concerns(self, spec: DataSpec) -> bool:
        """Whether all ranks keep a set together: a large one that no program reads whole, in the
        memory of the machine itself."""
        return self._host and kept_together(self._plan, spec, self._ranks().count)

    def first(self, spec: DataSpec, make: Callable[[], Value]) -> Value:
        """What is known of all examples of a set, plain data or arrays of the host; where ranks
        keep it together the first one makes it, for all, with what it has measured on the way."""
        ranks = self._ranks()
        if not self.shared(spec):
            return make()
        if ranks.index:
            made, measured = ranks.first(cast(tuple[Value, dict[str, Numbers]], None))
            self._measured.update(measured)
            return made
        self._alone += 1
        try:
            made = make()
        finally:
            self._alone -= 1
        return ranks.first((made, self._measured))[0]

    def room(self, forms: Forms, chunks: Sequence[tuple[int, int]]) -> SharedRoom | None:
        """Room for arrays that all ranks of the machine see, those of its chunks; None where there
        is no such memory, and each has its own."""
        if self._machine is None:
            self._machine = Machine(self._ranks())
        ends = [0, *(high for _, high in chunks)]
        blocks = self._machine.blocks(len(chunks))
        return self._machine.room(forms, [range(ends[b.start], ends[b.stop]) for b in blocks])

    def chunks(self, count: int, by_rows: bool) -> range:
        """Which of so many chunks of examples this rank fills in, of those of its machine."""
        machine = self._machine
        assert machine is not None
        block, n, index = machine.blocks(count)[machine.number], machine.count, machine.index
        if not by_rows:
            return block if index == 0 else range(0)
        low, high = (block.start + len(block) * i // n for i in (index, index + 1))
        return range(low, high)
