"""What is walked through of a run: its programs made ready and run, its data read."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod

from dln.compiler.plan import (
    Buffer,
    DataSpec,
    FieldSpec,
    MeasuredInput,
    Place,
    Plan,
    Program,
    ProgramKey,
    ProgramKind,
    Stretch,
    WholeField,
    buffer_bytes,
    item_size,
    memory,
    scratch,
)
from dln.runtime.data.dealt import kept_together
from dln.runtime.device.source_map import placed
from dln.runtime.footprint.ledger import Item, Ledger
from dln.runtime.readers.readers import by_rows
from dln.runtime.readers.weights import mapped, weight

CHUNK, STILL = 1000, 200  # examples turned into fields at a time, as `runtime.data.fields` does
TESTS = {"binary": 3, "index": 40}
"""Bytes that the tests of a number take, of a domain or a kind."""


@dataclass(frozen=True)
class AskedRun:
    """What is asked of a run: which phases in which order, of how many epochs and examples; whether
    checkpoints are written; the phases of which arrays are kept for checks; whether tasks are
    carried out; the data sets, or parts, whose examples are given from Python, and how many those
    are, and which of them `stay` in their files; minibatches of another size
    than the spec says, by phase; the bytes of what is still to be loaded to draw pictures; how many
    `ranks` share out the run, of which the first one takes most."""

    phases: tuple[str, ...]
    epochs: int | None = None
    limit: int | None = None
    saves: bool = False
    keep: frozenset[str] = frozenset()
    tasks: bool = False
    given: Mapping[str, int] = field(default_factory=dict)
    stay: frozenset[str] = frozenset()
    batch: Mapping[str, int] = field(default_factory=dict)
    drawing: int = 0
    ranks: int = 1


class RunWalk:
    """A run as it takes memory: each method does to the ledger what the runtime does to memory."""

    def __init__(self, plan: Plan, asked: AskedRun) -> None:
        self.plan, self.asked, self.ledger = plan, asked, Ledger()
        self.precision: dict[str, str] = {}
        self.known: set[Hashable] = set()
        self.reserved: dict[ProgramKey, int] = {}

    def once(self, *what: Hashable) -> bool:
        """Whether something is done for the first time."""
        new = what not in self.known
        self.known.add(what)
        return new

    # ---- programs ------------------------------------------------------------------------------

    def ready(self, key: ProgramKey) -> Program:
        """A program made ready: its constants, and copies of parameters in its precision."""
        program = self.plan.programs[key]
        if self.once(key):
            self.ledger.hold(Item("constants of programs", memory(program, 1)["const"]))
        for b in program.buffers:
            if b.place == "param" and self.precision[b.key] != program.dtype:
                if self.once("mirror", b.key, program.dtype):
                    said = f"parameters in {program.dtype} as well"
                    self.ledger.hold(Item(said, buffer_bytes(program, b, 1)))
            elif b.place == "whole":
                self._whole(WholeField.parse(b.key), b.shape_at(0)[0], program.dtype)
        return program

    def taken(self, program: Program, n: int, what: str, place: Place | None = None,
              by: str = "sizes", phase: str = "") -> Item:  # fmt: skip
        """The memory of a program on n examples."""
        parts = memory(program, n)
        own = sum(parts[p] for p in ("arena", "input", "value", "scalar"))
        return Item(what, own, place, by, phase)

    def runs(self, key: ProgramKey, n: int, what: str, place: Place | None = None,
             *more: Item) -> None:  # fmt: skip
        """A program runs on n examples, and keeps its memory until the phase ends."""
        program = self.ready(key)
        if n > self.reserved.get(key, 0):
            self.reserved[key] = n
            batch = "batch" if key.kind is ProgramKind.STEP else "examples"
            item = self.taken(program, n, what, place, batch, key.of)
            self.ledger.put(str(key), item)
        self.ledger.moment(what, *inside(program, n), *more)

    def passes(self, key: ProgramKey, n: int, what: str, *more: Item) -> Item:
        """A program runs once, and its values are copied: those are what is left."""
        program = self.ready(key)
        copies = Item(what, sum(buffer_bytes(program, b, n) for b in program.values))
        self.ledger.moment(what, self.taken(program, n, what), *inside(program, n), copies, *more)
        return copies

    # ---- data ----------------------------------------------------------------------------------

    def data(self, name: str) -> DataSpec:
        """A data set with its parts as they are used: those of what it is handed, where it is."""
        spec, n = self.plan.data[name], self.asked.given.get(name)
        if n is None or spec.reader != "given":
            return spec
        return spec.of(n)

    def count(self, data: str, part: str) -> int:
        """How many examples of a part are used."""
        spec, given, most = self.data(data), self.asked.given, self.asked.limit
        count = spec.parts[part].count
        if data in given and spec.reader != "given":
            count = spec.of(given[data], shares=True).parts[part].count
        count = max(1, given.get(f"{data}.{part}", count))  # none is refused when it is cut up
        return count if most is None else min(count, most)

    def _whole(self, field: WholeField, rows: int, dtype: str) -> None:
        """A field of a whole part: that of the training, unless there are to be fewer examples."""
        asked, count = self.asked, self.data(field.data).parts[field.part].count
        fewer = rows < count
        self.asked = replace(asked, limit=rows if fewer else None)
        self.part(field.data, field.part, dtype, fewer)
        self.asked = asked

    def part(self, data: str, part: str, dtype: str, apart: bool = False) -> None:
        """A part of a data set in a precision: read, made into fields, checked."""
        if not self.once("part", data, part, dtype, self.asked.limit, apart):
            return
        spec, n = self.data(data), self.count(data, part)
        given = bool({data, f"{data}.{part}"} & self.asked.given.keys())
        if given and spec.reader != "given":
            self.ledger.hold(*fields(spec, part, n, dtype))
            return
        self._measures(spec)
        if not given:
            self._read(spec, part, n, self.together(spec))
        if self.stays(data):
            self._chunks(ProgramKind.CLAIMS, spec, part, n)
        elif spec.drawn:
            self._drawn(spec, part, n)
        else:
            self._chunks(ProgramKind.CLAIMS, spec, part, n)
            self.ledger.hold(*self._share(spec, fields(spec, part, n, dtype)))
            self._chunks(ProgramKind.DATA, spec, part, n)

    def together(self, spec: DataSpec) -> bool:
        """Whether the ranks of a run keep a set together."""
        return kept_together(self.plan, spec, self.asked.ranks)

    def _share(self, spec: DataSpec, items: Iterable[Item]) -> Iterable[Item]:
        """What a rank has of what all keep together."""
        ranks = self.asked.ranks if self.together(spec) else 1
        return (replace(item, bytes=-(-item.bytes // ranks)) for item in items)

    def stays(self, data: str) -> bool:
        """Whether the examples of a set stay in their files."""
        given = {name for name in self.asked.given if name.partition(".")[0] == data}
        if given:
            return bool(given & self.asked.stay)
        with placed(self.plan.texts, self.plan.data[data].place):
            return mapped(self.plan.data[data])

    def _measures(self, spec: DataSpec) -> None:
        """What fields are standardised or scaled by is measured first, over all of a part."""
        inputs = self.plan.programs[ProgramKind.DATA.of(spec.name)].inputs
        for asked in filter(None, (MeasuredInput.parse(b.key) for b in inputs)):
            if self.once("measured", asked.data, asked.name):
                owner = self.plan.data[asked.data]
                part = owner.measured[asked.name].part
                if not any(key.partition(".")[0] == asked.data for key in self.asked.given):
                    self._read(owner, part, owner.parts[part].count)
                self._chunks(ProgramKind.MEASURES, owner, part, owner.count, asked.name)

    def _read(self, spec: DataSpec, part: str, n: int, together: bool = False) -> None:
        """As the reader reads it, whole or a stretch, which stays; of what ranks keep together it
        is let go of, or never read whole."""
        asked, of_file = spec.parts[part], spec.stretch(part)
        stretch = None
        if of_file is None:
            if self.once("dealt", spec.name):  # in which order, and which piece each example is in
                self.ledger.hold(Item(f"parts of {spec.name}", 24 * spec.count, spec.place))
        elif n < asked.count:
            stretch = Stretch(of_file[0], of_file[0] + n, spec.count)
        if ("raw", spec.name, None) in self.known or not self.once("raw", spec.name, stretch):
            return
        with placed(self.plan.texts, spec.place):
            if together and by_rows(spec.source, stretch) is not None:
                return
            found = weight(spec, stretch)
        what = f"{spec.name} as it is read"
        self.ledger.moment(what, Item(what, found.peak, spec.place, "examples"))
        if not together:
            said = f"{spec.name} as it was read"
            self.ledger.hold(Item(said, found.held, spec.place, "examples"))

    def _chunks(
        self, kind: ProgramKind, spec: DataSpec, part: str, n: int, at: str | None = None
    ) -> None:
        """Some examples at a time go through a program, and are tested where they stand."""
        key = kind.of(spec.name, at)
        if key not in self.plan.programs:
            return
        program, what = self.ready(key), f"the fields of {spec.name}.{part} worked out"
        size = min(CHUNK if spec.drawn else STILL, n)
        self.ledger.moment(
            what,
            self.taken(program, size, what, spec.place, "examples"),
            *inside(program, size),
            Item(what, tests(spec.fields, size), spec.place, "examples"),
        )

    def _drawn(self, spec: DataSpec, part: str, n: int) -> None:
        """What fields are drawn of at each visit; the first examples are checked."""
        program = self.ready(ProgramKind.DATA.of(spec.name))
        each = sum(buffer_bytes(program, b, 1) for b in program.inputs)
        what = f"{spec.name}.{part}, of which fields are drawn"
        held = [Item(what, each * n, spec.place, "examples")]
        self.ledger.hold(*self._share(spec, held))
        self._chunks(ProgramKind.CLAIMS, spec, part, n)
        few = min(n, CHUNK)
        self.passes(
            ProgramKind.DATA.of(spec.name), few, f"fields of {spec.name}.{part} drawn",
            Item("tests of fields", tests(spec.fields, few), spec.place, "examples"),
        )  # fmt: skip


def inside(program: Program, n: int) -> tuple[Item, ...]:
    """What operations of a program take for themselves while they work."""
    return (Item("operations at work", scratch(program, n)),)


def fields(spec: DataSpec, part: str, n: int, dtype: str) -> Iterable[Item]:
    """The fields of a part, in a precision."""
    for f in spec.fields:
        size = n * prod(f.shape) * item_size(f.kind, dtype)
        yield Item(f"{f.name} of {spec.name}.{part}", size, f.place, "examples")


def tests(specs: Iterable[FieldSpec], n: int) -> int:
    """What testing the values of fields takes, one field after the other."""
    return max((n * prod(f.shape) * TESTS.get(f.domain, TESTS.get(f.kind, 0)) for f in specs),
               default=0)  # fmt: skip


def sized(shapes: Mapping[str, tuple[int, ...]], dtype: str) -> int:
    """Bytes of arrays of real numbers."""
    return sum(map(prod, shapes.values())) * item_size("real", dtype)


def row_bytes(program: Program, buffers: Iterable[Buffer], n: int) -> int:
    """Bytes of some buffers for n examples."""
    return sum(buffer_bytes(program, b, n) for b in buffers)
