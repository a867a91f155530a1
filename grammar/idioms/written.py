"""What stands in the text at a place, and how a part of it is written otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dln.grammar.diagnostics import Span
from dln.grammar.idioms.names import arguments

SIGNS = (*"+-*/@<>", "==", "!=", "<=", ">=")


def end_to_end(text: str, ranks: Sequence[int]) -> str:
    """`[a, v, b]` as `concat([a], v, [b])`, where v is a vector."""
    entries = [" ".join(e.split()) for e in arguments(text.strip()[1:-1])]
    if len(entries) != len(ranks):
        return ""
    rows, single = list[str](), list[str]()
    for entry, rank in zip([*entries, ""], [*ranks, 1], strict=True):
        if rank and single:
            rows.append(f"[{', '.join(single)}]")
            single = []
        rows += [entry] if rank and entry else []
        single += [entry] if not rank else []
    return f"concat({', '.join(rows)})"


def reckoned_with(at: Span) -> bool:
    """Whether an operator stands before or behind a place, which may be there for an arrow."""
    text = at.source.text
    before, after = text[: at.start].rstrip(), text[at.stop :].lstrip()
    left, right = before.endswith(SIGNS), after.startswith(SIGNS)
    return (left and not before.endswith("->")) or (right and not after.startswith("->"))


def given_first(text: str) -> str | None:
    """`dense(h, 100)` as `(h -> dense(100))`, where the first argument is a name."""
    found = re.fullmatch(r"(\w+)\(([A-Za-z_][\w.]*), (.*\d.*)\)", text)
    return None if found is None else f"({found[2]} -> {found[1]}({found[3]}))"


SIGNS_OF_OTHERS = (
    (r"\*\*", "^"),
    (r"(\([^()]*\)|[\w.]+)\s*//\s*(\([^()]*\)|[\w.]+)", r"floor(\1 / \2)"),
    (r"\s*&&\s*", " and "),
    (r"\s*\|\|\s*", " or "),
    (r"!(?!=)\s*", "not "),
)


def without_signs(text: str) -> str:
    """A line with all the signs of other languages in it, as it is written here."""
    for sign, here in SIGNS_OF_OTHERS:
        text = re.sub(sign, here, text)
    return re.sub(r"\((floor\([^()]*\))\)", r"\1", text)
