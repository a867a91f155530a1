"""The data sets of a session: their parts as fields on the device, from files or from Python.

The fields of a part are contiguous arrays in the precision of the phase. A minibatch is gathered
from them into the inputs of a program without allocating. Fields that are drawn (`image ~ ...`)
are worked out again at each visit, from the raw data. Problems: those of `fields`, and E557 data
given from Python that do not fit the spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import DataSpec, EmitSpec, WholeField
from dln.compiler.schema import arguments
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.runtime.data.fields import Fields, kinds_of
from dln.runtime.data.part import DataPart
from dln.runtime.device.device import DeviceArray
from dln.runtime.device.source_map import placed, unknown
from dln.runtime.readers.validation import Arrays, check_field, check_fields


class Datasets:
    """The data sets of a session, read when they are first asked for.

    `given` replaces examples of the file: by data set or by part, arrays by field or in the order
    of the fields. `limit` takes that many examples of each part.
    """

    def __init__(
        self, fields: Fields, given: Mapping[str, Any] | None = None, limit: int | None = None
    ) -> None:
        self.fields, self.plan, self.limit = fields, fields.plan, limit
        self._parts: dict[tuple[str, str, str], DataPart] = {}
        self._fewer: dict[int, Datasets] = {}
        self._still: dict[tuple[WholeField, str], DeviceArray] = {}
        self._given = {name: self._check_given(name, a) for name, a in (given or {}).items()}

    def limited(self, given: Mapping[str, Any] | None, limit: int | None) -> Datasets:
        """These data sets with others in their place, or with fewer examples.

        Raises `Fault` E557 where one of them stands whole in the spec, `DlnError` for arrays that
        do not fit their fields.
        """
        if not given and limit == self.limit:
            return self
        for data in (name.partition(".")[0] for name in given or ()):
            for field in self.plan.wholes:
                if field.data == data:
                    message = f"{field.spoken} stands whole in the spec"
                    remedy = f'data_paths={{"{data}": ...}} when the spec is loaded'
                    raise Fault(f"{message}, so its examples are those of the file", remedy, "E557")
        return Datasets(self.fields, given, limit)

    def part(self, data: str, part: str, dtype: str) -> DataPart:
        """A part in a precision. Raises `DlnError` for data that are not as declared."""
        key = (data, part, dtype)
        if key not in self._parts:
            spec = self.plan.data[data]
            with placed(self.plan.texts, spec.place):
                self._parts[key] = self._load(spec, part, dtype)
        return self._parts[key]

    def whole(self, key: WholeField, rows: int, dtype: str) -> DeviceArray:
        """The first `rows` examples of a field of a part as one array of the device, [rows,
        *shape]. Where the part is in memory in that precision already it is that array; of a run on
        fewer examples no more are read."""
        if rows < self.plan.data[key.data].parts[key.part][1] and self.limit is None:
            fewer = self._fewer.setdefault(rows, Datasets(self.fields, None, rows))
            return fewer.whole(key, rows, dtype)
        part = self.part(key.data, key.part, dtype)
        if part.drawn is None:
            return part.arrays[key.field][:rows]
        if (key, dtype) not in self._still:
            spec = self.plan.data[key.data]
            arrays = self.fields.still(spec, part.first, rows, dtype)
            kind = kinds_of(spec, dtype)[key.field]
            self._still[key, dtype] = self.fields.device.array(arrays[key.field], kind)
        return self._still[key, dtype]

    def picked(self, emit: EmitSpec) -> Iterator[tuple[NDArray[Any], ...]]:
        """What a task makes of each example: the parts of `emit`, some examples at a time
        [examples, ...] in the order of the data, of those that its condition holds for."""
        assert emit.program is not None and emit.on is not None
        programs = self.fields.programs
        executable = programs.executable(emit.program)
        clocks = programs.clocks(executable.program)
        part = self.part(emit.on.data, emit.on.part, executable.program.dtype)
        order = programs.device.array(np.arange(part.n), "int64")
        size = min(part.n, executable.program.capacity)
        for _, bound in part.filled(executable, order, size, 0.0):
            bound.run(*clocks)
            values = programs.values(bound)
            rows = values["where"] != 0 if "where" in values else slice(None)
            yield tuple(values[piece.key][rows] for piece in emit.parts)

    def _load(self, spec: DataSpec, part: str, dtype: str) -> DataPart:
        for name in (f"{spec.name}.{part}", spec.name):
            if name in self._given:
                return self._from_given(spec, part, dtype, self._given[name], name == spec.name)
        start, count = spec.parts[part]
        count = count if self.limit is None else min(count, self.limit)
        if spec.drawn:
            return self.fields.visited(spec, part, start, count)
        arrays = self.fields.still(spec, start, count, dtype)
        return self._on_device(spec, part, start, arrays, dtype)

    def _on_device(
        self, spec: DataSpec, part: str, start: int, arrays: Arrays, dtype: str
    ) -> DataPart:
        """Host arrays on the device, real fields in the precision asked for; one that is there
        already in this form is used as it is."""
        kinds, device = kinds_of(spec, dtype), self.fields.device
        on_device: dict[str, DeviceArray] = {}
        for name, a in arrays.items():
            ready = device.xp is np and a.dtype == kinds[name] and a.flags.c_contiguous
            on_device[name] = a if ready else device.array(a, kinds[name])
        n = len(next(iter(arrays.values())))
        return DataPart(f"{spec.name}.{part}", start, n, on_device)

    # ---- from Python ---------------------------------------------------------------------------

    def _check_given(self, name: str, given: Any) -> Arrays:
        data, _, part = name.partition(".")
        if data not in self.plan.data:
            raise unknown("E560", "data set", data, list(self.plan.data))
        spec = self.plan.data[data]
        if part and part not in spec.parts:
            raise unknown("E560", f"part of {data} called", part, list(spec.parts))
        if isinstance(given, Mapping):
            arguments.by_name(f"the data set {data}", given)
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
    ) -> DataPart:
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
        return self._on_device(spec, part, start, cut, dtype)
