"""A log that tells whether it was changed: one JSON object a line, with a seal over all up to it.

A line that is changed, put in or taken out breaks the seals. One that was torn by a crash is the
last and has no end; who goes on with the log drops it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dln.runtime.checkpoint.checkpoint import sha256

LogRecord = dict[str, Any]
SEAL = "seal"


class Journal:
    """A log that is appended to: a line is there whole, or not at all."""

    def __init__(self, path: Path) -> None:
        self._seal = ""
        for _, self._seal, _ in read(path):
            pass
        kept = path.read_bytes() if path.exists() else b""
        self._size = kept.rfind(b"\n") + 1
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.ftruncate(self._file, self._size)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a record at once, past all buffers. Raises OSError."""
        text, seal = sealed(record, self._seal)
        line = text.encode()
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except BaseException:
            os.ftruncate(self._file, self._size)
            raise
        self._seal, self._size = seal, self._size + len(line)

    def sync(self) -> None:
        """Wait until all of it is on the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> Iterator[tuple[LogRecord, str, str]]:
    """The records of a log, each with its seal and the one that it should have."""
    before, text = "", ""
    with suppress(FileNotFoundError):
        text = path.read_text("utf-8", errors="replace")
    for line in text.split("\n"):
        with suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict):
                seal = str(record.pop(SEAL, ""))
                yield record, seal, sealed(record, before)[1]
                before = seal


def written(kept: Iterable[Mapping[str, Any]]) -> str:
    """The text of a log of these records alone."""
    lines, seal = list[str](), ""
    for record in kept:
        line, seal = sealed(record, seal)
        lines.append(line)
    return "".join(lines)


def sealed(record: Mapping[str, Any], before: str) -> tuple[str, str]:
    """The line of a record in the log, and its seal, which is over the `before` of the line before:
    a line that is changed, put in or taken out breaks it."""
    text = json.dumps(record, sort_keys=True)
    seal = sha256(f"{before}{text}".encode())[:16]
    return json.dumps({**record, SEAL: seal}) + "\n", seal
