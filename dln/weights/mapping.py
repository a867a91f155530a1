"""The map of names, a CSV file: which array of theirs goes where, and how it is turned on the way.

Its first line names the columns: `theirs,ours,how`, and perhaps `why`, which is for people. A name
may end with a place, as `W[0]` or `weight[50:100]`: rows and columns of it, as in NumPy. Faults:
E626.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass

from dln.grammar.diagnostics import DlnError, Fault, Problem, Source, Span, nearest

COLUMNS = ("theirs", "ours", "how", "why")
LONGEST = 1 << 24  # bytes of a map
EXAMPLE = "theirs,ours,how"
STEPS = ("transposed", "axes", "reshaped", "flipped", "added")

Place = tuple[int | slice, ...]


@dataclass(frozen=True)
class NamedPart:
    """An array by name, and which part of it, if not the whole."""

    name: str
    place: Place = ()

    def __str__(self) -> str:
        return f"{self.name}{place_text(self.place)}"


@dataclass(frozen=True)
class MapStep:
    """What is done with an array on the way: its word, and numbers."""

    word: str
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class MapLine:
    """A line of the map. Without a name on one side the other is left out on purpose."""

    theirs: str
    ours: str
    steps: tuple[MapStep, ...]
    how: str
    span: Span


def place_text(place: Place) -> str:
    """A place as it is written."""
    if not place:
        return ""

    def part(p: int | slice) -> str:
        if isinstance(p, int):
            return str(p)
        return f"{'' if p.start is None else p.start}:{'' if p.stop is None else p.stop}"

    return f"[{', '.join(map(part, place))}]"


def named(text: str, known: Container[str]) -> NamedPart:
    """A name with its place. A name that is known as it stands is one: `nets[0].W`. Raises `Fault`
    E626 for what is no place."""
    if text in known or not (found := re.fullmatch(r"(.+?)\s*\[([^\[\]]*)\]", text)):
        return NamedPart(text)
    place = list[int | slice]()
    for part in found[2].split(","):
        if not (said := re.fullmatch(r"\s*(?:(\d{1,12})|(\d{1,12})?\s*:\s*(\d{1,12})?)\s*", part)):
            raise Fault(f"{text}: [{found[2]}] is no place", "W[0], W[50:100] or W[:, 3]", "E626")
        if said[1] is not None:
            place.append(int(said[1]))
        else:
            place.append(slice(*(None if n is None else int(n) for n in (said[2], said[3]))))
    return NamedPart(found[1], tuple(place))


def read_map(path: str) -> list[MapLine]:
    """The lines of a map. Raises `Fault` or `DlnError` E626 for a file that is none."""
    lines, wrong = list[MapLine](), list[Problem]()
    rows = _rows(_source(path))
    span, head = next(rows, (None, []))
    columns = [c.strip().lower() for c in head]
    if span is None or not {"theirs", "ours"} <= set(columns):
        first = f", not {', '.join(head)}" if head else f": {path} has none"
        text = f"the first line of a map names its columns{first}"
        raise Fault(text, EXAMPLE, "E626").at(span)
    for name in columns:
        if name not in COLUMNS or columns.count(name) > 1:
            text = f"a map has the columns {', '.join(COLUMNS)}, each once, not {name or 'nothing'}"
            raise Fault(text, nearest(name, COLUMNS) or EXAMPLE, "E626").at(span)
    for span, cells in rows:
        if len(cells) > len(columns):
            text = f"this line has {len(cells)} cells, the first one {len(columns)}"
            split = any("[" in c and "]" not in c for c in cells)
            remedy = 'put quotes around "W[:, 3]"' if split else f"the first line: {EXAMPLE}"
            wrong.append(Problem("E626", text, span, remedy=remedy))
            continue
        row = dict(zip(columns, (c.strip() for c in cells), strict=False))
        try:
            steps = steps_of(row.get("how", ""))
        except Fault as fault:
            wrong += fault.at(span).problems
            continue
        made = MapLine(row.get("theirs", ""), row.get("ours", ""), steps, row.get("how", ""), span)
        if made.theirs or made.ours:
            lines.append(made)
    if wrong:
        raise DlnError(wrong)
    if not any(line.theirs and line.ours for line in lines):
        text = f"no line of {path} says what goes where"
        raise Fault(text, "a name on both sides, as in fc.weight,net.W", "E626")
    return lines


def _source(path: str) -> Source:
    try:
        with open(path, "rb") as file:
            data = file.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise Fault(f"{path} is longer than a map of names", EXAMPLE, "E626")
        return Source(path, data.decode("utf-8-sig"))
    except OSError as e:
        raise Fault(f"cannot read {path}: {e.strerror}", "--map map.csv", "E626") from e
    except UnicodeDecodeError as e:
        raise Fault(f"{path} is not a text in UTF-8 (byte {e.start})", EXAMPLE, "E626") from e


def _rows(source: Source) -> Iterator[tuple[Span, list[str]]]:
    """The cells of each line that says something, with its place; what tells them apart is what
    the first one has."""
    mark = ""
    for number, start in enumerate(source.starts, 1):
        line = source.line(number)
        if not line.strip(" ,;\t") or line.lstrip().startswith("#"):
            continue
        mark = mark or next((m for m in ",;\t" if m in line), ",")
        span = Span(source, start, start + len(line))
        try:
            yield span, next(csv.reader([line], delimiter=mark, strict=True))
        except csv.Error as e:
            raise Fault(f"this is no line of CSV: {e}", EXAMPLE, "E626").at(span) from e


def steps_of(how: str) -> tuple[MapStep, ...]:
    """What is done on the way, in order. Raises `Fault` E626.

    >>> steps_of("axes 1 0")
    (MapStep(word='axes', numbers=(1, 0)),)
    """
    found = list[MapStep]()
    for word in how.replace(";", " ").split():
        takes = found and found[-1].word not in ("transposed", "added")
        if takes and re.fullmatch(r"\d{1,12}", word):
            found[-1] = MapStep(found[-1].word, (*found[-1].numbers, int(word)))
        elif word in STEPS:
            found.append(MapStep(word))
        else:
            remedy = nearest(word, STEPS) or ", ".join(STEPS)
            raise Fault(f"how is no place for {word}", remedy, "E626")
    return tuple(found)
