"""An update in shards: what each shard of a minibatch leaves is added up in the order of the
shards, whoever has worked it out and when.

A round has one array of sums, [shards, numbers]: each shard's program writes into its row, so that
one message hands on what a rank has done, and one statement for each shard adds it up. What is made
of the sums is worked out by every rank for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from math import inf, nan, prod
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import (
    FIRST,
    LINE,
    PARTS,
    ROWS,
    Buffer,
    Clock,
    Program,
    SharedValue,
    item_size,
    sum_layout,
)
from dln.runtime.device.device import Device, DeviceArray
from dln.runtime.device.governor import Governor
from dln.runtime.device.side_by_side import Lanes
from dln.runtime.execution.executable import Bound, Executable, Stopped, SumError, dtype_of
from dln.runtime.ranks.ranks import Ranks, nothing

Made = Callable[[Program], Executable]
Added = tuple[Callable[..., Any], DeviceArray, DeviceArray, DeviceArray]
NO_CHANGE = nullcontext()
NOTHING = dict(zip(PARTS, (0.0, -inf, inf), strict=True))
"""What a shard without rows leaves of a sum or an extreme."""


def rows_of_shard(n: int, shards: int, shard: int) -> range:
    """The rows of one shard of a minibatch of n examples: the shards are as even as they can be,
    and where there are fewer examples than shards some are empty.

    >>> [list(rows_of_shard(5, 3, i)) for i in range(3)]
    [[0], [1, 2], [3, 4]]
    """
    return range(n * shard // shards, n * (shard + 1) // shards)


# ---- sums ----------------------------------------------------------------------------------------


class Sums:
    """The sums of a round: `parts` [shards, numbers] has a row for each shard, `whole` [numbers] is
    what they come to. Each begins at a multiple of `line` numbers."""

    line = LINE

    def __init__(self, device: Device, program: Program, shards: int) -> None:
        layout = sum_layout(program)
        self.shapes = {b.key: b.shape_at(0) for b in program.values if b.key in layout.places}
        self.places = layout.places
        raw = device.empty((shards + 1) * layout.numbers * item_size("real", program.dtype))
        both = device.view(raw, 0, (shards + 1, layout.numbers), program.dtype)
        both[...] = 0.0
        self.parts, self.whole = both[:shards], both[shards]
        self.segments = {how: slice(*ends) for how, ends in layout.segments.items()}
        xp = device.xp
        self._joins = dict(zip(PARTS, (xp.add, xp.maximum, xp.minimum), strict=True))
        self._all = self._of(range(layout.numbers))
        self._some: dict[range, list[Added]] = {}

    def _of(self, numbers: range) -> list[Added]:
        """What adds up some of the numbers: a join, what it is given, and where it leaves that."""
        ends = ((how, (at.start, at.stop)) for how, at in self.segments.items())
        cut = ((how, max(low, numbers.start), min(high, numbers.stop)) for how, (low, high) in ends)
        held = [(self._joins[how], slice(low, high)) for how, low, high in cut if low < high]
        return [
            (join, self.whole[at] if i > 1 else self.parts[0, at], self.parts[i, at],
             self.whole[at])
            for join, at in held for i in range(1, len(self.parts))
        ]  # fmt: skip

    def add(self, numbers: range | None = None) -> None:
        """The shards' parts added up, in their order: all of the sums, or some of their numbers.
        Raises `SumError` where NumPy does."""
        if numbers is not None and numbers not in self._some:
            self._some[numbers] = self._of(numbers)
        try:
            for join, first, second, out in self._all if numbers is None else self._some[numbers]:
                join(first, second, out=out)
        except FloatingPointError as error:
            whole = ((k, self._added(k)) for k in self.places)
            key = next((k for k, a in whole if not np.isfinite(a).all()), "")
            raise SumError(str(error), key) from error

    def _added(self, key: str) -> NDArray[Any]:
        """One sum [...] over all shards, as far as they can be added up."""
        start, stop = self.places[key], self.places[key] + prod(self.shapes[key])
        with np.errstate(all="ignore"):
            total: NDArray[Any] = self.parts[:, start:stop].sum(axis=0)
        return total

    def clear(self, shard: int) -> None:
        """What a shard leaves that has no rows."""
        for how, at in self.segments.items():
            self.parts[shard, at] = NOTHING[how]

    def of(self, shard: int | None) -> dict[str, DeviceArray]:
        """The sums by their keys, each of its shape: of a shard where its program writes them, or
        of all."""
        row = self.whole if shard is None else self.parts[shard]
        starts = self.places.items()
        shapes = self.shapes
        return {k: row[at : at + prod(shapes[k])].reshape(shapes[k]) for k, at in starts}


# ---- a step bound to a minibatch -----------------------------------------------------------------


@dataclass(frozen=True)
class BoundRound:
    """A program of a round on what it is bound to, whose arguments are those of the step at the
    places `clocks`; `first` is the number of its first row in the minibatch, `shard` that of the
    shard."""

    executable: Executable
    bound: Bound
    clocks: Sequence[int]
    first: int
    shard: int = 0


class ShardedBound(Bound):
    """A step in shards bound to the arrays of a minibatch of n examples, of which this rank has
    `rows`: an input has a row for each of these. In `rounds` each thread has parts of its own."""

    def __init__(self, step: ShardedStep, n: int) -> None:
        self.n, self.step, self.call, self.ranks = n, step, None, step.ranks
        numbers = self.ranks.share(step.shards)
        self.shards = [(i, rows_of_shard(n, step.shards, i)) for i in numbers]
        low = self.shards[0][1].start if self.shards else 0
        high = self.shards[-1][1].stop if self.shards else 0
        self.rows = None if high - low == n else slice(low, high)
        filled = [(i, rows) for i, rows in self.shards if rows]
        governor = step.governor(n, len(filled))
        self.lanes = None if governor is None else cast(Lanes, governor.pool)
        self.inputs = {b.key: self._new(b, high - low) for b in step.program.inputs}
        self.values: dict[str, DeviceArray] = {}
        self.buffers: dict[str, Any] = {}
        self.rounds: list[tuple[list[list[BoundRound]], Sums | None, BoundRound]] = []
        known: dict[str, DeviceArray] = {}
        kept: dict[int, dict[str, DeviceArray]] = {i: {} for i, _ in filled}
        count = 1 if self.lanes is None else self.lanes.most
        for number, (shard, join) in enumerate(step.programs):
            sums, parts = None, [list[BoundRound]() for _ in range(count)]
            if shard is not None:
                sums = Sums(step.device, shard, step.shards)
                for i in (i for i, rows in self.shards if not rows):
                    sums.clear(i)
                for place, (i, rows) in enumerate(filled):
                    lane = place * count // len(filled)
                    given = {**self._fields(rows, low), **known, **kept[i], **sums.of(i)}
                    executable = step.shard(number, lane)
                    if self.lanes is not None:  # threads go to shards, not to their products
                        executable.governors[len(rows)] = None
                    parts[lane].append(self._part(executable, rows, given, kept[i], i))
                known |= sums.of(None)
            made = self._part(step.joins[number], range(n), known, known)
            self.rounds.append((parts, sums if sums and sums.places else None, made))
            left = (b for b in join.values if SharedValue.parse(b.key) is None)
            self.values |= {b.key: made.bound.buffers[b.name] for b in left}
        self.at = self.rounds[0][2]
        self.run = self.update if governor is None else governor.over(self.update)

    def _new(self, buffer: Buffer, n: int) -> DeviceArray:
        """A new array for a buffer, for n rows."""
        device, shape = self.step.device, buffer.shape_at(n)
        dtype = dtype_of(self.step.program, buffer)
        width = item_size(buffer.kind, self.step.program.dtype)
        return device.view(device.empty(prod(shape) * width), 0, shape, dtype)

    def _fields(self, rows: range, low: int) -> dict[str, DeviceArray]:
        """The fields of a shard's rows."""
        return {key: a[rows.start - low : rows.stop - low] for key, a in self.inputs.items()}

    def _part(
        self, executable: Executable, rows: range, given: Mapping[str, DeviceArray],
        left: dict[str, DeviceArray], shard: int = 0,
    ) -> BoundRound:  # fmt: skip
        """A program on some rows: what it is `given` by key, and what it leaves in `left`."""
        step, arrays = self.step, dict[str, DeviceArray]()
        for b in executable.program.buffers:
            if b.place == "input" or (b.place == "value" and b.key in given):
                arrays[b.name] = given[b.key]
            elif b.place == "value":
                arrays[b.name] = left[b.key] = self._new(b, len(rows))
            elif b.place == "state" and b.shape and b.shape[0][1]:
                arrays[b.name] = step.states[b.key][rows.start : rows.stop]
        bound = executable.over(len(rows), arrays)
        places = [step.arguments.index(clock) for clock in executable.program.clocks]
        return BoundRound(executable, bound, places, rows.start, shard)

    def update(self, *clocks: float) -> None:
        """One update; the arguments are the clocks of the step."""
        ranks, lanes, last = self.ranks, self.lanes, self.rounds[-1][-1]
        for parts, sums, join in self.rounds:
            if ranks.count > 1 and sums is not None:
                meanwhile = self.meanwhile if join is last else nothing
                self._shared(parts[0], clocks, sums, join, meanwhile)
            else:
                if lanes is not None and lanes.count > 1:
                    self._beside(lanes, parts, clocks)
                else:
                    for lane in parts:
                        self._along(lane, clocks, self._seen)
                if sums is not None:
                    self.at = next(
                        (p for lane in parts for p in lane), join
                    )  # whose sums these are
                    sums.add()
            self.at = join
            join.bound.run(*[clocks[i] for i in join.clocks])

    def _shared(
        self, parts: Sequence[BoundRound], clocks: Sequence[float], sums: Sums, join: BoundRound,
        meanwhile: Callable[[], None],
    ) -> None:  # fmt: skip
        """The shards of this rank, each handed on as soon as it is done; then all of them summed,
        where something else is done while messages are under way."""
        ranks, device = self.ranks, self.step.device
        ranks.begin(sums)
        if self.tried:
            self._trying(parts, clocks, sums)
        else:
            for part in parts:
                self._along((part,), clocks, self._seen)
                device.wait()
                ranks.hand_on(part.shard)
        self.at = parts[0] if parts else join  # whose sums these are
        device.wait()
        with np.errstate(all="ignore") if self.tried else NO_CHANGE:
            ranks.add_up(sums, meanwhile)

    def again(self, *clocks: float) -> None:
        """The program that ran last, alone."""
        known = (*clocks, float(self.at.first), float(self.n))
        self.at.bound.run(*[known[i] for i in self.at.clocks])

    def _trying(self, parts: Sequence[BoundRound], clocks: Sequence[float], sums: Sums) -> None:
        """The shards of a point that is only tried: where numbers are left there is no number for
        any rank, and all of them go on alike."""
        try:
            self._along(parts, clocks, self._seen)
        except FloatingPointError:
            for i, _ in self.shards:
                sums.parts[i] = nan

    def _along(
        self,
        parts: Sequence[BoundRound],
        clocks: Sequence[float],
        seen: Callable[[BoundRound], None],
    ) -> None:
        """Some shards, one after the other; each is `seen` before it runs."""
        for part in parts:
            seen(part)
            known = (*clocks, float(part.first), float(self.n))
            part.bound.run(*[known[i] for i in part.clocks])

    def _seen(self, part: BoundRound) -> None:
        self.at = part

    def _beside(
        self, lanes: Lanes, parts: Sequence[Sequence[BoundRound]], clocks: Sequence[float]
    ) -> None:
        """All shards, on several threads. Raises what the first of them in their order does, as it
        would alone."""
        seen = [[self.at] for _ in parts]
        calls = [
            partial(self._along, lane, clocks, last.append)
            for lane, last in zip(parts, seen, strict=True)
        ]
        for last, error in zip(seen, lanes.run(calls), strict=True):
            if error is not None:
                self.at = last[-1]
                raise error


