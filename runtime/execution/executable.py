"""A program made ready to run: its text checked and compiled, its buffers in memory."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from traceback import walk_tb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import Buffer, Line, Program, arena_bytes, buffer_bytes, memory, slot_offsets
from dln.grammar.diagnostics import Fault
from dln.runtime.device.device import Device
from dln.runtime.device.governor import Governor
from dln.runtime.execution.calls import ArrayCall
from dln.runtime.execution.sandbox import filename, load
from dln.runtime.ranks.ranks import nothing

DTYPES = {"index": "int64", "bool": "bool"}
POISON = {"float32": (4, 0x7FA5A5A5), "float64": (8, 0x7FF4A5A5A5A5A5A5)}
"""A signalling NaN of each precision: its bytes, and what they are as a whole number."""


class Bound:
    """A program bound to buffers for n examples.

    Fill `inputs`, call `run(*clocks)`, read `values`; new parameters are in their own arrays.
    `call` is how Python has called it last. `rows` are the examples of a minibatch that its inputs
    have a row for: None is all of them. Where points are only `tried`, as along a line, one that
    leaves the numbers has no loss. `meanwhile` is called in a run where its last messages are under
    way, and may fill in other inputs; it is for the caller to set.
    """

    rows: slice | None = None
    tried = False
    meanwhile: Callable[[], None] = staticmethod(nothing)

    def __init__(self, n: int, program: Program, buffers: dict[str, Any]) -> None:
        self.n, self.buffers = n, buffers
        self.inputs = {b.key: buffers[b.name] for b in program.inputs}
        self.values = {b.key: buffers[b.name] for b in program.values}
        self.run: Callable[..., None]
        self.call: ArrayCall | None = None

    def again(self, *clocks: float) -> None:
        """What has failed once more, at other clocks."""
        self.run(*clocks)


class Executable:
    """A program with its parameters on a device.

    `params` and `states` are arrays of the device, by path, updated in place; `wholes` are fields
    of whole parts of data, only read. `governors` choose the threads of its runs, by the number of
    examples. `more` are names that the text sees beside its own. Raises
    `Fault` where an array is missing or has another shape or precision, or where memory would not
    suffice.
    """

    def __init__(
        self, program: Program, device: Device, params: dict[str, Any], states: dict[str, Any],
        seed: int = 0, wholes: Mapping[str, Any] | None = None, **more: object,
    ) -> None:  # fmt: skip
        self.program, self.device, self.seed = program, device, seed
        self.params, self.states, self.wholes = params, states, wholes or {}
        self._bind = load(program, device, **more)
        given: Mapping[str, Any] = program.constants
        self._constants = {
            b.name: device.array(given[b.name], dtype_of(program, b)) for b in self._own("const")
        }
        self._bounds: dict[int, Bound] = {}
        self.governors: dict[int, Governor | None] = {}
        self._held = 0
        self._storage: dict[str, Any] = {}
        for buffer in self._own("param") + self._own("state") + self._own("whole"):
            self._array(buffer)

    def at(self, n: int) -> Bound:
        """The program bound for n examples; made once for each n.

        Memory is taken anew when more examples come: whoever has several sizes begins with the
        largest. Raises `Fault` where n is below 1, or where memory would not suffice.
        """
        if n not in self._bounds:
            if n < 1:
                raise Fault(f"a program runs on at least one example, not {n}")
            if n > self._held:
                self._reserve(n)
            self._bounds[n] = self._bound(n, self._arrays(n))
        return self._bounds[n]

    def _run(self, n: int, arrays: dict[str, Any]) -> Callable[..., None]:
        """The program on arrays for n examples, with as many threads as pays."""
        if n not in self.governors:
            self.governors[n] = self.device.governor(self.program, n)
        governor = self.governors[n]
        if governor is None:
            return self._bind(self.device.xp, n, self.seed, arrays)
        return governor.over(self._bind(governor.pool.xp, n, self.seed, arrays))

    def over(self, n: int, given: Mapping[str, Any]) -> Bound:
        """The program on n examples, with arrays `given` in the place of buffers by name."""
        if n > self._held:
            self._reserve(n, given)
        return self._bound(n, self._arrays(n, given))

    def _bound(self, n: int, arrays: dict[str, Any]) -> Bound:
        bound = Bound(n, self.program, arrays)
        bound.run = self._run(n, arrays)
        if self.device.poisons:
            bound.run = partial(run_poisoned, self._spoilt(n), bound.run)
        return bound

    def held(self, n: int) -> Bound | None:
        """The program bound for n examples, if it is."""
        return self._bounds.get(n)

    def rebind(self, params: dict[str, Any], states: dict[str, Any]) -> None:
        """Use other arrays for parameters and states, or the same dictionaries changed."""
        self.params, self.states = params, states
        self._bounds.clear()

    def release(self) -> None:
        """Give the memory back; it is taken again at the next `at`."""
        self._bounds.clear()
        self._storage.clear()
        self._held = 0

    def _spoilt(self, n: int) -> list[tuple[Any, int]]:
        """The memory that a run on n examples must write before it reads it, the arena and the
        values, and the words to spoil it with.

        Whatever is made of a signalling NaN is an error or a NaN; as a place it is out of any
        bounds, as a truth value neither true nor false.
        """
        width, word = POISON[self.program.dtype]
        own = (b for b in self._own("value") if b.name in self._storage)
        sizes = {b.name: buffer_bytes(self.program, b, n) for b in own}
        sizes["arena"] = arena_bytes(self.program, n)
        raws = [self._storage[name][:size] for name, size in sizes.items() if size]
        numbers = [(r.view(f"uint{8 * width}"), word) for r in raws if r.size % width == 0]
        return numbers + [(r, word % 256) for r in raws if r.size % width]  # truth values

    # ---- memory --------------------------------------------------------------------------------

    def _own(self, place: str) -> list[Buffer]:
        return [b for b in self.program.buffers if b.place == place]

    def _reserve(self, n: int, given: Container[str] = ()) -> None:
        """Take memory for n examples: the arena, and one piece for each input and value that is not
        `given`. Numbers
        (`scalar`) are taken at each binding. Raises `Fault` where there is less than it takes."""
        free, parts = self.device.memory_available(), memory(self.program, n)
        need = sum(parts[place] for place in ("arena", "input", "value", "scalar"))
        if free is not None and need > free:
            takes = f"{self.program.name} on {n} examples takes {need / 2**20:.0f} MiB"
            raise Fault(f"{takes}, and {free / 2**20:.0f} MiB are free", "use a smaller batch")
        self.release()
        self._storage["arena"] = self.device.empty(arena_bytes(self.program, n))
        for b in (b for b in self._own("input") + self._own("value") if b.name not in given):
            self._storage[b.name] = self.device.empty(buffer_bytes(self.program, b, n))
        self._held = n

    def _arrays(self, n: int, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Views of the memory in the shapes for n examples, but for what is `given`."""
        offsets, own = slot_offsets(self.program, n), given or {}
        rest = {b.name: self._view(b, n, offsets) for b in self.program.buffers
                if b.name not in own}  # fmt: skip
        return {b.name: rest[b.name] if b.name in rest else own[b.name]
                for b in self.program.buffers}  # fmt: skip

    def _view(self, buffer: Buffer, n: int, offsets: list[int]) -> Any:
        shape, dtype = buffer.shape_at(n), dtype_of(self.program, buffer)
        if buffer.place in ("param", "state", "whole"):
            return self._array(buffer, n)
        if buffer.place == "const":
            return self._constants[buffer.name]
        held, start = self._storage.get(buffer.name), 0
        if buffer.place == "arena":
            held, start = self._storage["arena"], offsets[buffer.slot]
        if buffer.place == "scalar":  # filled once at binding, perhaps from n: no two may share it
            held = self.device.empty(buffer_bytes(self.program, buffer, n))
        return self.device.view(held, start, shape, dtype)

    def _array(self, buffer: Buffer, n: int = 0) -> Any:
        """The caller's array of a parameter, state or whole field; of a state with a row for each
        example the first n rows. Raises `Fault` where it does not fit."""
        held = {"param": self.params, "state": self.states, "whole": self.wholes}[buffer.place]
        if buffer.key not in held:
            raise Fault(f'the {buffer.place} "{buffer.key}" is missing')
        array, shape = held[buffer.key], buffer.shape_at(n)
        if buffer.shape and buffer.shape[0][1]:
            array = array[:n]
        dtype = dtype_of(self.program, buffer)
        if tuple(array.shape) != shape or str(array.dtype) != dtype:
            found = f"has shape {tuple(array.shape)} and type {array.dtype}"
            raise Fault(f'the {buffer.place} "{buffer.key}" {found}, not {shape} and {dtype}')
        return array

    # ---- when a step fails ---------------------------------------------------------------------

    def stopped(self, error: BaseException) -> Stopped | None:
        """Where in the program an error came out of it, if it did."""
        found = None
        for frame, number in walk_tb(error.__traceback__):
            code, held = frame.f_code, frame.f_locals
            inside = code.co_filename == filename(self.program)
            line = self.program.line_at(number) if inside else None
            if line is not None:
                clocks = [held[v] for v in code.co_varnames[: code.co_argcount]]
                step = held.get("t") if line.times > 1 else None
                found = Stopped(line, number, clocks, step, held)
        return self._summing(error) if found is None and isinstance(error, SumError) else found

    def _summing(self, error: SumError) -> Stopped | None:
        """The line that a sum over shards comes from, which has left the numbers."""
        wanted = {b.name for b in self._own("value") if b.key == error.key}
        for i, line in enumerate(self.program.lines, self.program.first):
            if line.writes in wanted:
                return Stopped(line.changed(call=None), i, [], None, {})
        return None

    def changed(self, stopped: Stopped) -> bool:
        """Whether parameters or states have changed in a run before it stopped."""
        places = {b.name: b.place for b in self.program.buffers}
        before = self.program.lines[: max(0, stopped.number - self.program.first)]
        return any(places.get(x.writes) in ("param", "state") for x in before)

    def failed(self, bound: Bound | None) -> tuple[Executable, Bound | None, int]:
        """The program that a run consists of, what it was bound to, and its first row in that."""
        return self, bound, 0

    def operands(self, n: int, stopped: Stopped, bound: Bound | None = None) -> list[Any] | None:
        """What the statement was given that stopped a run on n examples, found by running once more
        up to there. Where that would not be the same run, as parameters have changed in it, what
        stands there still; None in place of what the result has overwritten."""
        names = stopped.line.call.given if stopped.line.call else ()
        text = self.program.text.split("\n")
        if self.changed(stopped):
            return [stopped.value(name) for name in names] or None
        if not names:
            return None
        code = text[stopped.number - 1]
        space = code[: len(code) - len(code.lstrip())]
        text.insert(stopped.number - 1, f"{space}keep({', '.join(names)})")
        kept: list[Any] = []

        def keep(*values: Any) -> None:
            kept[:] = [v.copy() if hasattr(v, "copy") else v for v in values]

        held = bound or self._bounds.get(n)
        arrays = held.buffers if held is not None else self._arrays(n)
        bind = load(self.program.changed(text="\n".join(text)), self.device, keep=keep)
        with suppress(ArithmeticError, ValueError):
            bind(self.device.xp, n, self.seed, arrays)(*stopped.clocks)
        return kept or None


