"""What was said of the numbers in tables, for as long as their files are the same to the byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from dln.grammar.diagnostics import Problem
from dln.kept.facts import TABLES
from dln.kept.kept_spec import KeptSpec


def looked_at(kept: KeptSpec, look: Callable[[], Iterable[Problem]]) -> tuple[Problem, ...]:
    """What a look at every number of a spec's tables finds; of files that were looked at before,
    what it found then. What it refuses is not kept."""
    if kept.folder is None:
        return tuple(look())
    now, known = _contents(kept), kept.get("tables")
    if isinstance(known, tuple) and known[:1] == (now,):
        return tuple(known[1])
    found = tuple(look())
    kept.put("tables", (now, found))
    return found


def _contents(kept: KeptSpec) -> str:
    """A hash of the files of all tables. Rows that stand in the spec are in its key."""
    from dln.runtime.readers import readers  # late: few specs have tables

    said = hashlib.sha256()
    for declared, _ in kept.questions.headers():
        if declared.reader in TABLES:
            for files in readers.paths(declared).values():
                for path in files:
                    with path.open("rb") as file:
                        said.update(hashlib.file_digest(file, "sha256").digest())
    return said.hexdigest()
