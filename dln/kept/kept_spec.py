"""What is known of a spec from an earlier process, or will be for a later one.

The key of a spec is made of its text, what it is given from outside and all that dln is itself;
under it stand the questions that its reading asks. With their answers they are the key of
everything else. So a changed file, or another version, is another key: nothing is ever out of date.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from dln.grammar.diagnostics import Source
from dln.kept.as_text import Unkept, from_plain, to_plain
from dln.kept.folder import Folder, kept_at_all
from dln.kept.own import own
from dln.kept.questions import Doors, Questions


class KeptSpec:
    """The values that are kept of a spec, by name. Where nothing is kept, or all is to be worked
    out `anew`, each is worked out."""

    def __init__(self, source: Source, doors: Doors, anew: bool = False, **given: object) -> None:
        self.questions = Questions(doors, source)
        self.folder: Folder | None = None
        self._first = None if anew else _first(source, given)
        if self._first is not None and (asked := self._first.read("asked")) is not None:
            if self.questions.again(asked):
                self._open()
            else:
                self.questions = Questions(doors, source)

    def settle(self) -> None:
        """The spec has been read: what it asked is kept, if all was answered."""
        if self._first is not None and self.questions.open:
            self._first.write("asked", self.questions.kept())
            self._open()

    def _open(self) -> None:
        assert self._first is not None
        self.folder = Folder(_hash([self._first.key, self.questions.digest()]))
        self._first.used()
        self.folder.used()

    def get(self, name: str) -> Any:
        """The value under a name; None where there is none."""
        data = None if self.folder is None else self.folder.read(name)
        if data is None:
            return None
        try:
            return from_plain(data, self.questions.sources)
        except (Unkept, RecursionError):
            return None

    def put(self, name: str, value: object) -> None:
        """Keep a value, if it is of a kind that is kept."""
        if self.folder is not None:
            try:
                self.folder.write(name, to_plain(value))
            except (Unkept, RecursionError):
                return

    def value(self, name: str, make: Callable[[], Any]) -> Any:
        """The value under a name, else what is made, which is then kept."""
        found = self.get(name)
        if found is None:
            found = make()
            self.put(name, found)
        return found


def _first(source: Source, given: Mapping[str, object]) -> Folder | None:
    """Where the questions of a spec are kept; None where nothing is."""
    if not kept_at_all():
        return None
    try:
        said = [own(), source.path, os.path.abspath(source.path), source.text, to_plain(given)]
        return Folder(_hash(said))
    except (Unkept, OSError):
        return None


def _hash(said: object) -> str:
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:40]
