"""The data sets of a session: their parts as fields on the device, from files or from Python.

The fields of a part are contiguous arrays in the precision of the phase. A minibatch is gathered
from them into the inputs of a program without allocating. Fields that are drawn (`image ~ ...`)
are worked out again at each visit, from the raw data. Problems: those of `fields`, and E557 data
given from Python that do not fit the spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import DataSpec, Division, EmitSpec, Portion, WholeField
from dln.compiler.schema import arguments
from dln.grammar.diagnostics import Fault
from dln.runtime.data.division import ChosenRows, in_runs, rows_of
from dln.runtime.data.fields import Fields, kinds_of
from dln.runtime.data.part import DataPart
from dln.runtime.device.device import DeviceArray
from dln.runtime.device.source_map import placed, unknown
from dln.runtime.ranks.far import FarRows
from dln.runtime.readers import handed
from dln.runtime.readers.frames import numbered
from dln.runtime.readers.given import in_order
from dln.runtime.readers.npz.file_rows import in_files
from dln.runtime.readers.validation import Arrays, check_field, check_fields


class Handed(NamedTuple):
    """A data set with the parts of what it was handed, and what makes its fields of that."""

    spec: DataSpec
    fields: Fields


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
        self._remarked: set[str] = set()
        self._still: dict[tuple[WholeField, str], DeviceArray] = {}
        self.given = dict(given or {})
        self._given = {name: self._check_given(name, a) for name, a in self.given.items()}
        self._handed: dict[str, Handed] = {}

    def limited(self, given: Mapping[str, Any] | None, limit: int | None) -> Datasets:
        """These data sets with others in their place, or with fewer examples.

        Raises `Fault` E557 where one of them stands whole in the spec, `DlnError` for arrays that
        do not fit their fields.
        """
        if not given and limit == self.limit:
            return self
        names = {name.partition(".")[0] for name in given or () if "." not in name}
        kept = {k: a for k, a in self.given.items() if k.partition(".")[0] not in names}
        for data in (name.partition(".")[0] for name in given or ()):
            for field in self.plan.wholes:
                if field.data == data:
                    message = f"{field.spoken} stands whole in the spec"
                    given_when = "data" if self.plan.data[data].reader == "given" else "data_paths"
                    remedy = f'{given_when}={{"{data}": ...}} when the spec is loaded'
                    raise Fault(f"{message}, so its examples are those of the file", remedy, "E557")
        return Datasets(self.fields, {**kept, **(given or {})}, limit)

    def let_go(self) -> None:
        """Let go of what is needed no more once a phase has its parts."""
        self.fields.raw.let_go()

    def forget(self) -> None:
        """Make fields anew that are standardised or scaled: by other numbers, perhaps."""
        if any(d.measured for d in self.plan.data.values()):
            self._parts.clear()
            self._fewer.clear()
            self._still.clear()

    def part(self, data: str, part: str, dtype: str) -> DataPart:
        """A part in a precision. Raises `DlnError` for data that are not as declared."""
        key = (data, part, dtype)
        if key not in self._parts:
            spec = self.plan.data[data]
            with placed(self.plan.texts, spec.place):
                self._parts[key] = self._load(spec, part, dtype)
        return self._parts[key]

    def spec(self, data: str, part: str = "all") -> DataSpec:
        """A data set as it is now, with its parts: of one that was handed other examples theirs."""
        found = self._hand(self.plan.data[data], part)
        return self.plan.data[data] if found is None else found.spec

    def remarks(self, data: str, part: DataPart) -> Iterator[str]:
        """What a run should know of a part that it learns from, once for a set: that it is a
        stretch of a file that is sorted by class."""
        spec = self.plan.data[data]
        if data in self._remarked or part.drawn or len(spec.parts) < 2 or not spec.division.placed:
            return
        self._remarked.add(data)
        for f in spec.fields:
            if f.label:
                if in_runs(self.fields.device.to_host(part.arrays[f.name])):
                    text = f"{data} is sorted by {f.name}, and its parts are stretches of the file"
                    yield f"{text}: split ... shuffled by {f.name}"
                    return

    def whole(self, key: WholeField, rows: int, dtype: str) -> DeviceArray:
        """The first `rows` examples of a field of a part as one array of the device, [rows,
        *shape]. Where the part is in memory in that precision already it is that array; of a run on
        fewer examples no more are read."""
        if rows < self.spec(key.data, key.part).parts[key.part].count and self.limit is None:
            fewer = self._fewer.setdefault(rows, Datasets(self.fields, self.given, rows))
            return fewer.whole(key, rows, dtype)
        part = self.part(key.data, key.part, dtype)
        if part.drawn is None:
            return part.arrays[key.field][:rows]
        if (key, dtype) not in self._still:
            spec, fields = self._source(key.data, key.part)
            arrays = fields.still(spec, part.rows, dtype, [key.field])
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
            if name in self._given and spec.reader != "given":
                return self._from_given(spec, part, dtype, self._given[name], name == spec.name)
        spec, fields = self._source(spec.name, part)
        rows = fields.rows(spec, part, self.limit)
        if fields.stays(spec, rows):
            return fields.looked_up(spec, part, rows, dtype)
        if spec.drawn:
            return fields.visited(spec, part, rows)
        arrays = fields.still(spec, rows, dtype)
        return self._on_device(spec, part, rows, arrays, dtype)

    # ---- handed over ---------------------------------------------------------------------------

    def _source(self, data: str, part: str) -> tuple[DataSpec, Fields]:
        """A data set, and what makes its fields."""
        found = self._hand(self.plan.data[data], part)
        return (self.plan.data[data], self.fields) if found is None else found

    def _hand(self, spec: DataSpec, part: str) -> Handed | None:
        """What was handed to a set, or to this part of it. Raises `Fault` E557 where the parts that
        the spec asks for cannot be made of so many examples."""
        names = (f"{spec.name}.{part}", spec.name) if spec.reader == "given" else ()
        name = next((name for name in names if name in self._given), None)
        if name is None:
            return None
        if name not in self._handed:
            arrays = self._given[name]
            n = len(next(iter(arrays.values())))
            made = self._alone(spec, part, n) if name != spec.name else self._divided(spec, n)
            self._handed[name] = Handed(made, self.fields.of(arrays, self._source))
        return self._handed[name]

    def _alone(self, spec: DataSpec, part: str, n: int) -> DataSpec:
        """A set of a part that was handed over by itself."""
        parts = {name: Portion(n, (0,)) for name in (part, "all")}
        return spec.changed(count=n, parts=parts, division=Division((n,)), counted=True)

    def _divided(self, spec: DataSpec, n: int) -> DataSpec:
        """A set of n examples with its parts."""
        made = spec.of(n)
        for k, size in enumerate(made.division.sizes):
            name = next((name for name, part in spec.parts.items() if part.pieces == (k,)), "all")
            if size < 0 or (size < 1 and name != "all"):
                asked = ", ".join(part.text for part in spec.asked)
                remedy = f'give them by part: data={{"{spec.name}.{name}": ...}}'
                message = f"{n} examples leave too few for {spec.name}.{name} (split {asked})"
                raise Fault(message, remedy, "E557")
        return made

    def _on_device(
        self, spec: DataSpec, part: str, rows: ChosenRows, arrays: Arrays, dtype: str
    ) -> DataPart:
        """Host arrays on the device, real fields in the precision asked for; one that is there
        already in this form is used as it is."""
        kinds, device = kinds_of(spec, dtype), self.fields.device
        on_device: dict[str, DeviceArray] = {}
        for name, a in arrays.items():
            ready = isinstance(a, FarRows) or (
                device.xp is np and a.dtype == kinds[name] and a.flags.c_contiguous
            )
            on_device[name] = a if ready else device.array(a, kinds[name])
        n = len(next(iter(arrays.values())))
        return DataPart(f"{spec.name}.{part}", rows, n, on_device)

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
        wanted = spec.raw if spec.reader == "given" else spec.fields
        by_field = given if isinstance(given, Mapping) else in_order(spec.name, wanted, given)
        names = handed.names_of(spec.source) if spec.reader == "given" else spec.names
        by_field = {k: numbered(v, names.get(k), k) for k, v in by_field.items()}
        stay = {k: a for k, a in by_field.items() if in_files(a)}  # looked at when they are used
        for f in (f for f in wanted if f.name in stay):
            check_field(f, stay[f.name][:1], self.plan.texts)
        rest = {k: a for k, a in by_field.items() if k not in stay}
        if stay and not rest:
            return stay
        left = [f for f in wanted if f.name not in stay]
        found = check_fields(left, rest, f"the data set {data}", self.plan.texts)
        return {**found, **stay}

    def _from_given(
        self, spec: DataSpec, part: str, dtype: str, arrays: Arrays, whole: bool
    ) -> DataPart:
        """A part of arrays from Python; parts of a set of another size keep their shares."""
        n = len(next(iter(arrays.values())))
        rows = ChosenRows(0, n if self.limit is None else min(n, self.limit))
        if whole:
            told = {name: np.rint(arrays[name]) for name in spec.division.told_by}
            rows = rows_of(spec.of(n, shares=True), part, told, self.limit)
        if not rows.count:
            remedy = f'give its examples themselves: data={{"{spec.name}.{part}": ...}}'
            raise Fault(f"{n} examples leave none for {spec.name}.{part}", remedy, "E557")
        cut = {key: rows.of(a) for key, a in arrays.items()}
        for f in spec.fields:
            check_field(f, cut[f.name], self.plan.texts, rows.numbers(), None, dtype)
        return self._on_device(spec, part, rows, cut, dtype)
