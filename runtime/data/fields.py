"""The fields of data sets, made of what their readers give by a program of the plan, and checked.

Problems: those of `readers.validation`, with the number of the example in the file; E557 a file
that holds another number of examples than it did when the spec was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import DataSource, DataSpec, FieldSpec, ProgramKind, RawInput, Stretch
from dln.grammar.diagnostics import DlnError, Fault
from dln.runtime.data.part import DataPart, Drawn, Fill
from dln.runtime.device.device import DeviceArray
from dln.runtime.execution.executable import Bound
from dln.runtime.execution.programs import Programs
from dln.runtime.execution.store import put
from dln.runtime.readers import handed, readers
from dln.runtime.readers.binary import cut
from dln.runtime.readers.frames import numbered
from dln.runtime.readers.given import held, settled
from dln.runtime.readers.tables import in_place
from dln.runtime.readers.validation import Arrays, check_field, check_fields

CHUNK = 1000  # examples of which fields are drawn at a time
STILL = 200  # examples turned into fields that stay: so few that their numbers stay in a cache
Read = Callable[[DataSource, Stretch | None], dict[str, NDArray[Any]]]


class Fields:
    """Makes the fields of data sets. Each set is read once, by `read`; what is `handed` over has
    been looked at before."""

    def __init__(self, programs: Programs, read: Read, handed: bool = False) -> None:
        self.handed = handed
        self.programs, self.plan, self.device = programs, programs.plan, programs.device
        self._read = read
        self._raw: dict[tuple[str, Stretch | None], Arrays] = {}

    def of(self, arrays: Arrays) -> Fields:
        """What makes fields of other arrays, in place of those that its reader gives."""

        def read(_: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
            return {name: cut(a, stretch) for name, a in arrays.items()}

        return Fields(self.programs, read, handed=True)

    def still(self, spec: DataSpec, start: int, count: int, dtype: str) -> Arrays:
        """The fields of `count` examples from `start` on, [count, *shape] each, on the host, real
        ones in a precision: worked out in chunks and checked. Of what is drawn it is one draw.
        Raises `DlnError` for data that are not as declared."""
        raw = self._arrays(spec, start, count)
        self.check_claims(spec, start, count)
        kinds = kinds_of(spec, dtype)
        done: Arrays = {f.name: np.empty((count, *f.shape), kinds[f.name]) for f in spec.fields}
        for low, found in self._chunks(spec, ProgramKind.DATA, raw):
            values = settled(spec.fields, found)
            for f in spec.fields:
                chunk = self._checked(spec, f, values[f.name], start + low, dtype)
                done[f.name][low : low + len(chunk)] = chunk
        return done

    def visited(self, spec: DataSpec, part: str, start: int, count: int) -> DataPart:
        """A part whose fields are drawn at each visit: the first examples are checked."""
        device, raw = self.device, self._arrays(spec, start, count)
        program = self.plan.programs[ProgramKind.DATA.of(spec.name)]
        kinds = {b.key: "int64" if b.kind == "index" else program.dtype for b in program.inputs}
        wide = {b.key: b.shape_at(1)[1:] for b in program.inputs}
        fitting = {key: a if a.shape[1:] == wide[key] else in_place(a, spec.columns, *wide[key])
                   for key, a in raw.items() if key in kinds}  # fmt: skip
        arrays = {key: device.array(fitting[key], kinds[key]) for key in kinds}
        source = DataPart(f"{spec.name}.{part}", start, count, arrays)
        self.check_claims(spec, start, count)
        few, drawn = device.array(np.arange(min(count, CHUNK)), "int64"), self._drawer(spec, source)
        found = {key: device.to_host(a) for key, a in drawn(few, 0.0).items()}
        self.programs.executable(ProgramKind.DATA.of(spec.name)).release()  # minibatches are small
        for f in spec.fields:
            self._checked(spec, f, found[f.name], start, program.dtype)
        return replace(source, drawn=drawn)

    def _drawer(self, spec: DataSpec, source: DataPart) -> Drawn:
        """What gives the fields of some examples, as they are drawn at an update."""
        programs, xp = self.programs, self.device.xp
        executable = programs.executable(ProgramKind.DATA.of(spec.name))
        program = executable.program
        made = {b.key: b.kind for b in program.values}
        whole = [f.name for f in spec.fields if f.kind == "index" and made[f.name] == "real"]
        ends = {f.name: f.ends for f in spec.fields if f.timed and f.ends}
        fillers = WeakKeyDictionary[Bound, Fill]()

        def drawn(indices: DeviceArray, update: float) -> dict[str, DeviceArray]:
            n = len(indices)
            bound = executable.at(n)
            if bound not in fillers:
                fillers[bound] = source.filler(bound, xp)
            fillers[bound](indices, update)
            bound.run(*programs.clocks(program, {"update": update}))
            values = {**bound.values, **{k: xp.rint(bound.values[k]) for k in whole}}
            return {**values, **{f: held(values[f], values[end], xp) for f, end in ends.items()}}

        return drawn

    # ---- read, worked out, checked -------------------------------------------------------------

    def _arrays(self, spec: DataSpec, start: int, count: int) -> Arrays:
        """What the reader of a set gives of a stretch, by the inputs of its program. A set is read
        as a whole where a whole part is asked for, as others may be; of fewer examples they alone.
        """
        whole = count == spec.count or (start, count) in spec.parts.values()
        stretch = None if whole else Stretch(start, start + count, spec.count)
        known = next((s for s in (None, stretch) if (spec.name, s) in self._raw), stretch)
        if (spec.name, known) not in self._raw:
            self._raw[spec.name, known] = self._made(spec, known)
        raw = self._raw[spec.name, known]
        return raw if known else {key: a[start : start + count] for key, a in raw.items()}

    def _made(self, spec: DataSpec, stretch: Stretch | None) -> Arrays:
        if spec.reader == "given" and spec.override is None and not self.handed:
            raise handed.unhanded(spec.source, spec.name)
        raw = self._read(spec.source, stretch)
        if spec.reader == "given" and not self.handed:
            raw = self._fitting(spec, raw)
        count = len(next(iter(raw.values())))
        if stretch is None and count != spec.count:
            message = f"{spec.name} holds {count:,} examples, but held {spec.count:,} before"
            raise Fault(message, "compile the spec again", "E557")
        return {str(RawInput(spec.name, key)): a for key, a in raw.items()}

    def _fitting(self, spec: DataSpec, raw: Arrays) -> Arrays:
        """What a file has for a set that wants to be handed its examples. Raises `DlnError`, with
        the file's name."""
        try:
            names = handed.names_of(spec.source)
            raw = {k: numbered(a, names.get(k), k) for k, a in raw.items()}
            return check_fields(spec.raw, raw, f"the data set {spec.name}", self.plan.texts)
        except DlnError as error:
            said = (replace(p, message=f"{spec.override}: {p.message}") for p in error.problems)
            raise DlnError(list(said)) from None

    def _chunks(
        self, spec: DataSpec, kind: ProgramKind, raw: Arrays
    ) -> Iterator[tuple[int, Arrays]]:
        """The values of a program over some examples, with where each chunk begins: with NumPy the
        program's own arrays, which hold the next chunk soon. Its memory is given back at the end.
        """
        executable = self.programs.executable(kind.of(spec.name))
        clocks = self.programs.clocks(executable.program)
        count = len(next(iter(raw.values())))
        size = CHUNK if spec.drawn else STILL
        for low in range(0, count, size):  # a full one first, so that memory is taken once
            n = min(size, count - low)
            bound = executable.at(n)
            for key, target in bound.inputs.items():
                some = raw[key][low : low + n]
                if some.shape[1:] != target.shape[1:]:  # the columns that are read, in their places
                    some = in_place(some, spec.columns, target.shape[1])
                put(self.device, target, some)
            with np.errstate(all="ignore"):  # what is not finite is found by the checks
                bound.run(*clocks)
            yield low, self.programs.read(bound)
        executable.release()

    def _checked(
        self, spec: DataSpec, f: FieldSpec, values: NDArray[Any], first: int, dtype: str
    ) -> NDArray[Any]:
        """Some values of a field; what is wrong has the place in the file where that is known."""
        where = partial(readers.origin, spec.source)
        return check_field(f, values, self.plan.texts, first, where, dtype)

    def unchecked(self, spec: DataSpec) -> Iterator[Arrays]:
        """The fields of all examples, some at a time; of what is drawn it is one draw."""
        for _, found in self._chunks(spec, ProgramKind.DATA, self._arrays(spec, 0, spec.count)):
            yield settled(spec.fields, {name: array.copy() for name, array in found.items()})

    def check_claims(self, spec: DataSpec, start: int, count: int) -> None:
        """What is asserted inside of fields, before they are made of it. Raises DlnError."""
        if not spec.claims:
            return
        raw = self._arrays(spec, start, count)
        ends = [f for f in spec.fields if f.domain == "length"]
        specs = [*(f.changed(name=key) for key, f in spec.claims.items()), *ends]
        for low, values in self._chunks(spec, ProgramKind.CLAIMS, raw):
            n = len(next(iter(values.values())))
            for f in ends:
                length = raw[str(RawInput(spec.name, f.name))][low : low + n]
                values = settled(specs, {**values, f.name: length})
            for key, f in spec.claims.items():
                self._checked(spec, f, values[key], start + low, "float64")


def kinds_of(spec: DataSpec, dtype: str) -> dict[str, str]:
    """The type of each field, real ones in a precision."""
    return {f.name: "int64" if f.kind == "index" else dtype for f in spec.fields}
