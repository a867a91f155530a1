"""What reads the data of a file, and makes their fields."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping
from json import dumps
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dln.compiler.plan import DataSpec, PhaseSpec, Plan, ProgramKind, RawInput
from dln.runtime.readers import files, readers
from dln.runtime.readers.tables import in_place
from dln.standalone.program.layout import broken
from dln.standalone.program.text import Written, ident, table

FEW = 200
"""Numbers that stand in the file itself."""
Parts = Mapping[tuple[str, str, str], str]


class DataText:
    """Writes the function that gives the parts of the data; `parts` are what they are called by
    data set, part and precision, `arrays` what lies beside the file."""

    def __init__(self, plan: Plan, parts: Parts, made: Mapping[str, Written]) -> None:
        self.plan, self.parts, self.made = plan, parts, made
        self.arrays: dict[str, NDArray[Any]] = {}
        self.raw: dict[str, str] = {}
        self.sets = {name: plan.data[name] for name, _, _ in parts}
        self.base = folder(self.sets.values())

    def lines(self) -> Iterator[str]:
        """The function, line by line."""
        inside = ", folder=DATA" if self.base else ""
        yield f"\ndef examples(seed=0, limit=None{inside}):"
        yield '    """The parts of the data that are learned from or watched, field by field."""'
        self.raw = {name: self.read(d) for name, d in self.sets.items()}
        if self.arrays:
            yield '    held = np.load(Path(__file__).with_suffix(".data.npz"))'
        for name, text in self.raw.items():
            if [key[0] for key in self.parts].count(name) > 1 or len(text) > 50:
                yield from broken(f"    {ident(name)}_raw = {text}")
                self.raw[name] = f"{ident(name)}_raw"
        rows = [f'        "{called}": {self.part(*key)},' for key, called in self.parts.items()]
        yield "    return {"
        yield from (row for text in rows for row in broken(text))
        yield "    }"

    def part(self, name: str, part: str, dtype: str) -> str:
        """The call that makes the fields of a part."""
        d = self.plan.data[name]
        start, count = d.stretch(part) or (0, 0)
        key = str(ProgramKind.DATA.of(name))
        program, written = self.plan.programs[key], self.made[key]
        clocks = dict.fromkeys(program.clocks, "0") | ({"update": "update"} if d.drawn else {})
        first = next((str(k) for kind, k in written.asks if kind == "input"), "")
        call = written.call("some", clocks, n=f'len(some["{first}"])')
        plain = [("input", name) for name in written.inputs] == list(written.asks) and not d.drawn
        made = written.name if plain else f"lambda {'update, ' * d.drawn}**some: {call}"
        rows = f"np.arange({f'{start}, {start + count}' if start else count})[:limit]"
        form = "drawn" if d.drawn else "fields"
        return f"{form}({made}, {self.raw[name]}, {rows}, np.{dtype})"

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
        found = {}
        for key, array in readers.read(d.source).items():
            asked = inputs.get(str(RawInput(d.name, key)))
            if asked is None:
                continue
            if array.shape[1:] != asked.shape_at(1)[1:]:
                array = in_place(array, d.columns, asked.shape_at(1)[1])
            if array.size <= FEW:
                found[key or "raw"] = f"np.array({array.tolist()!r})"
            else:
                place = f"{d.name}.{key or 'raw'}"
                self.arrays[place] = array
                found[key or "raw"] = f"held[{dumps(place)}]"
        return table(found)


def folder(sets: Iterable[DataSpec]) -> str:
    """Where files are."""
    paths = [p for d in sets if d.reader == "idx" for p in files.files_of(d.source)]
    return str(paths[0].parent) if paths else ""


def parts_of(plan: Plan, phases: Iterable[PhaseSpec]) -> dict[tuple[str, str, str], str]:
    """The parts of data that phases use, in which precision, and what each is called."""
    found: dict[tuple[str, str, str], str] = {}
    for phase in phases:
        asked = [(phase.on, plan.programs[phase.step].dtype)]
        for w in phase.watches:
            if w.on is not None and w.program is not None:
                asked.append((w.on, plan.programs[w.program].dtype))
        for on, dtype in asked:
            taken = on.spoken in found.values() and (on.data, on.part, dtype) not in found
            name = f"{on.spoken} in {dtype}" if taken else on.spoken
            found.setdefault((on.data, on.part, dtype), name)
    return found
