"""Statements that come again, one stretch after another: a block, applied so often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dln.importing.layout import WORD, BlockText, Held, Unit, numbered
from dln.importing.values import Shape

LEAST = 3  # statements of a block
MOST = 400  # statements that are looked through


@dataclass(frozen=True)
class Repeat:
    """Statements that could be a block: what goes in, what comes out, parameters of its own, and
    those that others have too, which are handed to it."""

    units: tuple[Unit, ...]
    source: str
    result: str
    params: tuple[Unit, ...]
    shared: tuple[str, ...]

    def canonical(self) -> tuple[str, ...]:
        """Its text under names by place."""
        return tuple(t for u in (*self.params, *self.units) for t in u.renamed(self.places).text)

    @property
    def places(self) -> dict[str, str]:
        own = [d for u in (*self.params, *self.units) for d in u.defines]
        return {**{d: f"_{k}" for k, d in enumerate(own)}, self.source: "_x"}


def gathered(units: list[Unit], values: dict[str, Shape], kept: set[str], taken: set[str]) -> tuple[
    list[Unit], list[BlockText]
]:  # fmt: skip
    """The statements with blocks in place of what comes again; `values` are the ports by name,
    `kept` the results, `taken` names that no block may have."""
    blocks: list[BlockText] = []
    for name in ("layer", "stage", "part"):
        if name in taken or len(units) > MOST:
            break
        found = best(units, values, kept)
        if not found:
            break
        units, block = replaced(units, found, name, values, kept)
        blocks.append(block)
    return units, blocks


def is_param(unit: Unit) -> bool:
    return unit.text[0].startswith(("param ", "fixed "))


def best(units: list[Unit], values: dict[str, Shape], kept: set[str]) -> list[Repeat]:
    """Stretches that are one, one after another, and hold the most statements in all."""
    rows = [u for u in units if not is_param(u)]
    shapes = values | {u.target: u.shape for u in units}
    marks = [pattern(u, shapes) for u in rows]
    most, chosen = 0, list[Repeat]()
    for size in range(LEAST, len(rows) // 2 + 1):
        start = 0
        while start + 2 * size <= len(rows):
            times = 1
            while (
                marks[start : start + size]
                == marks[start + times * size : start + (times + 1) * size]
            ):
                times += 1
            if times > 1 and times * size > most:
                found = alike(units, rows, start, size, times, kept, values)
                if len(found) > 1 and len(found) * size > most:
                    most, chosen = len(found) * size, found
            start += 1
    return chosen


def same(marks: list[tuple[object, ...]], one: int, other: int, size: int) -> bool:
    return marks[one : one + size] == marks[other : other + size]


def pattern(unit: Unit, shapes: dict[str, Shape]) -> tuple[object, ...]:
    """What a statement is but for the names in it."""
    text = WORD.sub(
        lambda m: "?" if m[0] in shapes or m[0] in unit.defines else m[0], unit.text[-1]
    )
    return unit.text[0].partition("=")[2] if len(unit.text) > 1 else "", text, unit.shape


def alike(
    units: list[Unit], rows: list[Unit], start: int, size: int, times: int, kept: set[str],
    values: dict[str, Shape],
) -> list[Repeat]:  # fmt: skip
    """As many of the stretches from a place on as are one block."""
    found: list[Repeat] = []
    for k in range(times):
        at = start + k * size
        one = stretch(units, rows, at, at + size, kept, values)
        if one is None or (found and one.canonical() != found[0].canonical()):
            break
        found.append(one)
    return found


def stretch(
    units: list[Unit], rows: list[Unit], start: int, stop: int, kept: set[str],
    values: dict[str, Shape],
) -> Repeat | None:  # fmt: skip
    """A stretch of statements where one value goes in, one comes out, and nobody else has its
    parameters."""
    inside = rows[start:stop]
    own = {d for u in inside for d in u.defines}
    read = {w for u in inside for w in u.words} - own
    params = tuple(u for u in units if is_param(u) and u.target in read)
    outside = [w for u in rows[:start] + rows[stop:] for w in u.words]
    beyond = {*outside} | kept
    sources = read & ({u.target for u in rows} | values.keys())
    results = own & beyond
    shared = tuple(p.target for p in params if p.target in beyond)
    params = tuple(p for p in params if p.target not in shared)
    if len(sources) != 1 or len(results) != 1:
        return None
    source, result = sources.pop(), results.pop()
    if result != inside[-1].target:
        return None
    return Repeat(tuple(inside), source, result, params, shared)


def replaced(
    units: list[Unit], found: Sequence[Repeat], name: str, values: dict[str, Shape], kept: set[str]
) -> tuple[list[Unit], BlockText]:  # fmt: skip
    """The statements with each stretch as a line that applies the block, and the block."""
    first = found[0]
    shapes = values | {u.target: u.shape for u in units}
    inner = inner_names(first)
    handed = f"; {', '.join(first.shared)}" if first.shared else ""
    ports = f"x{sizes(shapes[first.source])}{handed}"
    results = f"y{sizes(shapes[first.result])}"
    lines = [u.renamed(inner) for u in (*first.params, *first.units)]
    block = BlockText(name, ports, results, numbered(lines, ["x", "y"]))
    held = [d for u in block.units for d in u.defines]
    gone = {id(u) for s in found for u in (*s.params, *s.units)}
    ends = {id(s.units[-1]): (k, s) for k, s in enumerate(found, 1)}
    made: list[Unit] = []
    names: dict[str, str] = {}
    used = {d for u in units for d in u.defines}
    for u in units:
        if id(u) in ends:
            k, s = ends[id(u)]
            target = s.result if s.result in kept else fresh(f"{name}{k}", used)
            names[s.result] = target
            text = f"{target} = {s.source} -> {name}({', '.join(s.shared)})"
            weights: dict[str, Held] = {}
            for part in (*s.params, *s.units):
                for path, w in part.renamed(s.places).weights.items():
                    place, dot, rest = path.partition(".")
                    weights[f"{target}.{held[int(place[1:])]}{dot}{rest}"] = w
            made.append(Unit((text,), target, u.shape, (target,), weights))
        elif id(u) not in gone:
            made.append(u)
    return numbered([u.renamed(names) for u in made], kept), block


def fresh(name: str, used: set[str]) -> str:
    while name in used:
        name += "_"
    used.add(name)
    return name


def inner_names(s: Repeat) -> dict[str, str]:
    """Short names in a block: x goes in, y comes out; those of the first stretch otherwise."""
    names = {s.source: "x", s.result: "y"}
    own = [d for u in (*s.params, *s.units) for d in u.defines if d != s.result]
    for d in own:
        short = d.rpartition("_")[2] if "_" in d else d
        free = short not in names.values() and short not in own and len(short) > 1
        if free and not short.isdigit() and short[0].isalpha():
            names[d] = short
    return names


def sizes(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]" if shape else ""
