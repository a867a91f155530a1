"""The run directory: what was run, with what, what happened, and where to go on.

    spec.dln         the spec as it was read
    resolved.dln     the same with every default written out
    manifest.json    versions, machine, seed, threads, backend, dtype, constants; hashes of texts
                     and data
    log.jsonl        one JSON object a line, flushed as it is written; its `seal` is a hash over
                     all lines up to it
    checkpoints/     update-<n>.safetensors, the last two; best.safetensors

Everything but the log is written atomically. Faults: E540 an occupied directory, E541 nothing to
resume, E542 the system refuses.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint import checkpoint
from dln.runtime.device.host import core, default_threads

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
        self._log: TextIO | None = None
        self._seal = ""  # of the last line that was logged

    @classmethod
    def create(cls, spec: str, out: str | None = None, root: str = "runs") -> RunDirectory:
        """A new directory: `out` if given (it must not hold a run), else `root/<spec>-<n>`."""
        with _refusing("make", out or root):
            path = Path(out) if out is not None else next_free(Path(root), spec)
            path.mkdir(parents=True, exist_ok=True)
            if (path / "manifest.json").exists() or (path / "log.jsonl").exists():
                remedy = "go on with it by --resume, or give another --out"
                raise Fault(f"{path} already holds a run", remedy, "E540")
            (path / "checkpoints").mkdir(exist_ok=True)
        return cls(path)

    @classmethod
    def reopen(cls, path: str) -> RunDirectory:
        """The directory of an earlier run. Litter of a killed process is removed."""
        run = cls(Path(path))
        if not (run.path / "manifest.json").is_file():
            remedy = "name the directory that `dln run` printed"
            raise Fault(f"{path} holds no run to resume", remedy, "E541")
        for folder in (run.path, run.checkpoints):
            for litter in folder.glob(".*.tmp"):
                with suppress(OSError):
                    litter.unlink()
        return run

    def write_spec(self, source: str, resolved: str) -> None:
        self._write("spec.dln", source)
        self._write("resolved.dln", resolved)

    def spec_text(self) -> str:
        """The spec as it was read."""
        with _refusing("read", self.path / "spec.dln"):
            return (self.path / "spec.dln").read_text("utf-8")

    def write_manifest(
        self, *, seed: int, threads: int | None, backend: str, dtype: str,
        constants: Mapping[str, object], **more: object,
    ) -> None:  # fmt: skip
        """Record all that bits depend on; nothing of when or by which command line."""
        run = {"seed": seed, "threads": threads, "backend": backend, "dtype": dtype, **more}
        facts = {**run, "constants": dict(constants), **machine()}
        self._write("manifest.json", json.dumps(_plain(facts), indent=2, sort_keys=True) + "\n")

    def hash_of(self, name: str) -> str:
        """SHA-256 of one of its files."""
        with _refusing("read", self.path / name):
            return sha256((self.path / name).read_bytes())

    def manifest(self) -> dict[str, Any]:
        path = self.path / "manifest.json"
        try:
            with _refusing("read", path):
                found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except ValueError as e:
            raise Fault(f"{path} is damaged: {e}", "start a new run", "E541") from e
        return found

    def log(self, **record: object) -> None:
        """Append one object to the log; numbers that JSON lacks become "nan", "inf", "-inf"."""
        with _refusing("write", self.path / "log.jsonl"):
            if self._log is None:
                lines = list(self._lines())
                self._seal = lines[-1][1] if lines else ""
                torn = self._text()[-1:] not in ("", "\n")
                self._log = open(self.path / "log.jsonl", "a", encoding="utf-8", buffering=1)
                self._log.write("\n" if torn else "")
            line, self._seal = sealed(_plain(record), self._seal)
            self._log.write(line)

    def records(self) -> list[dict[str, Any]]:
        """The log so far; a line torn by a crash is left out."""
        return [record for record, _, _ in self._lines()]

    def edited(self) -> list[int]:
        """The records of the log, counted from 0, whose seal is none over all up to them."""
        return [i for i, (_, seal, right) in enumerate(self._lines()) if seal != right]

    def _lines(self) -> Iterator[tuple[dict[str, Any], str, str]]:
        """The records of the log, each with its seal and the one that it should have."""
        before = ""
        for line in self._text().split("\n"):
            with suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    seal = str(record.pop("seal", ""))
                    yield record, seal, sealed(record, before)[1]
                    before = seal

    def _text(self) -> str:
        with suppress(FileNotFoundError):
            return (self.path / "log.jsonl").read_text("utf-8", errors="replace")
        return ""

    def trim_log(self, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Drop what was logged after the checkpoint from which the run goes on."""
        self.close()
        records = self.records()
        if all(map(keep, records)):
            return
        lines, seal = [], ""
        for record in filter(keep, records):
            line, seal = sealed(record, seal)
            lines.append(line)
        self._write("log.jsonl", "".join(lines))

    def save(
        self,
        update: int,
        arrays: Mapping[str, NDArray[Any]],
        meta: Mapping[str, object],
        best: bool = False,
        record: Mapping[str, object] | None = None,
    ) -> Path:
        """Write the checkpoint of an update (counted over the whole run), keep the last two.

        With `best` the same contents become `best.safetensors`, which later saves leave alone. A
        `record` goes into the log before it, with the hash of the file: what is killed in between
        goes on from an earlier checkpoint, and drops it.
        """
        path = self.checkpoints / f"update-{update:09d}.safetensors"
        data = checkpoint.encode(arrays, meta)
        if record is not None:
            self.log(**record, file=sha256(data))
        targets = [path, self.checkpoints / "best.safetensors"] if best else [path]
        with _refusing("write", path):
            for target in targets:
                checkpoint.atomic_write(target, data)
        for _, old in self._numbered()[LAST:]:
            with suppress(OSError):
                old.unlink()
        return path

    def newest(self) -> Restored | None:
        """The newest checkpoint that can be read, or None if none was ever written.

        A damaged one is passed over for the one before it, at last for the best.
        """
        refused: list[Fault] = []
        best = self.checkpoints / "best.safetensors"
        tried = [p for _, p in self._numbered()] + ([best] if best.is_file() else [])
        for path in tried:
            try:
                return Restored(path, *checkpoint.load(path), tuple(refused))
            except Fault as f:
                refused.append(f)
        if refused:
            why = "; ".join(f.message for f in refused)
            raise Fault(f"no checkpoint can be read: {why}", "start a new run", "E541")
        return None

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

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


def sealed(record: Mapping[str, Any], before: str) -> tuple[str, str]:
    """The line of a record in the log, and its seal, which is over the `before` of the line before:
    a line that is changed, put in or taken out breaks it."""
    text = json.dumps(record, allow_nan=False, sort_keys=True)
    seal = sha256(f"{before}{text}".encode())[:16]
    return json.dumps({**record, "seal": seal}, allow_nan=False) + "\n", seal


def sha256(data: bytes) -> str:
    """The hash as text."""
    from hashlib import sha256 as hashed  # late: OpenSSL

    return hashed(data).hexdigest()


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
