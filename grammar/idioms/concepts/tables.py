"""The tables of words: text files beside this one, whose heads say how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from dln.grammar.idioms import names

FILES = "functions layers losses training data subjects".split()
EXAMPLE = ": "  # before what is written here as an example
Row = tuple[str, str]  # what is written here, and why


def rows(text: str) -> Mapping[str, list[tuple[list[str], Row]]]:
    """The rows of a file, by section: words, what is written here, why."""
    found: dict[str, list[tuple[list[str], Row]]] = {}
    section = list[tuple[list[str], Row]]()
    words, parts = list[str](), list[str]()
    for line in [*text.splitlines(), "## "]:
        inside = line.startswith("  ")
        if not inside and parts and line:
            here, _, says = "\n".join(parts).partition("\n! ")
            joined = [" ".join(part.split("\n")) for part in (here, says)]
            section.append((words, (joined[0].removeprefix("= "), joined[1])))
            words, parts = [], []
        if line.startswith("## "):
            section = found.setdefault(line.removeprefix("## "), [])
        elif inside:
            parts.append(line.strip())
        elif line and not line.startswith("#"):
            words += line.split()
    return found


@cache
def tables() -> Mapping[str, Mapping[str, Row]]:
    """The rows of each kind by their words."""
    found: dict[str, dict[str, Row]] = {}
    for name in FILES:
        text = Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8")
        for kind, table in rows(text).items():
            by = found.setdefault(kind, {})
            by.update((names.plain(word), row) for words, row in table for word in words)
    return found


@cache
def fields(kind: str) -> Mapping[str, tuple[list[str], str]]:
    """The rows of a kind whose answer has several fields, by their words; and why."""
    return {
        word: ([part.strip() for part in here.split("|")], says)
        for word, (here, says) in tables()[kind].items()
    }
