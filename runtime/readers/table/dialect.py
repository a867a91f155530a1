"""What a table is recognised as: its coding, what separates cells, its header, its decimals.

Recognised is what the first lines tell. Where they can be read in two ways, neither is taken: a
`set` in the data set says which is meant.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dln.compiler.schema.headers import MARKS
from dln.grammar.diagnostics import CHOICES, Fault
from dln.runtime.readers import files
from dln.runtime.readers.table.cells import DECIMALS, decimal_of, likely, missing
from dln.runtime.readers.table.lines import BOMS, cut

PARQUET = "parquet"  # in place of a coding
HEAD = 1 << 16  # bytes that are looked at
FEW = 500  # lines, at most
OTHERS = {b"PK\x03\x04": "an Excel workbook or another zip", 
          b"\xd0\xcf\x11\xe0": "an old Excel workbook", b"%PDF": "a PDF"}  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    `names` are those of the header, None where there is none. With `trailing` each line ends with a
    mark more. `decimal` is what stands before decimals, which is `sure` if something shows it or
    the spec says it. `comments` is how many of the first lines are comments.
    """

    encoding: str
    mark: str
    width: int
    names: tuple[str, ...] | None
    decimal: str
    sure: bool
    trailing: bool = False
    quotes: bool = False
    ends: str = "\n"
    comments: int = 0

    @property
    def said(self) -> tuple[str, ...]:
        """What was recognised, in words."""
        if self.encoding == PARQUET:
            return ("a Parquet file",)
        coded = {"utf-8": "", "utf-8-sig": "UTF-8 with a byte-order mark", "utf-16": "UTF-16",
                 "cp1252": "not UTF-8: read as Latin-1 (Windows-1252)"}  # fmt: skip
        ends = {"\r\n": "line ends of Windows", "\r": "line ends of old Macs"}
        single = self.width == 1 and not self.trailing
        found = ["one column" if single else f"cells separated by {spoken(self.mark)}"]
        found += ["with a header" if self.names is not None else "without a header"]
        found += ["cells in quotes"] * self.quotes
        found += ["a comma before decimals"] * (self.decimal == ",")
        found += ["a mark at the end of each line"] * self.trailing
        found += ["comment lines"] * bool(self.comments)
        return (*found, *filter(None, [coded[self.encoding], ends.get(self.ends, "")]))


def spoken(mark: str) -> str:
    return {m: f"{word}s" for word, m in MARKS.items()}[mark]


def recognised(path: Path, settings: Mapping[str, object]) -> Dialect:
    """What a file is recognised as, with what the spec says of it. Raises `Fault` E503 for what is
    no table, E514 for what may be read in two ways."""
    begin = files.head(path, HEAD)
    encoding, text = _decoded(path, begin)
    ends = next((e for e in ("\r\n", "\r") if e in text), "\n")
    every = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(begin) == HEAD and len(every) > 2:
        del every[-1]  # it is cut off
    shown = [(i, x) for i, x in enumerate(every, 1) if x and not x.isspace()][:FEW]
    found = [(i, x) for i, x in shown if not x.lstrip().startswith("#")]
    if not found:
        raise Fault(f"{path} holds no rows of numbers", code="E503")
    said = settings.get("separator")
    mark = MARKS[str(said)] if said else _separator(path, [x for _, x in found])
    rows = [r for r in cut(iter(_trimmed([x for _, x in found], mark)),
                           mark) if r]  # fmt: skip
    trailing, width = _width(rows)
    rows = [[c.strip() for c in r[:width]] for r in rows if len(r) in (width, width + trailing)]
    decimal = DECIMALS.get(str(settings.get("decimal")), "")
    header = _header(path, rows, found[0][0], settings.get("header"))
    names = tuple(rows[0]) if header and rows else None
    sure = bool(decimal) or (known := _decimal(rows, mark)) != ""
    return Dialect(encoding, mark, width, names, decimal or (known if sure else "."), sure,
                   trailing=bool(trailing), quotes='"' in text, ends=ends,
                   comments=len(shown) - len(found))  # fmt: skip


def _decoded(path: Path, begin: bytes) -> tuple[str, str]:
    """How a file is coded, and the text of its first bytes."""
    for mark, what in OTHERS.items():
        if begin.startswith(mark):
            remedy = (
                'save it as CSV, or table("x.parquet")' if mark == b"PAR1" else "save it as CSV"
            )
            raise Fault(f"{path} is {what}, not a text", remedy, "E503")
    encoding = next((e for bom, e in BOMS.items() if begin.startswith(bom)), "utf-8")
    if encoding != "utf-16" and b"\0" in begin:
        line = begin.count(b"\n", 0, begin.index(b"\0")) + 1
        message = f"{path}, line {line}: a zero byte, which no text has"
        raise Fault(message, "save it as CSV in UTF-8", "E503")
    for each in dict.fromkeys((encoding, "cp1252")):
        decoder = codecs.getincrementaldecoder(each)("strict")
        try:
            return each, decoder.decode(begin)
        except UnicodeDecodeError as e:
            fault = undecoded(path, begin.count(b"\n", 0, e.start) + 1)
    raise fault


