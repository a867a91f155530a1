"""What reads the data of a file, and makes their fields."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from json import dumps
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dln.compiler.plan import (
    DataSpec,
    MeasuredInput,
    On,
    PhaseSpec,
    Plan,
    Program,
    ProgramKey,
    ProgramKind,
    RawInput,
    WholeField,
    site_number,
)
from dln.runtime.data.fields import Fields
from dln.runtime.device.device import open_device
from dln.runtime.readers import files, readers
from dln.runtime.readers.tables import in_place
from dln.runtime.session import Session
from dln.standalone.parts import keys_of
from dln.standalone.program.layout import broken
from dln.standalone.program.text import WrittenProgram, ident, table

FEW = 200
"""Numbers that stand in the file itself."""
Parts = Mapping[tuple[str, str, str], str]


class DataText:
    """Writes the function that gives the parts of the data; `parts` are what they are called by
    data set, part and precision, `arrays` what lies beside the file."""

    def __init__(
        self, plan: Plan, parts: Parts, made: Mapping[str, WrittenProgram], whole: bool = False
    ) -> None:
        self.plan, self.parts, self.made, self.whole = plan, parts, made, whole
        self.arrays: dict[str, NDArray[Any]] = {}
        self.raw: dict[str, str] = {}
        self.sets = {name: plan.data[name] for name, _, _ in parts}
        self.base = folder(self.sets.values())
        self.handed = any(map(is_handed, self.sets.values()))

    @property
    def takes(self) -> str:
        """What the functions take that read the data: a folder, or arrays by data set."""
        return ", folder=DATA" * bool(self.base) + ", given=None" * self.handed

    def lines(self) -> Iterator[str]:
        """The function, line by line."""
        yield f"\ndef examples(seed=0, limit=None{self.takes}):"
        yield '    """The parts of the data that are learned from or watched, field by field."""'
        if self.whole:
            said = "it reads whole parts, of as many examples as it was written for"
            yield "    if limit is not None:"
            yield f'        raise SystemExit("--limit: {said}")'
        self.raw = {name: self.read(d) for name, d in self.sets.items()}
        for key in self.parts:
            self.part(*key)
        if self.arrays:
            yield '    held = np.load(Path(__file__).with_suffix(".data.npz"))'
        for name, text in self.raw.items():
            several = [key[0] for key in self.parts].count(name) > 1
            if several or len(text) > 50 or is_handed(self.sets[name]):
                yield from broken(f"    {ident(name)}_raw = {text}")
                self.raw[name] = f"{ident(name)}_raw"
        rows = [f'        "{called}": {self.part(*key)},' for key, called in self.parts.items()]
        yield "    return {"
        yield from (row for text in rows for row in broken(text))
        yield "    }"

    def part(self, name: str, part: str, dtype: str) -> str:
        """The call that makes the fields of a part."""
        d = self.plan.data[name]
        key = str(ProgramKind.DATA.of(name))
        program, written = self.plan.programs[key], self.made[key]
        clocks = dict.fromkeys(program.clocks, "0") | ({"update": "update"} if d.drawn else {})
        first = next((str(k) for kind, k in written.asks
                      if kind == "input" and MeasuredInput.parse(str(k)) is None), "")  # fmt: skip
        measured = self.measured(program)
        call = written.call("some", clocks, n=f'len(some["{first}"])', **measured)
        plain = [("input", name) for name in written.inputs] == list(written.asks) and not d.drawn
        made = written.name if plain else f"lambda {'update, ' * d.drawn}**some: {call}"
        form = "drawn" if d.drawn else "fields"
        text = f"{form}({made}, {self.raw[name]}, {self.rows(d, part)}, np.{dtype})"
        ends = {f.name: f.ends for f in d.fields if f.timed and f.ends}
        return f"settled({text}, {dumps(ends)})" if ends else text

    def rows(self, d: DataSpec, part: str) -> str:
        """The rows of a part in its file."""
        if is_handed(d):
            return f"np.arange(len(next(iter({self.raw[d.name]}.values()))))[:limit]"
        stretch = d.stretch(part)
        if stretch is not None:
            start, count = stretch
            return f"np.arange({f'{start}, {start + count}' if start else count})[:limit]"
        division, pieces = d.division, sorted(d.parts[part].pieces)
        n, low = sum(division.sizes), sum(division.sizes[: pieces[0]])
        if (
            division.shuffled
            and not division.told_by
            and pieces == list(range(pieces[0], pieces[-1] + 1))
        ):
            order = f"permutation({n}, {division.seed}, {site_number('split')}, 0)"
            count = sum(division.sizes[k] for k in pieces)
            return f"np.sort({order}[{low}:{low + count}][:limit])"
        place = f"{d.name}.{part}.rows"
        self.arrays[place] = self.reader.as_dealt(d, part)
        return f"np.sort(held[{dumps(place)}][:limit])"

    @cached_property
    def reader(self) -> Fields:
        """What makes fields in a session, and knows what it has measured for that."""
        return Session(self.plan, open_device("numpy")).datasets.fields

    def measured(self, program: Program) -> dict[str, str]:
        """What is measured of data, as the program of these is given it, by input."""
        if not any(MeasuredInput.parse(b.key) for b in program.inputs):
            return {}
        return {key: self.array(key, array) for key, array in self.reader.known(program).items()}

    def array(self, place: str, array: NDArray[Any]) -> str:
        """An array, which stands in the file or beside it."""
        if array.size <= FEW:
            return f"np.array({array.tolist()!r})".replace("inf", "np.inf")
        self.arrays[place] = array
        return f"held[{dumps(place)}]"

    def where(self, path: Path) -> str:
        """The call that reads an IDX file, of the folder of the first one or of another."""
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as held:
            reads = "idx" if held.read(3)[2:] == b"\x08" else "idx_of"
        if str(path.parent) == self.base:
            return f"{reads}(folder / {dumps(path.name)})"
        return f"{reads}({dumps(str(path))})"

    def read(self, d: DataSpec) -> str:
        """The call that reads a data set."""
        if d.reader == "idx":
            names = [f.name for f in d.raw]
            paths = files.files_of(d.source)
            return table({n: self.where(p) for n, p in zip(names, paths, strict=True)})
        inputs = {b.key: b for b in self.plan.programs[ProgramKind.DATA.of(d.name)].inputs}
        if is_handed(d):
            said = {f.name: inputs.get(str(RawInput(d.name, f.name))) for f in d.raw}
            fields = {n: list(a.shape_at(1)[1:]) for n, a in said.items() if a is not None}
            return f"handed(given, {dumps(d.name)}, {dumps(fields)})"
        found = {}
        for key, array in readers.read(d.source).items():
            asked = inputs.get(str(RawInput(d.name, key)))
            if asked is None:
                continue
            if array.shape[1:] != asked.shape_at(1)[1:]:
                array = in_place(array, d.columns, asked.shape_at(1)[1])
            found[key or "raw"] = self.array(f"{d.name}.{key or 'raw'}", array)
        return table(found)


def is_handed(d: DataSpec) -> bool:
    """Whether a data set is handed over where the file is called."""
    return d.reader == "given" and d.override is None


def folder(sets: Iterable[DataSpec]) -> str:
    """Where files are."""
    paths = [p for d in sets if d.reader == "idx" for p in files.files_of(d.source)]
    return str(paths[0].parent) if paths else ""


def parts_of(
    plan: Plan, phases: Iterable[PhaseSpec], more: Iterable[ProgramKey] = ()
) -> dict[tuple[str, str, str], str]:
    """The parts of data that phases, and some programs more, use, in which precision, and what each
    is called."""
    found: dict[tuple[str, str, str], str] = {}

    def enter(on: On, dtype: str) -> None:
        taken = on.spoken in found.values() and (on.data, on.part, dtype) not in found
        name = f"{on.spoken} in {dtype}" if taken else on.spoken
        found.setdefault((on.data, on.part, dtype), name)

    keys = list(more)
    for phase in phases:
        enter(phase.on, plan.programs[phase.step].dtype)
        keys += keys_of(plan, phase)
        for w in phase.watches:
            if w.on is not None and w.program is not None:
                enter(w.on, plan.programs[w.program].dtype)
    for task in plan.tasks.values():
        for emit in task.emits:
            if emit.on is not None and emit.program in keys:
                enter(emit.on, plan.programs[emit.program].dtype)
    for program in (plan.programs[key] for key in keys):
        for field in map(WholeField.parse, whole_keys(program)):
            enter(On(field.data, field.part), program.dtype)
    return found


def whole_keys(program: Program) -> list[str]:
    """The fields of whole parts that a program reads."""
    return [b.key for b in program.buffers if b.place == "whole"]


def wholes_of(program: Program, parts: Parts) -> list[str]:
    """The fields of whole parts that a program reads, as entries of a dictionary in the file."""
    found = []
    for b in program.buffers:
        if b.place == "whole":
            field = WholeField.parse(b.key)
            part = parts[field.data, field.part, program.dtype]
            found.append(f'"{b.key}": data["{part}"]["{field.field}"][:{b.shape[0][0]}]')
    return found
