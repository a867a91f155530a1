"""Where things are kept: `$XDG_CACHE_HOME/dln/plans` or `~/.cache/dln/plans`, a folder for a key.

Each file holds one value: a line with the SHA-256 of what follows, then JSON. It is written beside
and put in its place at once. What is damaged counts as not there, and is written anew. Where
nothing can be written nothing is kept, and nobody is told.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Any

from dln.flags import read_flags

MOST_BYTES = 1 << 28  # of all that is kept
MOST_KEYS = 1000
LARGEST = 1 << 25  # bytes of one value


class Folder:
    """The values that are kept under a key, by name."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.path = place() / key

    def read(self, name: str) -> Any:
        """The plain data under a name; None where there are none, or they are damaged."""
        try:
            digest, _, body = self._file(name).read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                return None
            said, data = json.loads(body)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return data if said == [self.key, name] else None

    def write(self, name: str, data: object) -> None:
        """Keep plain data under a name, in place of what is there."""
        body = json.dumps([[self.key, name], data], separators=(",", ":")).encode()
        if len(body) > LARGEST:
            return
        with suppress(OSError):
            if not self.path.is_dir():
                self.path.mkdir(parents=True, exist_ok=True)
                tidy(self.path)
            file = self._file(name)
            part = file.with_suffix(f".{os.getpid()}.{get_ident()}")
            try:
                part.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
                part.replace(file)
            except OSError:  # a full disk
                part.unlink(missing_ok=True)

    def used(self) -> None:
        """Note that what is here is of use: what is not goes first."""
        with suppress(OSError):
            os.utime(self.path)

    def _file(self, name: str) -> Path:
        return self.path / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def kept_at_all() -> bool:
    """Whether anything is kept: not with `DLN_CACHE=0`, nor where all that happens on the way is to
    be looked at."""
    flags = read_flags()
    if not flags.cache or flags.verify or flags.debug >= 2:
        return False
    try:
        return bool(place())
    except RuntimeError:  # no home
        return False


def place() -> Path:
    """The folder of all keys."""
    given = os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else Path.home() / ".cache") / "dln" / "plans"


def tidy(new: Path) -> None:
    """Take away what was used longest ago, of more than is kept."""
    found = []
    for folder in os.scandir(new.parent):
        if folder.is_dir(follow_symlinks=False):
            sizes = (file.stat(follow_symlinks=False).st_size for file in os.scandir(folder))
            found.append((folder.stat().st_mtime, sum(sizes), Path(folder.path)))
    found.sort(reverse=True)
    total = 0
    for number, (_, size, folder_path) in enumerate(found):
        total += size
        if folder_path != new and (total > MOST_BYTES or number >= MOST_KEYS):
            _take_away(folder_path)


def _take_away(folder: Path) -> None:
    """A folder with the files that are kept in it, and nothing else."""
    with suppress(OSError):
        for file in os.scandir(folder):
            if file.is_file(follow_symlinks=False):
                os.unlink(file.path)
        folder.rmdir()
