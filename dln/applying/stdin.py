"""New data out of a pipe: put into a file first, for a table is looked at before it is read."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dln.grammar.diagnostics import Fault


@contextmanager
def from_stdin(word: str) -> Iterator[str]:
    """The path that is meant: of `-` a file with what stdin gives. Raises `Fault` E581 where that
    is a terminal."""
    if word != "-":
        yield word
        return
    if sys.stdin is None or sys.stdin.isatty():
        raise Fault("--data - reads stdin, which is a terminal", "--data new.csv", "E581")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stdin")
        with open(path, "wb") as file:
            stream = getattr(sys.stdin, "buffer", None)
            if stream is None:
                file.write(sys.stdin.read().encode())
            else:
                shutil.copyfileobj(stream, file, 1 << 20)
        yield str(path)
