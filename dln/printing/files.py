"""Files that commands write: whole or not at all, with the remedy of the command where the system
refuses."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import Fault
from dln.printing.terminal import plain
from dln.runtime.checkpoint.checkpoint import atomic_write


@contextmanager
def allowed(verb: str, path: object, remedy: str) -> Iterator[None]:
    """What the system refuses inside is a `Fault` E542: `cannot write runs/a: ...`."""
    try:
        yield
    except OSError as e:
        raise Fault(f"cannot {verb} {path}: {e.strerror or e}", remedy, "E542") from e


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; what would end a cell is made safe.

    >>> print(markdown(["a", "b"], [["1", "x|y"]]), end="")
    | a | b |
    | --- | --- |
    | 1 | x\\|y |
    """
    lines = ([c.replace("|", "\\|").replace("\n", " ") for c in line]
             for line in [head, ["---"] * len(head), *rows])  # fmt: skip
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def table(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def as_json(facts: Any) -> bytes:
    """What JSON can hold of some facts, for people and programs."""
    return f"{json.dumps(plain(facts), indent=1, ensure_ascii=False, allow_nan=False)}\n".encode()


def spared(*paths: Path, force: bool) -> None:
    """Keep files that are there, unless they may be written over. Raises `Fault` E611."""
    for path in paths:
        if not force and path.is_file():
            remedy = "give another name, or --force to write over it"
            raise Fault(f"{path} is there already", remedy, "E611")


def put(path: Path, content: bytes, remedy: str) -> Path:
    """Write a file and the folders that it lies in. Raises `Fault` E542."""
    with allowed("write", path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content)
    return path