def undecoded(path: Path, line: int) -> Fault:
    """What is neither UTF-8 nor Windows-1252."""
    return Fault(f"{path}, line {line}: not UTF-8 text", "save it as UTF-8", "E503")


# ---- separators --------------------------------------------------------------------------------


def _separator(path: Path, lines: Sequence[str]) -> str:
    """What separates the cells: that of which all lines have equally many, outside of quotes; else
    that of which the first two have."""
    rows = {m: [r for r in cut(iter(_trimmed(lines, m)), m) if r] for m in MARKS.values()}
    alike = [m for m, found in rows.items() if _width(found)[1] > 1 and _regular(found)]
    if " " in alike and _share(rows[" "][1:] or rows[" "]) < 0.5:
        alike.remove(" ")  # words with blanks between them
    if alike[:2] == [",", " "]:
        both = [_share(rows[m][1:] or rows[m]) for m in alike]
        if both == [1.0, 1.0] and any(" " in c.strip() for r in rows[","][1:] for c in r):
            one, two = (" | ".join(rows[m][-1]) for m in alike)
            message = f"{path}: cells may be separated by commas ({one}) or by blanks ({two})"
            raise Fault(
                message, f"{CHOICES}set separator = comma, or set separator = blank", "E514"
            )
        alike = alike[both[1] > both[0] :]
    if alike:
        return alike[0]
    marks = [m for m in MARKS.values() if m != " "]
    few = {m: [len(r) for r in rows[m][:2]] for m in marks}
    same = [m for m, n in few.items() if n and n[0] > 1 and len(set(n)) == 1]
    some = [m for m, n in few.items() if any(k > 1 for k in n)]
    blanks = [" "] if not some and min(map(len, rows[" "][:2])) > 1 and _numeric(rows[" "]) else []
    return (same or some or blanks or [","])[0]


def _trimmed(lines: Sequence[str], mark: str) -> Sequence[str]:
    return [x.strip(" ") for x in lines] if mark == " " else lines


def _regular(rows: Sequence[Sequence[str]]) -> bool:
    """Whether rows have as many cells, but for an empty one at the end."""
    trailing, width = _width(rows)
    return all(len(r) == width or (trailing and len(r) == width + 1) for r in rows)


def _width(rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Whether rows end with an empty cell that is none, as 0 or 1, and how many cells they have."""
    width = len(rows[0]) if rows else 0
    rest = rows[1:] or rows
    if len(rows) > 1 and all(len(r) in (width, width + 1) and not r[-1].strip() for r in rest):
        if all(len(r) == width + 1 for r in rest):
            return 1, width
        if not rows[0][-1].strip() and width > 2 and all(len(r) == width for r in rest):
            return 1, width - 1
    return 0, width


def _share(rows: Sequence[Sequence[str]]) -> float:
    """How many of the cells hold a value that is no word."""
    cells = [c.strip() for r in rows for c in r]
    return sum(likely(c) or missing(c) for c in cells) / max(1, len(cells))


def _numeric(rows: Sequence[Sequence[str]]) -> bool:
    return _share(rows[1:] or rows) > 0.5


# ---- the header, the decimals ------------------------------------------------------------------


def _header(path: Path, rows: Sequence[Sequence[str]], line: int, said: object) -> bool:
    """Whether the first row is a header: names above numbers. Raises `Fault` E514 where that is not
    clear."""
    if said is not None:
        return said == "yes"
    first, rest = rows[0], rows[1:]
    values = [c for c in first if likely(c)]
    named = [c for k, c in enumerate(first)
             if not likely(c) and not missing(c) and _all_values([r[k] for r in rest])]  # fmt: skip
    if not rest or (not named and values) or (named and not values):
        return bool(named) or not values
    where = f"{path}, line {line}"
    if named:
        above = f'"{named[0]}" stands above numbers, as a name does, and "{values[0]}" is a number'
        message = f"{where} may be a header or an example: {above}"
    else:
        shown = ", ".join(f'"{c}"' for c in first[:4])
        message = f"{where} may be a header or an example: {shown} are words, as those below"
    raise Fault(message, f"{CHOICES}set header = yes, or set header = no", "E514")


def _all_values(cells: Sequence[str]) -> bool:
    """Whether a column holds values and no words."""
    known = [c for c in cells if not missing(c)]
    return bool(known) and all(map(likely, known))


def _decimal(rows: Sequence[Sequence[str]], mark: str) -> str:
    """What the cells show to stand before decimals, nothing where they do not tell."""
    cells = (c for r in rows[:200] for c in r if c and (c[0] in "+-." or c[0].isdigit()))
    return next((found for c in cells if (found := decimal_of(c)) in (".", ",")), "")
