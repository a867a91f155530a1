"""The fields of data sets, made of what their readers give by a program of the plan, and checked.

Problems: those of `readers.validation`, with the number of the example in the file, and of `raw`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import (
    DataSource,
    DataSpec,
    FieldSpec,
    MeasuredInput,
    MeasureSpec,
    Program,
    ProgramKind,
    RawInput,
    Stretch,
)
from dln.runtime.data.dealt import Together
from dln.runtime.data.division import ChosenRows, rows_of
from dln.runtime.data.mapped_part import MappedPart
from dln.runtime.data.measures import Moments, Numbers, filled_in
from dln.runtime.data.part import DataPart, Drawn, Fill
from dln.runtime.data.raw import BY_ROWS, IN_FILES, RawData, Read
from dln.runtime.device.device import DeviceArray
from dln.runtime.device.source_map import placed
from dln.runtime.execution.executable import Bound
from dln.runtime.execution.programs import Programs
from dln.runtime.execution.store import put
from dln.runtime.ranks.common import Forms, OwnRoom, Room, SharedRoom
from dln.runtime.readers import readers
from dln.runtime.readers.binary import cut
from dln.runtime.readers.dealing import Told, dealt
from dln.runtime.readers.given import held, settled
from dln.runtime.readers.npz.file_rows import FileRows, in_files, mapped_array
from dln.runtime.readers.tables import in_place
from dln.runtime.readers.validation import Arrays, Where, check_field

CHUNK = 1000  # examples of which fields are drawn at a time
STILL = 200  # examples turned into fields that stay: so few that their numbers stay in a cache
Source = Callable[[str, str], "tuple[DataSpec, Fields]"]


class Fields:
    """Makes the fields of data sets. Each set is read once, by `read`; what is `handed` over has
    been looked at before. `measured` are the numbers by which fields are standardised or scaled, as
    far as they are known, by set and value; `source` gives a set, and what makes its fields."""

    def __init__(
        self, programs: Programs, read: Read, measured: dict[str, Numbers] | None = None,
        source: Source | None = None,
    ) -> None:  # fmt: skip
        self.handed = source is not None
        self.source = source or (lambda data, part: (programs.plan.data[data], self))
        self.programs, self.plan, self.device = programs, programs.plan, programs.device
        self.measured = {} if measured is None else measured
        host = self.device.xp is np and not self.handed
        self.together = Together(lambda: programs.ranks, self.plan, self.measured, host)
        self.raw = RawData(self.plan, read, self.handed, self.together)
        self._rows: dict[tuple[str, str, int | None], ChosenRows] = {}
        self._classes: dict[str, Told] = {}

    def of(self, arrays: Arrays, source: Source) -> Fields:
        """What makes fields of other arrays, in place of those that its reader gives."""
        stay = {name: mapped_array(a) if in_files(a) else a for name, a in arrays.items()}

        def some(a: Any, stretch: Stretch | None) -> Any:
            part = isinstance(a, FileRows) and stretch is not None
            return a.part(stretch.start, stretch.stop) if part and stretch else cut(a, stretch)

        def read(_: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
            return {name: some(a, stretch) for name, a in stay.items()}

        return Fields(self.programs, read, self.measured, source)

    def rows(self, spec: DataSpec, part: str, limit: int | None = None) -> ChosenRows:
        """The examples of a part, at most `limit` of them. Raises `DlnError` for classes that are
        not as declared."""
        key = (spec.name, part, limit)
        if key not in self._rows:
            self._rows[key] = rows_of(spec, part, self._labels(spec, part), limit)
        return self._rows[key]

    def as_dealt(self, spec: DataSpec, part: str) -> NDArray[np.int64]:
        """The numbers of the examples of a part [n], in the order in which they were dealt out."""
        order, pieces = dealt(spec.division, self._labels(spec, part))
        return order[np.isin(pieces[order], spec.parts[part].pieces)]

    def _labels(self, spec: DataSpec, part: str) -> Told:
        """The classes and groups by which a set is divided, [n], where they are to be known of a
        part."""
        told_by = spec.division.told_by
        if not told_by or spec.stretch(part) is not None:
            return {}
        if spec.name not in self._classes:
            self._classes[spec.name] = self.together.first(spec, lambda: self._told(spec))
        return self._classes[spec.name]

    def _told(self, spec: DataSpec) -> Told:
        """The classes and groups [n] by which a set is divided."""
        fields = [f for f in spec.fields if f.name in spec.division.told_by]
        given = self.raw.arrays(spec, ChosenRows(0, spec.count))
        found = {f.name: np.empty(spec.count, np.int64) for f in fields}
        for low, values in self._chunks(spec, ProgramKind.LABELS, *given):
            for f in fields:
                chunk = self._checked(spec, f, values[f.name], low, "float64")
                found[f.name][low : low + len(chunk)] = chunk
        return found

    def still(
        self, spec: DataSpec, rows: ChosenRows, dtype: str, names: Collection[str] | None = None
    ) -> Arrays:
        """The fields of some examples, [count, *shape] each, on the host, real ones in a precision:
        worked out in chunks and checked, all of them or those of some names. Of what is drawn it is
        one draw. Raises `DlnError` for data that are not as declared."""
        kinds, count = kinds_of(spec, dtype), rows.count
        wanted = [f for f in spec.fields if names is None or f.name in names]
        forms = {f.name: ((count, *f.shape), kinds[f.name]) for f in wanted}
        if spec.plain and self.handed and not self.stays(spec, rows):
            self.check_claims(spec, rows)
            return self._as_they_stand(spec, wanted, rows, dtype)
        room = self._room(spec, rows, forms)
        for own, raw, at in self._mine(spec, rows, room):
            for low, found in self._chunks(spec, ProgramKind.DATA, raw, at, own=own):
                values = settled(spec.fields, found)
                for f in wanted:
                    chunk = self._checked(spec, f, values[f.name], rows.numbers(low), dtype)
                    room.put(f.name, low, chunk)
        return room.arrays()

    def _as_they_stand(
        self, spec: DataSpec, wanted: list[FieldSpec], rows: ChosenRows, dtype: str
    ) -> Arrays:
        """Fields that are arrays as they were handed over: no program is to be run."""
        raw, at = self.raw.arrays(spec, rows)
        kinds = kinds_of(spec, dtype)
        given = {f.name: at.of(raw[str(RawInput(spec.name, f.name))]) for f in spec.fields}
        values = settled(spec.fields, given)
        found = {}
        for f in wanted:
            array = self._checked(spec, f, values[f.name], rows.numbers(), dtype)
            found[f.name] = array.astype(kinds[f.name])  # the caller's own array stays his
        return found

    def made_of(
        self, spec: DataSpec, raw: Arrays, names: Collection[str], claims: Collection[str],
        first: int, where: Where, dtype: str,
    ) -> Arrays:  # fmt: skip
        """The fields of some names, [example, ...], of other examples than those of the set, whose
        `raw` arrays are those that these need; `first` is the number of the first one, `where` says
        where a number stands. Raises `DlnError` for data that are not as declared."""
        n, given = len(next(iter(raw.values()))), dict[str, NDArray[Any]]()
        for f in spec.raw:  # what is not needed is not looked at
            width = len(spec.columns or ()) if f.name == "" and spec.columns is not None else None
            shape = f.shape if width is None else (width,)
            array = raw.get(f.name)
            filled = np.broadcast_to(
                np.zeros((), np.int64 if f.kind == "index" else float), (n, *shape)
            )
            given[str(RawInput(spec.name, f.name))] = filled if array is None else array
        at = ChosenRows(0, n)
        asserted = {k: f for k, f in spec.claims.items() if k in claims}
        for low, found in self._chunks(spec, ProgramKind.CLAIMS, given, at) if asserted else ():
            for key, f in asserted.items():
                check_field(f, found[key], self.plan.texts, first + low, where, "float64")
        kinds = kinds_of(spec, dtype)
        wanted = [f for f in spec.fields if f.name in names]
        done: Arrays = {f.name: np.empty((n, *f.shape), kinds[f.name]) for f in wanted}
        for low, found in self._chunks(spec, ProgramKind.DATA, given, at):
            values = settled(spec.fields, found)
            for f in wanted:
                chunk = check_field(f, values[f.name], self.plan.texts, first + low, where, dtype)
                done[f.name][low : low + len(chunk)] = chunk
        return done

    def visited(self, spec: DataSpec, part: str, rows: ChosenRows) -> DataPart:
        """A part whose fields are drawn at each visit: the first examples are checked."""
        device = self.device
        program = self.plan.programs[ProgramKind.DATA.of(spec.name)]
        arrays = self._raw_of(spec, rows, program)
        source = DataPart(f"{spec.name}.{part}", rows, rows.count, arrays)
        some = np.arange(min(rows.count, CHUNK))
        few, drawn = device.array(some, "int64"), self._drawer(spec, source)
        found = {key: device.to_host(a) for key, a in drawn(few, 0.0).items()}
        self.programs.executable(ProgramKind.DATA.of(spec.name)).release()  # minibatches are small
        for f in spec.fields:
            self._checked(spec, f, found[f.name], rows.numbers(), program.dtype)
        return replace(source, drawn=drawn)

    def _raw_of(self, spec: DataSpec, rows: ChosenRows, program: Program) -> dict[str, DeviceArray]:
        """What the program of a set takes of some examples, by input, [count, ...] each."""
        inputs = [b for b in program.inputs if MeasuredInput.parse(b.key) is None]
        kinds = {b.key: "int64" if b.kind == "index" else program.dtype for b in inputs}
        wide = {b.key: b.shape_at(1)[1:] for b in inputs}
        forms = {key: ((rows.count, *wide[key]), kinds[key]) for key in kinds}

        def fitting(a: NDArray[Any], key: str) -> NDArray[Any]:
            return a if a.shape[1:] == wide[key] else in_place(a, spec.columns, *wide[key])

        if not self.together.shared(spec):
            raw, at = self.raw.arrays(spec, rows)
            self.check_claims(spec, rows)
            found = {key: at.of(fitting(raw[key], key)) for key in kinds}
            return {key: self.device.array(a, kinds[key]) for key, a in found.items()}
        room = self._room(spec, rows, forms)
        for own, raw, at in self._mine(spec, rows, room):
            for low, high in chunks_of(spec, rows.count, own):
                for key in kinds:
                    room.put(key, low, fitting(at.of(raw[key], low, high), key))
        return room.arrays()

    def stays(self, spec: DataSpec, rows: ChosenRows) -> bool:
        """Whether the examples of a set stay in their files."""
        return self.raw.found(spec, rows) == IN_FILES

    # ---- kept by the ranks of a run together ---------------------------------------------------

    def _room(self, spec: DataSpec, rows: ChosenRows, forms: Forms) -> Room:
        """Room for arrays of a set, of all ranks of the machine or of this one."""
        shared = self.together.shared(spec)
        chunks = chunks_of(spec, rows.count)
        return (self.together.room(forms, chunks) if shared else None) or OwnRoom(forms)

    def _mine(
        self, spec: DataSpec, rows: ChosenRows, room: Room
    ) -> Iterator[tuple[range | None, Arrays, ChosenRows]]:
        """Which chunks of some examples this rank fills in, if any, out of what, and where in that
        the examples are. What is asserted of them is checked."""
        own = None
        if isinstance(room, SharedRoom):
            for kind in (ProgramKind.CLAIMS,) * bool(spec.claims) + (ProgramKind.DATA,):
                self.known(self.programs.executable(kind.of(spec.name)).program)  # by all at once
            by_rows = self.raw.found(spec, rows) == BY_ROWS
            own = self.together.chunks(len(chunks_of(spec, rows.count)), by_rows)
        if own is None or len(own):
            self.check_claims(spec, rows, own)
            yield own, *self.raw.arrays(spec, rows)

    def looked_up(self, spec: DataSpec, part: str, rows: ChosenRows, dtype: str) -> DataPart:
        """A part whose examples stay in their files, and are looked at and checked when a minibatch
        has them."""
        raw, at = self.raw.arrays(spec, rows)
        name, device = f"{spec.name}.{part}", self.device
        self.check_claims(spec, rows)
        source = MappedPart(name, rows, rows.count, raw, device=device, where=at)
        drawn = self._drawer(spec, source)

        def checked(indices: DeviceArray, update: float) -> dict[str, DeviceArray]:
            values, numbers = drawn(indices, update), rows.places(device.to_host(indices))
            for f in spec.fields:
                self._checked(spec, f, device.to_host(values[f.name]), numbers, dtype)
            return values

        return replace(source, drawn=checked, apart=not spec.drawn)

    def _drawer(self, spec: DataSpec, source: DataPart) -> Drawn:
        """What gives the fields of some examples, as they are drawn at an update."""
        programs, xp = self.programs, self.device.xp
        executable = programs.executable(ProgramKind.DATA.of(spec.name))
        program = executable.program
        made = {b.key: b.kind for b in program.values}
        whole = [f.name for f in spec.fields if f.kind == "index" and made[f.name] == "real"]
        ends = {f.name: f.ends for f in spec.fields if f.timed and f.ends}
        fillers, known = WeakKeyDictionary[Bound, Fill](), self.known(program)

        def drawn(indices: DeviceArray, update: float) -> dict[str, DeviceArray]:
            n = len(indices)
            bound = executable.at(n)
            if bound not in fillers:
                for key, numbers in known.items():
                    put(self.device, bound.inputs[key], numbers)
                fillers[bound] = source.filler(bound, xp, known)
            fillers[bound](indices, update)
            bound.run(*programs.clocks(program, {"update": update}))
            values = {**bound.values, **{k: xp.rint(bound.values[k]) for k in whole}}
            return {**values, **{f: held(values[f], values[end], xp) for f, end in ends.items()}}

        return drawn

    # ---- measured over a part ------------------------------------------------------------------

    def known(self, program: Program) -> dict[str, NDArray[np.float64]]:
        """What is put into the inputs of a program that hold what is measured, by input, each of
        the shape of an example."""
        found = {}
        for b in program.inputs:
            if (asked := MeasuredInput.parse(b.key)) is not None:
                name = f"{asked.data}.{asked.name}"
                if name not in self.measured:
                    measure = self.plan.data[asked.data].measured[asked.name]
                    spec, fields = self.source(asked.data, measure.part)
                    with placed(self.plan.texts, spec.place):
                        fields.together.first(spec, partial(fields.measure, spec, measure))
                found[b.key] = filled_in(self.measured[name], asked.what)
        return found

    def measure(self, spec: DataSpec, measure: MeasureSpec) -> None:
        """Go through the part that a value is measured over. Whatever the run is limited to, it is
        measured over all of it."""
        rows = self.rows(spec, measure.part)
        raw, at = self.raw.arrays(spec, rows)
        field = next(f for f in spec.fields if f.name == measure.field)
        ends = str(RawInput(spec.name, field.ends)) if measure.timed and field.ends else ""
        asked = field.changed(shape=measure.shape, domain="real", kind="real", classes=None)
        moments = Moments(measure.shape)
        for low, found in self._chunks(spec, ProgramKind.MEASURES, raw, at, measure.name):
            values = found[measure.name]
            if measure.timed:
                steps = np.arange(values.shape[1])
                n = at.of(raw[ends], low, low + len(values))[:, None] if ends else values.shape[1]
                values = values[np.broadcast_to(steps < n, values.shape[:2])]
            self._checked(spec, asked, values, rows.numbers(low), "float64")
            moments.add(values)
        self.measured[f"{spec.name}.{measure.name}"] = moments.numbers(measure.kept)

    # ---- read, worked out, checked -------------------------------------------------------------

    def _chunks(
        self, spec: DataSpec, kind: ProgramKind, raw: Arrays, rows: ChosenRows,
        at: str | None = None, own: range | None = None,
    ) -> Iterator[tuple[int, Arrays]]:  # fmt: skip
        """The values of a program over some examples, with where each chunk begins, all of them or
        its `own`: with NumPy the program's own arrays, which hold the next chunk soon. Its memory
        is given back at the end."""
        executable = self.programs.executable(kind.of(spec.name, at))
        clocks, known = self.programs.clocks(executable.program), self.known(executable.program)
        for low, high in chunks_of(spec, rows.count, own):  # a full one first, for memory
            bound = executable.at(high - low)
            for key, target in bound.inputs.items():
                given = known[key] if key in known else rows.of(raw[key], low, high)
                if given.shape[1:] != target.shape[1:] and key not in known:
                    given = in_place(given, spec.columns, target.shape[1])  # columns that are read
                put(self.device, target, given)
            with np.errstate(all="ignore"):  # what is not finite is found by the checks
                bound.run(*clocks)
            yield low, self.programs.read(bound)
        executable.release()

    def _checked(
        self, spec: DataSpec, f: FieldSpec, values: NDArray[Any], first: int | NDArray[Any],
        dtype: str,
    ) -> NDArray[Any]:  # fmt: skip
        """Some values of a field; what is wrong has the place in the file where that is known."""
        where = partial(readers.origin, spec.source)
        return check_field(f, values, self.plan.texts, first, where, dtype)

    def unchecked(self, spec: DataSpec) -> Iterator[Arrays]:
        """The fields of all examples, some at a time; of what is drawn it is one draw."""
        given = self.raw.arrays(spec, ChosenRows(0, spec.count))
        for _, found in self._chunks(spec, ProgramKind.DATA, *given):
            yield settled(spec.fields, {name: array.copy() for name, array in found.items()})

    def check_claims(self, spec: DataSpec, rows: ChosenRows, own: range | None = None) -> None:
        """What is asserted inside of fields, before they are made of it, of all examples or those
        of some chunks. Raises DlnError."""
        if not spec.claims:
            return
        raw, at = self.raw.arrays(spec, rows)
        ends = [f for f in spec.fields if f.domain == "length"]
        specs = [*(f.changed(name=key) for key, f in spec.claims.items()), *ends]
        for low, values in self._chunks(spec, ProgramKind.CLAIMS, raw, at, own=own):
            n = len(next(iter(values.values())))
            for f in ends:
                length = at.of(raw[str(RawInput(spec.name, f.name))], low, low + n)
                values = settled(specs, {**values, f.name: length})
            for key, f in spec.claims.items():
                self._checked(spec, f, values[key], rows.numbers(low), "float64")


def kinds_of(spec: DataSpec, dtype: str) -> dict[str, str]:
    """The type of each field, real ones in a precision."""
    return {f.name: "int64" if f.kind == "index" else dtype for f in spec.fields}


def chunks_of(spec: DataSpec, n: int, own: range | None = None) -> list[tuple[int, int]]:
    """The chunks of n examples of a set in which fields are made, each from a number up to before
    another: all, or those of some numbers."""
    size = CHUNK if spec.drawn else STILL
    lows = range(0, n, size)
    some = lows if own is None else lows[own.start : own.stop]
    return [(low, min(n, low + size)) for low in some]
