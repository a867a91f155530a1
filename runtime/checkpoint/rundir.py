"""The run directory: what was run, with what, what happened, and where to go on.

    spec.dln         the spec as it was read
    resolved.dln     the same with every default written out
    manifest.json    versions, machine, seed, threads, backend, dtype, constants; hashes of texts
                     and data
    log.jsonl        one JSON object a line, flushed as it is written; its `seal` is a hash over
                     all lines up to it
    log.csv          its reports as a table, for people and other programs
    checkpoints/     update-<n>.safetensors, the last two; best.safetensors

Everything but the log is written atomically. The log has hashes of what describes the run and of
each checkpoint: what is edited, removed or of another run is told. Faults: E540 an occupied
directory, E541 nothing to resume, or not as it was left, E542 the system refuses.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint import checkpoint, journal
from dln.runtime.checkpoint.checkpoint import sha256
from dln.runtime.checkpoint.reports import TABLE, ReportTable
from dln.runtime.device.host import core, default_threads, product_by

SPEC, RESOLVED, MANIFEST, LOG = "spec.dln", "resolved.dln", "manifest.json", "log.jsonl"
LAST = 2  # checkpoints that are left, beside the best
_NUMBERED = re.compile(r"update-(\d+)\.safetensors")


@dataclass(frozen=True)
class Restored:
    """A checkpoint that could be read, and those that were tried before it and could not."""

    path: Path
    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]
    refused: tuple[Fault, ...] = ()


class RunDirectory:
    """One run on disk. `create` starts a new one, `reopen` goes on with one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._log: journal.Journal | None = None
        self._table: ReportTable | None = None

    @classmethod
    def create(cls, spec: str, out: str | None = None, root: str = "runs") -> RunDirectory:
        """A new directory: `out` if given, else `root/<spec>-<n>`. Raises `Fault` E540 where that
        holds a run or files that one has too, E542 where the system refuses."""
        with _refusing("make", out or root):
            path = Path(out) if out is not None else next_free(Path(root), spec)
            path.mkdir(parents=True, exist_ok=True)
            if (path / MANIFEST).exists() or (path / LOG).exists():
                remedy = "go on with it by --resume, or give another --out"
                raise Fault(f"{path} already holds a run", remedy, "E540")
            for own in (SPEC, RESOLVED):
                if (path / own).exists():
                    text = f"{path} holds files of its own, and a run would write over {own}"
                    raise Fault(text, "give another --out", "E540")
            (path / "checkpoints").mkdir(exist_ok=True)
        return cls(path)

    @classmethod
    def reopen(cls, path: str) -> RunDirectory:
        """The directory of an earlier run. Litter of a killed process is removed. Raises `Fault`
        E541 where it holds no run, or one whose files are not those that were written."""
        run = cls(Path(path))
        if not (run.path / LOG).is_file() and not (run.path / MANIFEST).is_file():
            remedy = "name the directory that `dln run` printed"
            raise Fault(f"{path} holds no run to resume", remedy, "E541")
        run._refuse_edited()
        for folder in (run.path, run.checkpoints):
            for litter in folder.glob(".*.tmp"):
                with suppress(OSError):
                    litter.unlink()
        return run

    def begin(self, files: Mapping[str, str], **record: object) -> None:
        """Log what is run, with the hash of each of the files that describe it, then write these.

        Killed in between, a run that goes on has files of before: their hashes are logged too.
        """
        hashes = {name: sha256(text.encode()) for name, text in files.items()}
        self.log(event="run", **record, files=hashes)
        for name, text in files.items():
            self._write(name, text)

    def spec_text(self) -> str:
        """The spec as it was read."""
        return self.text(SPEC)

    def text(self, name: str) -> str:
        """The text of one of its files."""
        with _refusing("read", self.path / name):
            return (self.path / name).read_text("utf-8")

    def hash_of(self, name: str) -> str:
        """SHA-256 of one of its files."""
        with _refusing("read", self.path / name):
            return sha256((self.path / name).read_bytes())

    def manifest(self) -> dict[str, Any]:
        """What all of the run depends on, as it was written down. Raises `Fault` E541 where it is
        damaged."""
        path = self.path / MANIFEST
        try:
            with _refusing("read", path):
                found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except ValueError as e:
            raise Fault(f"{path} is damaged: {e}", "start a new run", "E541") from e
        return found

    # ---- the log -------------------------------------------------------------------------------

    def log(self, **record: object) -> None:
        """Append one object to the log; numbers that JSON lacks become "nan", "inf", "-inf"."""
        with _refusing("write", self.path / LOG):
            if self._log is None:
                self._log = journal.Journal(self.path / LOG)
            self._log.append(_plain(record))

    def table(self, columns: Sequence[str]) -> ReportTable | None:
        """The table of its reports with these columns, made anew with those that the log has; None
        where there are no columns."""
        self.close()
        if columns:
            said = (r for r in self.records() if r.get("event") == "report")
            self._table = ReportTable(self.path / TABLE, columns, said)
        return self._table

    def records(self) -> list[dict[str, Any]]:
        """The log so far; a line torn by a crash is left out."""
        with _refusing("read", self.path / LOG):
            return [record for record, _, _ in journal.read(self.path / LOG)]

    def edited(self) -> list[int]:
        """The records of the log, counted from 0, whose seal is none over all up to them."""
        with _refusing("read", self.path / LOG):
            lines = enumerate(journal.read(self.path / LOG))
            return [i for i, (_, seal, right) in lines if seal != right]

    def go_on_from(self, path: Path | None, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Drop what was saved and logged after the checkpoint from which the run goes on."""
        done = next((n for n, p in self._numbered() if p == path), None)
        for n, later in self._numbered():
            if done is not None and n > done:
                later.unlink(missing_ok=True)
        self.close()
        records = self.records()
        if not all(map(keep, records)):
            self._write(LOG, journal.written([r for r in records if keep(r)]))

    # ---- checkpoints ---------------------------------------------------------------------------

    def save(
        self,
        update: int,
        arrays: Mapping[str, NDArray[Any]],
        meta: Mapping[str, object],
        best: bool = False,
        record: Mapping[str, object] | None = None,
    ) -> Path:
        """Write the checkpoint of an update (counted over the whole run): arrays by name, of any
        shape. The last two are kept.

        With `best` the same contents become `best.safetensors`, which later saves leave alone. A
        `record` goes into the log before it, with the hash of the file: what is killed in between
        goes on from an earlier checkpoint, and drops it. Raises `Fault` E542 where the system
        refuses.
        """
        path = self.checkpoints / numbered(update)
        data = checkpoint.encode(arrays, meta)
        if record is not None:
            self.log(**record, file=sha256(data))
        if self._log is not None:  # what a checkpoint is told by is on the disk before it
            with _refusing("write", self.path / LOG):
                self._log.sync()
        targets = [path, self.checkpoints / "best.safetensors"] if best else [path]
        with _refusing("write", path):
            for target in targets:
                checkpoint.atomic_write(target, data)
        for _, old in self._numbered()[LAST:]:
            with suppress(OSError):
                old.unlink()
        return path

    def asked_after(self, phase: str, update: int) -> int | None:
        """The next update of a phase after which to save, whatever the spec says of it."""
        return None

    def newest(self) -> Restored | None:
        """The newest checkpoint that can be read, or None if none was ever written.

        A damaged one is passed over for the one before it, at last for the best. Raises `Fault`
        E541 where the log tells of another one, or of more than any of them holds.
        """
        refused: list[Fault] = []
        best = self.checkpoints / "best.safetensors"
        said = self.records()
        ended = [r.get("phase") for r in said if r.get("event") == "end"]
        for path in [p for _, p in self._numbered()] + ([best] if best.is_file() else []):
            try:
                data = checkpoint.contents(path)
                found = Restored(path, *checkpoint.decode(data, str(path)), tuple(refused))
            except Fault as f:
                refused.append(f)
                continue
            self._refuse_unlogged(found, sha256(data), said)
            if not refused and not set(ended) <= set(found.meta.get("results", ended)):
                self._refuse(f"no checkpoint is left of the end of {ended[-1]}")
            return found
        if refused:
            self._refuse("; ".join(f.message for f in refused))
        if ended:
            self._refuse(f"no checkpoint is left of the end of {ended[-1]}")
        return None

    def last(self) -> Restored | None:
        """The newest checkpoint, or None if none was ever written. Raises `Fault` E541 where it
        cannot be read: an earlier one holds other numbers."""
        found = self.newest()
        if found is not None and found.refused:
            self._refuse("; ".join(f.message for f in found.refused))
        return found

    # ---- whether it is as it was left ----------------------------------------------------------

    def _refuse(self, why: str) -> NoReturn:
        remedy = "put back the file as it was, or start a new run"
        raise Fault(f"{self.path} is not as it was left: {why}", remedy, "E541")

    def _refuse_edited(self) -> None:
        """Raise `Fault` where the log was changed, or a file that describes the run is another than
        any that was logged."""
        if why := self.damage():
            self._refuse(why)

    def damage(self) -> str:
        """What is not as it was left: of the log, or of a file that describes the run; "" where all
        is."""
        if not (self.path / LOG).is_file():
            return f"{LOG} is missing"
        for at in self.edited():
            return f"{LOG}, line {at + 1} is not what was written there"
        begun = [r.get("files", {}) for r in self.records() if r.get("event") == "run"]
        for name in begun[-1] if begun else ():
            if not (self.path / name).is_file():
                return f"{name} is missing"
            if self.hash_of(name) not in [files.get(name) for files in begun]:
                return f"{name} has been changed"
        return ""

    def _refuse_unlogged(self, found: Restored, digest: str, said: list[dict[str, Any]]) -> None:
        """Raise `Fault` where the log does not tell of a checkpoint, or by another number."""
        saved = [r for r in said if r.get("event") == "checkpoint"]
        if not saved and not found.meta.get("log"):
            return
        numbers = [numbered(r["number"]) for r in saved if r["file"] == digest]
        if not numbers:
            self._refuse(f"{LOG} does not tell of {found.path.name}")
        if _NUMBERED.fullmatch(found.path.name) and found.path.name not in numbers:
            self._refuse(f"{found.path.name} was saved as {numbers[-1]}")

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._table is not None:
            self._table.close()
            self._table = None

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _numbered(self) -> list[tuple[int, Path]]:
        """Checkpoints with their update, newest first."""
        found = ((_NUMBERED.fullmatch(p.name), p) for p in self.checkpoints.glob("*.safetensors"))
        return sorted(((int(m[1]), p) for m, p in found if m), reverse=True)

    def _write(self, name: str, text: str) -> None:
        with _refusing("write", self.path / name):
            checkpoint.atomic_write(self.path / name, text.encode())


def manifest_text(
    *, seed: int, threads: int | None, backend: str, dtype: str, constants: Mapping[str, object],
    **more: object,
) -> str:  # fmt: skip
    """All that bits depend on; nothing of when or by which command line."""
    run = {"seed": seed, "threads": threads, "backend": backend, "dtype": dtype, **more}
    facts = {**run, "constants": dict(constants), **machine()}
    return json.dumps(_plain(facts), indent=2, sort_keys=True) + "\n"


def numbered(update: int) -> str:
    """The name of the checkpoint of an update."""
    return f"update-{update:09d}.safetensors"


def machine() -> dict[str, object]:
    """Versions and the parts of the machine that decide bits."""
    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return {
        "dln": _version(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "simd": config.get("SIMD Extensions", {}).get("found", []),
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "blas_threads": default_threads(),
        "blas_core": core(),
        "blas_gemm": product_by(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "byteorder": sys.byteorder,
    }


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # late: slow

    try:
        return version("dln")
    except PackageNotFoundError:
        return "unknown"


def _cpu() -> str:
    """The model of the processor, as far as the system tells."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", errors="replace").split("\n"):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def next_free(root: Path, spec: str) -> Path:
    """The first free `root/<spec>-<n>`; `mkdir` decides between two that ask at once."""
    root.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", spec).strip(".") or "run"
    taken = (re.fullmatch(re.escape(stem) + r"-(\d+)", p.name) for p in root.iterdir())
    n = max((int(m[1]) for m in taken if m), default=0) + 1
    while True:
        try:
            (root / f"{stem}-{n}").mkdir()
            return root / f"{stem}-{n}"
        except FileExistsError:
            n += 1


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as Python values, numbers that JSON lacks as text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _refusing(verb: str, path: object) -> AbstractContextManager[None]:
    remedy = "free some space, or choose another directory with --out"
    return checkpoint.refusing(verb, path, remedy, "E542")
