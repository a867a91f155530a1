"""Several tables at once as new data, `"new/*.csv"`: one after the other, in order of their names.

Faults: E581 a pattern that no file fits, or files of other kinds; those of each table.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dln.applying.pieces import NewExamples
from dln.compiler.plan import FieldSpec
from dln.grammar.diagnostics import Fault
from dln.runtime.readers.folders.patterns import is_pattern
from dln.runtime.readers.table.pieces import Begun


def tables_meant(word: str) -> list[Path]:
    """The files that a pattern means; none where it is the name of a file, or no pattern."""
    if not is_pattern(word) or os.path.exists(word):
        return []
    found = (Path(name) for name in glob.glob(word, recursive=True))
    return sorted((p for p in found if p.is_file()), key=lambda p: p.parts)


class SeveralTables:
    """Tables one after the other; beside the columns that are handed through stands the file."""

    def __init__(self, word: str, make: Callable[[Path], Any]) -> None:
        paths = tables_meant(word)
        if not paths:
            text = f"no file is called {word}"
            raise Fault(text, 'a table, or a pattern as "new/*.csv"', "E581")
        if other := next((p for p in paths if p.suffix.lower() in (".npz", ".npy")), None):
            raise Fault(f"{word} means {other}, and several files are tables",
                        f"--data {other}, each by itself", "E581")  # fmt: skip
        self.paths, self.tables, self.now = paths, [make(p) for p in paths], 0
        self.notes = [f"{p}: {n}" for p, t in zip(paths, self.tables, strict=True) for n in t.notes]
        said = self.tables[0].said.partition(", ")[2]
        self.said = f"{word}, {len(paths)} file{'s' * (len(paths) > 1)}, the first: {said}"

    def pieces(self) -> Iterator[NewExamples]:
        """All rows of all files, in order. Raises `Begun` where one of them has to be gone through
        anew."""
        before = 0
        for i, table in enumerate(self.tables):
            self.now, first, count = i, before, 0
            for piece in table.pieces():
                count = piece.first + piece.count
                kept = {"file": [str(self.paths[self.now])] * piece.count, **piece.kept}

                def where(
                    f: FieldSpec, example: int, element: int, of: Any = piece.where, at: int = first
                ) -> str:
                    return str(of(f, example - at, element))

                yield replace(piece, first=first + piece.first, kept=kept, where=where)
            before += count

    def again(self, begun: Begun) -> None:
        """Go through the file at hand as it is now known to be."""
        self.tables[self.now].again(begun)