def run_poisoned(raws: Iterable[tuple[Any, int]], run: Callable[..., None], *clocks: float) -> None:
    for raw, word in raws:
        raw.fill(word)
    run(*clocks)


class SumError(FloatingPointError):
    """A sum over shards that has left the numbers: the `key` of its parts."""

    def __init__(self, said: str, key: str) -> None:
        super().__init__(said)
        self.key = key


@dataclass(frozen=True)
class Stopped:
    """Where a run has stopped: the statement, its line of the text, the clocks of the run, the step
    of the loop that it stands in, and what its names are."""

    line: Line
    number: int
    clocks: list[float]
    step: int | None
    names: Mapping[str, Any]

    def value(self, operand: str) -> Any:
        """An operand of the statement as it stands there now; None where the result has taken its
        place, or where it is no plain name or number."""
        if self.line.call is None or operand == self.line.call.out:
            return None
        name, at, _ = operand.partition("[t]")
        found = self.names.get(name)
        if at and found is not None and self.step is not None:
            return found[self.step]
        with suppress(ValueError):
            return float(operand) if found is None else found
        return None


def reals(bound: Bound, names: Iterable[str]) -> Iterator[NDArray[Any]]:
    """The arrays of real numbers among some buffers, in their shapes, on the host."""
    for array in map(bound.buffers.get, names):
        if array is not None and array.dtype.kind == "f":
            yield np.asarray(array.get() if hasattr(array, "get") else array)


def culprit(bound: Bound, line: Line) -> int | None:
    """The first example with a number that is not finite, in what a line writes or reads.

    None where no array that has one row for each example holds such a number.
    """
    for host in reals(bound, (line.writes, *line.reads)):
        if host.shape[:1] == (bound.n,):
            bad = np.flatnonzero(~np.isfinite(host.reshape(bound.n, -1)).all(axis=1))
            if bad.size:
                return int(bad[0])
    return None


def dtype_of(program: Program, buffer: Buffer) -> str:
    """The type of a buffer's elements, in NumPy's words."""
    return DTYPES.get(buffer.kind, program.dtype)
