"""Data sets: read once, turned into fields by their program, kept on the device by part.

The fields of a part are contiguous arrays in the precision of the phase. A minibatch is gathered
from them into the inputs of a program without allocating. Fields that are drawn (`image ~ ...`)
are worked out again at each visit, from the raw data. Problems: those of `feeds`, with the number
of the example in the file, and E557 data given from Python that do not fit the spec.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import DataSpec, FieldSpec, Program
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.runtime.device.source_map import placed, unknown
from dln.runtime.execution.executable import Bound
from dln.runtime.execution.store import Programs, put
from dln.runtime.readers import readers
from dln.runtime.readers.lengths import held as held_at
from dln.runtime.readers.lengths import settled
from dln.runtime.readers.read_cache import Kept
from dln.runtime.readers.validation import Arrays, check_field, check_fields

Fill = Callable[[Any, float], None]
CHUNK = 1000  # examples turned into fields at a time


@dataclass
class Part:
    """Examples `first`, `first + 1`, ... of a data set: `n` of them, as arrays by field.

    `drawn` gives the fields of some examples at an update where they are drawn at each visit;
    `arrays` then holds what it starts from.
    """

    name: str
    first: int
    n: int
    arrays: dict[str, Any]
    drawn: Callable[[Any, float], dict[str, Any]] | None = None

    def fields(self, indices: Any, update: float) -> dict[str, Any]:
        """All fields of some examples, on the device."""
        if self.drawn is not None:
            return self.drawn(indices, update)
        return {key: a[indices] for key, a in self.arrays.items()}

    def filler(self, bound: Bound, xp: Any) -> Fill:
        """What copies the examples with given indices into the inputs of a program."""
        if self.drawn is not None:
            return self._drawer(bound, xp)
        pairs = [(self.arrays[key].take, out) for key, out in bound.inputs.items()]
        if xp is not np:

            def fill(indices: Any, update: float) -> None:
                for take, out in pairs:
                    take(indices, 0, out)

            return fill

        def fill_clipped(indices: Any, update: float) -> None:
            for take, out in pairs:  # "clip" writes straight into `out`; indices are in range
                take(indices, 0, out, "clip")

        return fill_clipped

    def _drawer(self, bound: Bound, xp: Any) -> Fill:
        drawn = self.drawn
        assert drawn is not None

        def fill(indices: Any, update: float) -> None:
            values = drawn(indices, update)
            for key, out in bound.inputs.items():
                xp.copyto(out, values[key], casting="unsafe")

        return fill


class Datasets:
    """The data sets of a session, read when they are first asked for.

    `given` replaces examples of the file: by data set or by part, arrays by field or in the order
    of the fields. `limit` takes that many examples of each part. `kept` holds what other sessions
    of this process have read.
    """

    kept: Kept | None = None

    def __init__(
        self, programs: Programs, given: Mapping[str, Any] | None = None, limit: int | None = None
    ) -> None:
        self.programs, self.plan = programs, programs.plan
        self.limit = limit
        self._raw: dict[str, dict[str, NDArray[Any]]] = {}
        self._parts: dict[tuple[str, str, str], Part] = {}
        self._still: dict[tuple[str, str], Any] = {}
        self._given = {
            name: self._check_given(name, arrays) for name, arrays in (given or {}).items()
        }

    def limited(self, given: Mapping[str, Any] | None, limit: int | None) -> Datasets:
        """These data sets with others in their place, or with fewer examples."""
        if not given and limit == self.limit:
            return self
        self._refuse_wholes(given or {})
        other = Datasets(self.programs, given, limit)
        other._raw, other.kept = self._raw, self.kept
        return other

    def part(self, data: str, part: str, dtype: str) -> Part:
        """A part in a precision. Raises `DlnError` for data that are not as declared."""
        key = (data, part, dtype)
        if key not in self._parts:
            spec = self.plan.data[data]
            with placed(self.plan.texts, spec.place):
                self._parts[key] = self._load(spec, part, dtype)
        return self._parts[key]

    def whole(self, key: str, rows: int, dtype: str) -> Any:
        """The first `rows` examples of a field of a part, called `data.part.field`, as one array
        of the device. Where the part is in memory in that precision already it is that array."""
        data, name, field = key.split(".")
        part = self.part(data, name, dtype)
        if part.drawn is None:
            return part.arrays[field][:rows]
        if (key, dtype) not in self._still:
            spec = self.plan.data[data]
            arrays = self._convert(spec, self._read(spec), part.first, rows, dtype)
            kind = _kinds(spec, dtype)[field]
            self._still[key, dtype] = self.programs.device.array(arrays[field], kind)
        return self._still[key, dtype]

    def _refuse_wholes(self, given: Mapping[str, Any]) -> None:
        """Examples from Python do not take the place of those that stand whole in the spec."""
        for name in given:
            data = name.partition(".")[0]
            found = [key for key in self.plan.wholes if key.startswith(f"{data}.")]
            if found:
                shown = found[0].replace(".all.", ".")
                message = f"{shown} stands whole in the spec, so its examples are those of the file"
                remedy = f'data_paths={{"{data}": ...}} when the spec is loaded'
                raise Fault(message, remedy, "E557")

    def _load(self, spec: DataSpec, part: str, dtype: str) -> Part:
        for name in (f"{spec.name}.{part}", spec.name):
            if name in self._given:
                return self._from_given(spec, part, dtype, self._given[name], name == spec.name)
        start, count = spec.parts[part]
        count = count if self.limit is None else min(count, self.limit)
        raw = self._read(spec)
        program = self.plan.programs[f"data:{spec.name}"]
        if spec.drawn:
            return self._visited(spec, part, raw, program, start, count)
        arrays = self._convert(spec, raw, start, count, dtype)
        return self._made(spec, part, start, arrays, dtype)

    def _made(
        self, spec: DataSpec, part: str, start: int, arrays: Mapping[str, Any], dtype: str
    ) -> Part:
        """Host arrays on the device, real fields in the precision asked for."""
        kinds = _kinds(spec, dtype)
        device = self.programs.device
        on_device = {name: _placed(device, a, kinds[name]) for name, a in arrays.items()}
        n = len(next(iter(arrays.values())))
        return Part(f"{spec.name}.{part}", start, n, on_device)

    # ---- from files ----------------------------------------------------------------------------

    def _read(self, spec: DataSpec) -> dict[str, NDArray[Any]]:
        if spec.name not in self._raw:
            decl = _decl(spec)
            raw = readers.read(decl) if self.kept is None else self.kept.read(decl)
            count = len(next(iter(raw.values())))
            if count != spec.count:
                message = f"{spec.name} holds {count:,} examples, but held {spec.count:,} before"
                raise Fault(message, "compile the spec again", "E557")
            self._raw[spec.name] = {f"raw:{spec.name}.{key}": a for key, a in raw.items()}
        return self._raw[spec.name]

    def _convert(self, spec: DataSpec, raw: Arrays, start: int, count: int, dtype: str) -> Arrays:
        """The fields of a stretch of the file, worked out in chunks and checked."""
        self._check_claims(spec, raw, start, count)
        kinds = _kinds(spec, dtype)
        done: Arrays = {f.name: np.empty((count, *f.shape), kinds[f.name]) for f in spec.fields}
        for low, found in self._chunks(spec, f"data:{spec.name}", raw, start, count):
            values = settled(spec.fields, found)
            for f in spec.fields:
                chunk = self._checked(spec, f, values[f.name], start + low, dtype)
                done[f.name][low : low + len(chunk)] = chunk
        return done

    def _checked(
        self, spec: DataSpec, f: FieldSpec, values: Any, first: int, dtype: str
    ) -> NDArray[Any]:
        """Some values of a field; what is wrong has the place in the file where that is known."""
        where = partial(readers.origin, _decl(spec))
        return check_field(f, values, self.plan.texts, first, where, dtype)

    def _check_claims(self, spec: DataSpec, raw: Arrays, start: int, count: int) -> None:
        """What is asserted inside of fields, before they are made of it."""
        if spec.claims:
            ends = [f for f in spec.fields if f.domain == "length"]
            specs = [*(replace(f, name=key) for key, f in spec.claims.items()), *ends]
            for low, values in self._chunks(spec, f"claims:{spec.name}", raw, start, count):
                n = len(next(iter(values.values())))
                for f in ends:
                    length = raw[f"raw:{spec.name}.{f.name}"][start + low : start + low + n]
                    values = settled(specs, {**values, f.name: length})
                for key, f in spec.claims.items():
                    self._checked(spec, f, values[key], start + low, "float64")

    def _chunks(
        self, spec: DataSpec, name: str, raw: Arrays, start: int, count: int
    ) -> Iterator[tuple[int, Arrays]]:
        executable = self.programs.executable(name)
        clocks = self.programs.clocks(executable.program)
        size = max(executable.program.capacity, CHUNK)
        executable.at(min(size, count))  # the most first, so that memory is taken once
        for low in range(0, count, size):
            n = min(size, count - low)
            bound = executable.at(n)
            for key, target in bound.inputs.items():
                put(self.programs.device, target, raw[key][start + low : start + low + n])
            with np.errstate(all="ignore"):  # what is not finite is found by the checks
                bound.run(*clocks)
            yield low, self.programs.values(bound)

    def _visited(
        self, spec: DataSpec, part: str, raw: Arrays, program: Program, start: int, count: int
    ) -> Part:
        """A part whose fields are drawn at each visit: the first examples are checked."""
        device, programs = self.programs.device, self.programs
        kinds = {b.key: "int64" if b.kind == "index" else program.dtype for b in program.inputs}
        held = {key: device.array(raw[key][start : start + count], kinds[key]) for key in kinds}
        source = Part(f"{spec.name}.{part}", start, count, held)
        fillers: dict[int, tuple[Bound, Fill]] = {}
        made = {b.key: b.kind for b in program.values}
        whole = [f.name for f in spec.fields if f.kind == "index" and made[f.name] == "real"]
        executable = programs.executable(f"data:{spec.name}")
        ends = next((f.name for f in spec.fields if f.domain == "length"), None)
        over_time = [f.name for f in spec.fields if f.timed]

        def drawn(indices: Any, update: float) -> dict[str, Any]:
            n = len(indices)
            bound = executable.at(n)
            if n not in fillers or fillers[n][0] is not bound:
                fillers[n] = (bound, source.filler(bound, device.xp))
            fillers[n][1](indices, update)
            bound.run(*programs.clocks(program, {"update": update}))
            values = {**bound.values, **{k: device.xp.rint(bound.values[k]) for k in whole}}
            if ends is None:
                return values
            timed = {f: held_at(values[f], values[ends], device.xp) for f in over_time}
            return {**values, **timed}

        self._check_claims(spec, raw, start, count)
        few = device.array(np.arange(min(count, CHUNK)), "int64")
        found = {key: device.to_host(a) for key, a in drawn(few, 0.0).items()}
        for f in spec.fields:
            self._checked(spec, f, found[f.name], start, program.dtype)
        return Part(f"{spec.name}.{part}", start, count, held, drawn)

    # ---- from Python ---------------------------------------------------------------------------

    def _check_given(self, name: str, given: Any) -> Arrays:
        data, _, part = name.partition(".")
        if data not in self.plan.data:
            raise unknown("E560", "data set", data, list(self.plan.data))
        spec = self.plan.data[data]
        if part and part not in spec.parts:
            raise unknown("E560", f"part of {data} called", part, list(spec.parts))
        by_field = given if isinstance(given, Mapping) else self._in_order(spec, given)
        return check_fields(spec.fields, by_field, f"the data set {data}", self.plan.texts)

    def _in_order(self, spec: DataSpec, given: Any) -> dict[str, Any]:
        """Arrays in the order of the fields, or a single array for the only field."""
        values: Sequence[Any] = given if isinstance(given, tuple | list) else (given,)
        names = [f.name for f in spec.fields if f.domain != "length"]
        names += [f.name for f in spec.fields if f.domain == "length"][: len(values) - len(names)]
        if len(values) != len(names):
            message = f"{spec.name} has the fields {', '.join(names)}, but {len(values)} were given"
            raise DlnError([Problem("E557", message, remedy=f"({', '.join(names)})")])
        return dict(zip(names, values, strict=True))

    def _from_given(
        self, spec: DataSpec, part: str, dtype: str, arrays: Arrays, whole: bool
    ) -> Part:
        """A part of arrays from Python; parts of a set of another size keep their shares."""
        n = len(next(iter(arrays.values())))
        start, stop = 0, n
        if whole:
            first, count = spec.parts[part]
            start, stop = first * n // spec.count, (first + count) * n // spec.count
        if self.limit is not None:
            stop = min(stop, start + self.limit)
        if stop <= start:
            remedy = f'give its examples themselves: data={{"{spec.name}.{part}": ...}}'
            raise Fault(f"{n} examples leave none for {spec.name}.{part}", remedy, "E557")
        cut = {key: a[start:stop] for key, a in arrays.items()}
        for f in spec.fields:
            check_field(f, cut[f.name], self.plan.texts, start, None, dtype)
        return self._made(spec, part, start, cut, dtype)


def _decl(spec: DataSpec) -> readers.Decl:
    return readers.Decl(spec.reader, spec.args, spec.options, spec.base, spec.override)


def _placed(device: Any, array: NDArray[Any], dtype: str) -> Any:
    """An array on the device; one that is there already in this form is used as it is."""
    if device.xp is np and array.dtype == dtype and array.flags.c_contiguous:
        return array
    return device.array(array, dtype)


def _kinds(spec: DataSpec, dtype: str) -> dict[str, str]:
    return {f.name: "int64" if f.kind == "index" else dtype for f in spec.fields}
