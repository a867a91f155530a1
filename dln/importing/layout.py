"""The lines of a block as texts, what each defines and what it reads; nothing that nobody reads,
and numbers in the order of reading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from dln.grammar.printer import expr_text
from dln.importing.body import BlockBody, BodyLine, BodyParam, Layer
from dln.importing.model import Array
from dln.importing.values import TIME, Shape

WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
BREAK = re.compile(r", | (?=[-+*/] )| (?=if )| (?=else )")  # where a line may go on
NUMBERED = re.compile(r"h\d+")


@dataclass
class Held:
    """A weight: its numbers, and whether they are not learnt."""

    array: Array
    fixed: bool


@dataclass
class Unit:
    """A statement of a block, with the layer before it where that has a name of its own. `weights`
    are by path, `fc1.W`."""

    text: tuple[str, ...]
    target: str
    shape: Shape
    defines: tuple[str, ...]
    weights: dict[str, Held] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        return WORD.findall("\n".join(self.text))

    def renamed(self, names: Mapping[str, str]) -> Unit:
        """The same under other names."""
        if not names.keys() & {*self.words}:
            return self

        def change(text: str) -> str:
            return WORD.sub(lambda m: names.get(m[0], m[0]), text)

        return Unit(
            tuple(map(change, self.text)), change(self.target), self.shape,
            tuple(map(change, self.defines)), {change(k): h for k, h in self.weights.items()},
        )  # fmt: skip


@dataclass
class BlockText:
    """A block: its ports and results as they are written, its lines."""

    name: str
    ports: str
    results: str
    units: list[Unit]

    def lines(self) -> Iterator[str]:
        yield f"block {self.name}({self.ports}) -> {self.results} {{"
        for unit in self.units:
            for line in unit.text:
                yield from folded(f"  {line}")
        yield "}"


def units_of(body: BlockBody, kept: Iterable[str]) -> list[Unit]:
    """The statements of a block, parameters first; `kept` are the names of its results."""
    names = body.renamed
    found = [parameter(p) for p in body.params] + [statement(x) for x in body.lines]
    return numbered(live([u.renamed(names) for u in found], kept), kept)


def parameter(p: BodyParam) -> Unit:
    shape = [*map(int, p.array.shape)]
    sizes = f"[{', '.join(map(str, shape))}]" if shape else ""
    if p.fixed:
        text = f"fixed {p.name}{sizes} = 0"
    elif len(shape) > 1:
        text = f"param {p.name}{sizes} ~ glorot({prod(shape[1:])}, {shape[0]})"
    else:
        text = f"param {p.name}{sizes} = 0"
    return Unit((text,), p.name, tuple(shape), (p.name,), {p.name: Held(p.array, p.fixed)})


def statement(line: BodyLine) -> Unit:
    """`target[index] = value`."""
    sequence = line.shape[:1] == (TIME,) and not line.adds
    marks = [f"{i} in time" if sequence and k == 0 else i for k, i in enumerate(line.index)]
    at = f"[{', '.join(marks)}]" if marks else ""
    before: list[str] = []
    weights: dict[str, Held] = {}
    defines = [line.target]
    value = line.value
    if isinstance(value, Layer):
        if value.apart is not None:
            before.append(f"let {value.name} = {expr_text(value.made)}")
            defines.insert(0, value.name)
        for k, array in value.weights.items():
            weights[f"{value.name}.{k}"] = Held(array, k in value.fixed)
        value = value.value
    text = f"{line.target}{at} {'+=' if line.adds else '='} {expr_text(value)}"
    return Unit((*before, text), line.target, line.shape, tuple(defines), weights)


def live(units: list[Unit], kept: Iterable[str]) -> list[Unit]:
    """Without what nobody reads."""
    wanted, found = {*kept}, list[Unit]()
    for unit in reversed(units):
        if wanted & {*unit.defines}:
            wanted |= {*unit.words}
            found.append(unit)
    return found[::-1]


def numbered(units: list[Unit], kept: Iterable[str]) -> list[Unit]:
    """Names that are numbers count from 1, in order."""
    given = [d for u in units for d in u.defines if NUMBERED.fullmatch(d) and d not in {*kept}]
    return [u.renamed({d: f"h{k}" for k, d in enumerate(given, 1)}) for u in units]


def folded(line: str, width: int = 100) -> Iterator[str]:
    """A line that is not too long; it goes on inside its brackets."""
    while len(line) > width:
        spots = [m.end() - 1 for m in BREAK.finditer(line, 20, width - 1)]
        inside = [at for at in spots if open_at(line, at)]
        if not inside:
            break
        yield line[: inside[-1]]
        line = "      " + line[inside[-1] :].lstrip()
    yield line


def open_at(line: str, at: int) -> bool:
    """Whether a bracket is open there, counted from the beginning of the line."""
    before = line[:at]
    return before.count("(") + before.count("[") > before.count(")") + before.count("]")
