"""The rows of a file of text, a piece at a time: unpacked, decoded, cut into lines and cells."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dln.grammar.diagnostics import Fault
from dln.runtime.readers import files

PIECE = 1 << 16  # bytes decoded at a time
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def texts(path: Path, encoding: str) -> Iterator[str]:
    """The text of a file, a piece at a time. Raises `UnicodeDecodeError`, and `Fault` E504 where a
    packed file ends early."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    for piece in files.pieces(path, PIECE):
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def lines(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a file, whatever they end with."""
    rest = ""
    for piece in texts(path, encoding):
        text = rest + piece
        if "\r" in text:
            back = text.endswith("\r")  # the line feed that belongs to it may be yet to come
            text = (text[:-1] if back else text).replace("\r\n", "\n").replace("\r", "\n")
            text += "\r" * back
        *whole, rest = text.split("\n")
        yield from whole
    yield from rest.rstrip("\r").split("\n") if rest else ()


class RowReader:
    """The rows of a file as lists of cells. `number` is the line that was read last; blank lines
    and lines that begin with # are none."""

    def __init__(self, path: Path, encoding: str, mark: str) -> None:
        self.path, self.encoding, self.mark = path, encoding, mark
        self.number = self.opened = 0  # the line read last, and one with a quote not closed there

    def __iter__(self) -> Iterator[list[str]]:
        self.number = self.opened = 0
        try:
            yield from cut(self._lines(), self.mark)
        except csv.Error as e:
            message = f"{self.path}, line {self.number}: {e}"
            raise Fault(message, "shorter cells", "E503") from e
        if self.opened:
            message = f"{self.path}, line {self.opened}: a quote is never closed"
            raise Fault(message, 'close every quote, as in "a, b"', "E503")

    def _lines(self) -> Iterator[str]:
        opened, blank, closed = 0, self.mark == " ", whole_line(self.mark)
        for number, line in enumerate(lines(self.path, self.encoding), 1):
            if not opened and (not line or line.isspace() or line.lstrip().startswith("#")):
                continue
            if opened or '"' in line:
                if not closed.fullmatch('"' + line if opened else line):
                    self.opened = opened = opened or number
                    line += "\n"  # which is a part of the cell
                else:
                    self.opened = opened = 0
            self.number = number
            yield line.strip(" ") if blank and not opened else line


@cache
def whole_line(mark: str) -> re.Pattern[str]:
    """A line in which every quote that begins a cell is closed. One within a cell is a mark like
    any other: `5" pipe`."""
    other, before = f"[^{re.escape(mark)}]", "" if mark == "\t" else " *+"
    cell = f'(?:{before}"(?:[^"]|"")*+"{other}*+|(?!{before}"){other}*+)'
    return re.compile(f"{cell}(?:{re.escape(mark)}{cell})*+")


def cut(lines: Iterator[str], mark: str) -> Iterator[list[str]]:
    """Lines as rows of cells."""
    return csv.reader(lines, delimiter=mark, skipinitialspace=mark != "\t")
