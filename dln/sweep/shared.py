"""A directory that many processes add the rows of one sweep to at once: `--part 3/20 --out DIR`.

    parts.json         the spec and the settings; of who comes first, with which all others agree
    rows/NAME-n.json   row n of a sweep, with all that it depends on and a digest, once it is done
    begun/NAME-n/      its run directory while it is not, with checkpoints; NAME-n.lock is held by
                       who works on it

Every file is written whole or not at all, and no file is written by two processes that disagree.
Problems: E593 it is of another spec or other settings, or holds such a row; E595 a file is damaged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from dln.grammar.diagnostics import Fault
from dln.printing.files import allowed, as_json, put
from dln.printing.terminal import plain
from dln.running import differences
from dln.runtime.checkpoint.checkpoint import sha256
from dln.runtime.checkpoint.rundir import machine
from dln.settings import Settings
from dln.sweep.directory import CLAIM, FILE, KEPT, ROOM, SUM, digest_of, key_of, sealed
from dln.sweep.row import Row, named

ROWS, BEGUN = "rows", "begun"
ANEW = "give another --out"
BITS = ("dln", "numpy", "simd", "blas", "blas_core", "blas_gemm", "cpu")
"""Of what a row says of its machine: what may change last bits."""


@dataclass
class SharedDirectory:
    """The rows of a sweep in one directory, and with what they are worked out."""

    path: Path
    spec: str
    text: str
    settings: Settings
    machines: list[dict[str, Any]] = field(default_factory=list)
    read: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The files that rows were worked out from: digest, and which row said so."""

    @classmethod
    def claimed(cls, spec: str, text: str, given: Settings) -> SharedDirectory:
        """The directory of `--out`, for these settings where nobody was there before. Raises
        `Fault` as `opened` does, also where a sweep that was not begun in parts is there."""
        path = Path(given.out or "")
        if (path / FILE).exists():
            raise Fault(f"{path} holds a sweep that was not begun in parts", ANEW, "E593")
        with allowed("make", path, ROOM):
            for folder in (path / ROWS, path / BEGUN):
                folder.mkdir(parents=True, exist_ok=True)
        cls(path, spec, text, given)._claim()
        return cls.opened(path, spec, text, given)

    @classmethod
    def opened(cls, path: Path, spec: str, text: str, given: Settings) -> SharedDirectory:
        """The directory as who came first has left it, with his settings. Raises `Fault` E593 where
        it holds no parts, or those of another spec or with other settings than are asked for."""
        if not (path / CLAIM).is_file():
            message = f"{path} holds no parts of a sweep"
            raise Fault(message, "name the directory that --part was given by --out", "E593")
        first = sealed(path / CLAIM, ANEW, "E595")
        cls(path, spec, text, given)._agree(first, given.asked)
        return cls(path, spec, text, replace(given, **first["settings"]))

    def notes(self, given: Settings) -> str:
        """The settings that a command is not given and has nevertheless."""
        found = [f"{k} {_said(now)}" for k, now in self._kept().items()
                 if k != "threads" and plain(getattr(given, k)) != now]  # fmt: skip
        return ", ".join(found)

    def _claim(self) -> None:
        """Write down what this directory is for, unless another has done so in the meantime."""
        facts = plain({"spec": self.spec, "text": self.text, "settings": self._kept()})
        temporary = self.path / f".{CLAIM}.{os.urandom(8).hex()}.tmp"
        put(temporary, as_json({**facts, SUM: digest_of(facts)}), ROOM)
        try:
            with allowed("write", self.path / CLAIM, ROOM), suppress(FileExistsError):
                os.link(temporary, self.path / CLAIM)  # unlike a rename, it replaces nothing
        finally:
            temporary.unlink(missing_ok=True)

    def _kept(self) -> dict[str, Any]:
        found: dict[str, Any] = plain({k: getattr(self.settings, k) for k in KEPT})
        return found

    def _agree(self, first: Mapping[str, Any], asked: frozenset[str]) -> None:
        """Raise `Fault` E593 where this command is of another spec than the directory, or asks for
        other settings."""
        if (first["spec"], first["text"]) != (self.spec, self.text):
            changes = "; ".join(differences.changed_lines(first["text"], self.text))
            name = first["spec"]
            self._refuse(f"they are of {name}, or another text of it{changes and f': {changes}'}")
        now, was = self._kept(), first["settings"]
        said = [f"{k} is {_said(now[k])}, was {_said(was.get(k))}"
                for k in KEPT if k in asked and now[k] != was.get(k)]  # fmt: skip
        if said:
            self._refuse("; ".join(said))

    def _refuse(self, why: str) -> NoReturn:
        raise Fault(f"{self.path} is a directory for other rows: {why}", ANEW, "E593")

    # ---- rows ----------------------------------------------------------------------------------

    def begun(self, name: str, index: int) -> Path:
        """The run directory of a row that is being worked on."""
        return self.path / BEGUN / f"{name}-{index + 1}"

    def row(self, name: str, index: int, constants: Mapping[str, object]) -> Row | None:
        """A row that is done. Raises `Fault` E593 where it is of another spec, other constants or
        other settings; E595 where it is damaged."""
        path = self._file(name, index)
        if not path.exists():
            return None
        facts = sealed(path, f"remove {path}: its part, started again, runs it anew", "E595")
        row = Row.of_data(facts["row"])
        if facts["text"] != sha256(self.text.encode()):
            self._refuse(f"{path.name} is of another spec, or of another text of it")
        if (facts["sweep"], facts["number"]) != (name, index + 1):
            self._refuse(f"{path.name} is row {facts['number']} of {facts['sweep']}")
        if key_of(row.constants) != key_of(constants):
            self._refuse(f"{path.name} has {named(row.constants)}, not {named(constants)}")
        now, was = self._kept(), facts["settings"]
        if changed := [k for k in KEPT if now[k] != was.get(k)]:
            each = (f"{k} {_said(was.get(k))}, not {_said(now[k])}" for k in changed)
            self._refuse(f"{path.name} has {'; '.join(each)}")
        self._same_files(path.name, facts["read"])
        if facts["machine"] not in self.machines:
            self.machines.append(facts["machine"])
        return row

    def add(self, name: str, index: int, row: Row) -> None:
        """Keep a row that is done. Raises `Fault` E593 where it has read files that other rows have
        read with other contents."""
        path = self._file(name, index)
        self._same_files(path.name, row.read)
        facts = plain({"spec": self.spec, "text": sha256(self.text.encode()), "sweep": name,
                       "number": index + 1, "seed": row.constants.get("seed", self.settings.seed),
                       "settings": self._kept(), "machine": machine(), "read": row.read,
                       "row": row.as_data()})  # fmt: skip
        put(path, as_json({**facts, SUM: digest_of(facts)}), ROOM)

    def _file(self, name: str, index: int) -> Path:
        return self.path / ROWS / f"{name}-{index + 1}.json"

    def _same_files(self, row: str, read: Mapping[str, str]) -> None:
        for file, digest in read.items():
            was, who = self.read.setdefault(file, (digest, row))
            if was != digest:
                self._refuse(f"{file} is not what it was: {who} and {row} were worked out from "
                             "different contents")  # fmt: skip

    @contextmanager
    def held(self, name: str, index: int) -> Iterator[bool]:
        """Whether the row is this process's to work on: in here no other gets it. The system lets
        go of what a killed process held. Where it has no locks nobody is kept out."""
        path = self.begun(name, index).with_name(f"{name}-{index + 1}.lock")
        with allowed("write", path, ROOM), open(path, "ab") as file:
            yield _locked(file.fileno())

    def unlike(self) -> str:
        """In what the machines differ that rows were worked out on; nothing where in nothing."""
        kinds = {k: {json.dumps(m.get(k)) for m in self.machines} for k in BITS}
        return ", ".join(k for k, some in kinds.items() if len(some) > 1)


def _locked(number: int) -> bool:
    try:
        import fcntl  # late: Windows has none
    except ImportError:
        return True
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system that is mounted without locks
        return True
    return True


def _said(value: Any) -> str:
    return "not given" if value in (None, {}) else str(value)
