"""Lines of Python that are no longer than a page is wide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from json import dumps

WIDTH = 100
OPERATORS = ("* ", "+ ", "//", "- ", "if", "an")
"""How operators begin, before which a line may be broken."""
CLOSES = {"(": ")", "[": "]", "{": "}"}


def broken(code: str, width: int = WIDTH) -> list[str]:
    """A statement on as many lines as it takes: broken behind commas and operators inside of its
    outermost brackets, further in by four; in brackets of its own where it has none that serve.

    >>> broken("f(a, bb, cc)", 10)
    ['f(a, bb,', '    cc)']
    """
    if len(code) <= width:
        return [code]
    opened = opening(code, width)
    rows = [code] if opened is None else folded(code, opened, width)
    if max(map(len, rows)) > width and (
        match := re.match(r"( *(?:\w+(?:, \w+)* [-+*/]?= |return ))(.*)$", code)
    ):
        return folded(f"{match[1]}({match[2]})", len(match[1]), width)
    return rows


def folded(code: str, opened: int, width: int) -> list[str]:
    """A statement that is broken inside of the bracket at a place."""
    space = code[: len(code) - len(code.lstrip())]
    rows, row = list[str](), code[: opened + 1]
    for piece in pieces(code[opened + 1 :]):
        if len(row) + len(piece.rstrip()) > width and row.strip():
            rows.append(row.rstrip())
            row = f"{space}    "
        row += piece if row.strip() else piece.lstrip()
    return [*rows, row.rstrip()]


def within(row: str, width: int = WIDTH) -> list[str]:
    """A row that stands in brackets, broken at its own operators where it is too long."""
    return [row] if len(row) <= width else folded(row, len(row) - len(row.lstrip()) - 1, width)


def opening(code: str, width: int) -> int | None:
    """Where the first bracket opens that closes beyond the width, those inside of others apart; one
    before it where that is too far to the right."""
    depth = start = 0
    before: int | None = None
    quote = ""
    for i, c in enumerate(code):
        if quote:
            quote = "" if c == quote and code[i - 1] != "\\" else quote
        elif c in "'\"":
            quote = c
        elif c in CLOSES:
            start, depth = start if depth else i, depth + 1
        elif c in CLOSES.values():
            depth -= 1
            if not depth and i >= width - 1:
                return before if start > 0.8 * width and before is not None else start
            if not depth and i > start + 1:
                before = start
    return None


def pieces(text: str) -> Iterator[str]:
    """A text that stands in a bracket, cut behind each comma and before each operator that stands
    in no text of its own, nor behind the bracket."""
    piece, quote, depth = "", "", 1
    for i, c in enumerate(text):
        piece += c
        if quote:
            quote = "" if c == quote and text[i - 1] != "\\" else quote
        elif c in "'\"":
            quote = c
        elif c in CLOSES or c in CLOSES.values():
            depth += 1 if c in CLOSES else -1
        elif depth > 0 and (c == "," or c == " " and text[i + 1 : i + 3] in OPERATORS):
            yield piece
            piece = ""
    yield piece


def remark(text: str, room: int) -> str:
    """A comment, cut to the room that there is."""
    return text if len(text) <= room else f"{text[: max(0, room - 3)].rstrip()}..."


def packed(words: Iterable[str], lead: str, width: int = WIDTH) -> list[str]:
    """Words with blanks between them on as few lines as it takes, each behind a lead."""
    rows, row = list[str](), lead
    for word in words:
        if len(row) + len(word) > width and row != lead:
            rows.append(row.rstrip())
            row = lead
        row += f"{word} "
    return [*rows, row.rstrip()] if row != lead else rows


def quoted(call: str, text: str, width: int = 80) -> list[str]:
    """A call of a text, which is cut into several where it is long."""
    pieces = [dumps(text[i : i + width]) for i in range(0, len(text), width)]
    lead = " " * (len(call) - len(call.lstrip()) + 4)
    rows = [call, *(lead + piece for piece in pieces)] if len(pieces) > 1 else [call + pieces[0]]
    return [*rows[:-1], rows[-1] + ")"]