class ShardedStep(Executable):
    """A step cut into `rounds` of a program for each shard and one for their sums, as an executable
    is: bound to n examples, run, looked into where it fails.

    `program` is the undivided step, of which the facts are asked; `ranks` are asked for at each
    binding; `made` makes a program of a round
    ready on the arrays of the phase.
    """

    def __init__(
        self, program: Program, rounds: Sequence[tuple[Program | None, Program]], shards: int,
        ranks: Callable[[], Ranks], made: Made,
    ) -> None:  # fmt: skip
        self.programs, self.shards, self._ranks, self._made = rounds, shards, ranks, made
        self.joins = [made(join) for _, join in rounds]
        self._shards: dict[tuple[int, int], Executable] = {}
        every = [p for pair in rounds for p in pair if p is not None]
        clocks = dict.fromkeys(c for p in every for c in p.clocks)
        asked = tuple(c for c in clocks if c not in (FIRST, ROWS))
        self.arguments: tuple[Clock, ...] = (*asked, FIRST, ROWS)
        self.program = program.changed(clocks=asked)
        first = self.joins[0]
        self.device, self.params, self.states = first.device, first.params, first.states
        self.governors: dict[int, Governor | None] = {}
        self._cut: dict[int, ShardedBound] = {}

    def shard(self, number: int, lane: int) -> Executable:
        """The program of a round for shards, made ready once for each thread."""
        program = self.programs[number][0]
        assert program is not None
        if (number, lane) not in self._shards:
            made = self._shards[number, lane] = self._made(program)
            made.rebind(self.params, self.states)
        return self._shards[number, lane]

    @property
    def executables(self) -> list[Executable]:
        """All programs that have been made ready."""
        return [*self._shards.values(), *self.joins]

    def governor(self, n: int, parts: int) -> Governor | None:
        """Who chooses whether the shards of a minibatch go side by side."""
        if n not in self.governors:
            alone = self.ranks.count == 1 and parts > 1
            self.governors[n] = self.device.beside(self.program, n, parts) if alone else None
        return self.governors[n]

    @property
    def ranks(self) -> Ranks:
        """Who works out the shards, now."""
        return self._ranks()

    def at(self, n: int) -> ShardedBound:
        """The step bound for n examples; made once for each n."""
        if n not in self._cut:
            self._cut[n] = ShardedBound(self, n)
        return self._cut[n]

    def held(self, n: int) -> ShardedBound | None:
        """The step bound for n examples, if it is."""
        return self._cut.get(n)

    def rebind(self, params: dict[str, Any], states: dict[str, Any]) -> None:
        """Use other arrays for parameters and states, or the same dictionaries changed."""
        self.params, self.states = params, states
        for executable in self.executables:
            executable.rebind(params, states)
        self._cut.clear()

    def release(self) -> None:
        """Give the memory back; it is taken again at the next `at`."""
        self._cut.clear()
        for executable in self.executables:
            executable.release()

    # ---- when a step fails ---------------------------------------------------------------------

    def failed(self, bound: Bound | None) -> tuple[Executable, Bound | None, int]:
        """The program that ran last, what it was bound to, and its first row in the minibatch."""
        if not isinstance(bound, ShardedBound):
            return self.joins[0], None, 0
        return bound.at.executable, bound.at.bound, bound.at.first

    def operands(self, n: int, stopped: Stopped, bound: Bound | None = None) -> list[Any] | None:
        executable, bound, _ = self.failed(bound)
        return executable.operands(n if bound is None else bound.n, stopped, bound)

    def stopped(self, error: BaseException) -> Stopped | None:
        """Where in a program an error came out of it, if it did."""
        return next(filter(None, (e.stopped(error) for e in self.executables)), None)

    def changed(self, stopped: Stopped) -> bool:
        """Whether parameters or states may have changed in a run before it stopped."""
        return True
