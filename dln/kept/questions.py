"""What the reading of a spec asks of the files around it, and what they answer.

There are three doors to the outside: the text of a used file, the header of a data set, a file of
drawings. What was asked is kept with the spec; the next process asks the same again, and what is
kept under the same answers is what would be worked out anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dln.compiler.schema.headers import DataSource, Schema
from dln.grammar.diagnostics import Source
from dln.kept.as_text import Unkept, from_plain, to_plain


@dataclass(frozen=True)
class Doors:
    """Who answers: `use(path, user)` finds and reads a used file, `probe` the header of a data set,
    `text_file(name, folder)` a file of drawings."""

    use: Callable[[str, Source], Source]
    probe: Callable[[DataSource], Schema]
    text_file: Callable[[str, str], Source]


class Questions:
    """The doors, with what has been asked of them so far; each question is asked once.

    `sources` are the texts that were found, by path. `open` is whether all were answered: what
    follows from a refusal is not kept.
    """

    def __init__(self, doors: Doors, source: Source) -> None:
        self.doors = doors
        self.asked: dict[str, tuple[str, Any]] = {}
        self.answers: dict[str, Any] = {}
        self.sources = {source.path: source}
        self.open = True

    def use(self, path: str, user: Source) -> Source:
        found: Source = self._ask(["use", path, user.path], lambda: self.doors.use(path, user))
        return found

    def probe(self, declared: DataSource) -> Schema:
        try:
            question = ["probe", to_plain(declared)]
        except Unkept:
            self.open = False
            return self.doors.probe(declared)
        found: Schema = self._ask(question, lambda: self.doors.probe(declared))
        return found

    def headers(self) -> Iterator[tuple[DataSource, Schema]]:
        """The headers of data sets that were asked for, each with what it is that of."""
        for key, answer in self.answers.items():
            if isinstance(answer, Schema):
                yield from_plain(json.loads(key)[1], {}), answer

    def text_file(self, name: str, folder: str) -> Source:
        found: Source = self._ask(
            ["text", name, folder], lambda: self.doors.text_file(name, folder)
        )
        return found

    def _ask(self, question: list[Any], door: Callable[[], Any]) -> Any:
        key = json.dumps(question)
        if key not in self.answers:
            was, self.open = self.open, False
            self.answers[key] = answer = door()
            self.open = was
            self._note(key, question, answer)
        return self.answers[key]

    def _note(self, key: str, question: list[Any], answer: Any) -> None:
        if isinstance(answer, Source):
            self.sources.setdefault(answer.path, answer)
            said: Any = [answer.path, _digest(answer.text)]
        else:
            said = _digest(json.dumps(to_plain(answer)))
        self.asked[key] = (question[0], said)

    # ---- again ---------------------------------------------------------------------------------

    def again(self, kept: Any) -> bool:
        """Ask what another process has asked; whether all is answered."""
        try:
            for key in kept:
                kind, *given = json.loads(key)
                if kind == "use":
                    self.use(given[0], self.sources[given[1]])
                elif kind == "probe":
                    self.probe(from_plain(given[0], {}))
                else:
                    self.text_file(*given)
        except Exception:  # whatever is wrong there is said when the spec is read
            return False
        return self.open

    def kept(self) -> list[str]:
        """What was asked, to be asked again."""
        return list(self.asked)

    def digest(self) -> str:
        """A hash of all questions and answers."""
        return _digest(json.dumps(list(self.asked.items())))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
