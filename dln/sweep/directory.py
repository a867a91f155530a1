"""The directory of a sweep: what is done of it, for people, programs and `--resume`.

    spec.dln      the spec as it was read
    machine.json  versions, and the parts of the machine that decide bits
    sweep.json    settings and rows, written anew after each run, with a digest of all
    table.csv     all rows; NAME.png for each sweep: written at the end

Problems: E540 an occupied directory, E541 nothing to go on with, or not as it was left, E542 the
system refuses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import Fault
from dln.printing.files import allowed, as_json, put, table
from dln.printing.terminal import plain
from dln.running import differences
from dln.runtime.checkpoint.checkpoint import sha256
from dln.runtime.checkpoint.rundir import SPEC, machine, next_free
from dln.settings import Settings
from dln.sweep.row import Row

Varied = Mapping[str, Sequence[Mapping[str, Any]]]
"""The runs of each sweep, as constants with their values."""

FILE, MACHINE, SUM = "sweep.json", "machine.json", "sum"
CLAIM = "parts.json"
"""What a directory has that parts of a sweep are gathered in."""
ROOM = "free some space, or choose another directory with --out"
KEPT = ("constants", "data", "backend", "dtype", "shards", "threads", "seed", "epochs", "limit",
        "phase", "slow")  # fmt: skip
"""The settings that decide a row: a sweep that goes on has those it was begun with."""


@dataclass
class SweepDirectory:
    """A sweep on disk. `rows` are those done, by sweep and number of the run."""

    path: Path
    spec: str
    text: str
    only: str | None
    settings: Settings
    rows: dict[str, dict[int, Row]] = field(default_factory=dict)

    @classmethod
    def create(cls, spec: str, text: str, only: str | None, given: Settings) -> SweepDirectory:
        """A new directory: that of `--out`, which must not hold a sweep, or runs/SPEC-sweep-N.
        Raises `Fault` E540 where that holds one, or a spec of its own."""
        with allowed("make", given.out or "runs", ROOM):
            path = Path(given.out) if given.out else next_free(Path("runs"), f"{spec}-sweep")
            path.mkdir(parents=True, exist_ok=True)
        if (path / CLAIM).exists():
            remedy = "go on with it by --part, or give another --out"
            raise Fault(f"{path} already holds parts of a sweep", remedy, "E540")
        if (path / FILE).exists():
            remedy = "go on with it by --resume, or give another --out"
            raise Fault(f"{path} already holds a sweep", remedy, "E540")
        if (path / SPEC).exists():
            text = f"{path} holds files of its own, and a sweep would write over {SPEC}"
            raise Fault(text, "give another --out", "E540")
        found = cls(path, spec, text, only, given)
        found.put(SPEC, text.encode())
        found.put(MACHINE, as_json(machine()))
        found.save()
        return found

    @classmethod
    def reopen(
        cls, spec: str, text: str, only: str | None, given: Settings, varied: Varied
    ) -> SweepDirectory:
        """The directory of `--resume`, with its settings and its rows; those that failed are left
        to be run again. `varied` are the runs of each sweep as the spec has them. Raises `Fault`
        E541 where it holds another sweep, or cannot go on."""
        path, anew = Path(given.resume or ""), f"begin a new one: dln sweep {spec}"
        data = read(path)
        if data["spec"] != spec or data["text"] != sha256(text.encode()):
            found = [f"{path} holds a sweep of another spec, or of another text of it"]
            with suppress(OSError):
                found += differences.changed_lines((path / SPEC).read_text("utf-8"), text)
            raise Fault("; ".join(found), anew, "E541")
        if only is not None and data["only"] not in (None, only):
            raise Fault(f"{path} holds the sweep {data['only']}, not {only}", code="E541")
        settings = replace(given, **data["settings"])
        changed = [f"{k} is {plain(now)}, was {'not given' if was is None else plain(was)}"
                   for k, now, was in differences.changed(KEPT, settings, given)]  # fmt: skip
        differences.refuse(path, "sweep", changed, given, anew, "E541")
        resumed = cls(path, spec, text, data["only"], settings)
        for name, rows in data["sweeps"].items():
            done = [Row.of_data(r) for r in rows if not r.get("problems")]
            numbers = {key_of(c): i for i, c in enumerate(varied.get(name, ()))}
            resumed.rows[name] = {numbers[key]: r for r in done
                                  if (key := key_of(r.constants)) in numbers}  # fmt: skip
        return resumed

    def add(self, name: str, index: int, row: Row) -> None:
        """Keep a row that is done, on disk too."""
        self.rows.setdefault(name, {})[index] = row
        self.save()

    def done(self, name: str) -> list[Row]:
        """The rows of a sweep that are done, in order."""
        return [row for _, row in sorted(self.rows.get(name, {}).items())]

    def save(self) -> None:
        settings = {k: getattr(self.settings, k) for k in KEPT}
        rows = {name: [r.as_data() for r in self.done(name)] for name in self.rows}
        facts = plain({"spec": self.spec, "text": sha256(self.text.encode()), "only": self.only,
                       "machine": sha256((self.path / MACHINE).read_bytes()),
                       "settings": settings, "sweeps": rows})  # fmt: skip
        self.put(FILE, as_json({**facts, SUM: digest_of(facts)}))

    def put(self, name: str, content: bytes) -> Path:
        """Write a file, whole or not at all."""
        return put(self.path / name, content, ROOM)


def rows_as_csv(found: Mapping[str, Sequence[Row]]) -> bytes:
    """All rows as CSV: sweep, constants, reports, seconds, outcome; blank where there is none."""
    rows = [(name, row) for name, some in found.items() for row in some]
    constants = dict.fromkeys(k for _, r in rows for k in r.constants)
    reports = dict.fromkeys(k for _, r in rows for k in r.reports)
    lines = [["sweep", *constants, *reports, "seconds", "outcome"]]
    for name, row in rows:
        values = [*map(row.constants.get, constants), *map(row.reports.get, reports)]
        lines.append([name, *map(plain, values), f"{row.seconds:.3f}", row.status])
    return table(lines)


def key_of(constants: Mapping[str, Any]) -> str:
    """What tells the runs of a sweep from one another, as a text."""
    return json.dumps(plain(constants), sort_keys=True)


def digest_of(facts: Mapping[str, Any]) -> str:
    """The digest of what a sweep's file says beside it."""
    said = {k: v for k, v in facts.items() if k != SUM}
    return sha256(json.dumps(said, sort_keys=True).encode())


def sealed(path: Path, remedy: str, code: str) -> dict[str, Any]:
    """What a file with its own digest says. Raises `Fault` with the code where it is not what was
    written."""
    with allowed("read", path, ROOM):
        text = path.read_bytes()
    try:
        found: dict[str, Any] = json.loads(text)
        if found[SUM] != digest_of(found):
            raise ValueError("it has been changed")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise Fault(f"{path} is damaged: {e}", remedy, code) from e
    return found


def read(folder: Path) -> dict[str, Any]:
    """What the file of a sweep says. Raises `Fault` E541 where there is none, or where a file of
    the directory is not as it was left."""
    path, anew = folder / FILE, "start a new sweep"
    if not path.exists():
        remedy = "name the directory that `dln sweep` printed"
        raise Fault(f"{folder} holds no sweep to go on with", remedy, "E541")
    found = sealed(path, anew, "E541")
    for name, said in ((MACHINE, found["machine"]), (SPEC, found["text"])):
        with allowed("read", folder / name, anew):
            is_now = sha256((folder / name).read_bytes())
        if is_now != said:
            message = f"{folder} is not as it was left: {name} has been changed"
            raise Fault(message, f"put back the file as it was, or {anew}", "E541")
    return found
