"""What every result depends on beside the spec: dln's own files, Python, NumPy."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PARTS = (".py", ".lark", ".json")


@cache
def own() -> str:
    """A hash of the contents of dln's own files, of the versions of Python and NumPy and of the
    machine's kind."""
    top = Path(__file__).parents[1]
    found = hashlib.sha256(f"{sys.version} {sys.platform} {machine()}".encode())
    for path in sorted(_files(str(top))):
        with open(path, "rb", buffering=0) as file:
            data = file.read()
        found.update(f"{os.path.relpath(path, top)} {len(data)}\n".encode() + data)
    numpy = find_spec("numpy")  # the version is read, for importing it takes longer than all else
    if numpy is not None and numpy.origin is not None:
        found.update(Path(numpy.origin).with_name("version.py").read_bytes())
    return found.hexdigest()


def machine() -> str:
    """The kind of the processor, as far as the system says it at once."""
    return os.uname().machine if hasattr(os, "uname") else ""


def _files(top: str) -> Iterator[str]:
    for entry in os.scandir(top):
        if entry.is_dir():
            if entry.name not in ("__pycache__", "specs"):
                yield from _files(entry.path)
        elif entry.name.endswith(PARTS):
            yield entry.path
