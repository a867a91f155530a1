"""What a cell of a table says: a number, a word, or nothing.

A number has a point or a comma before its decimals, which is one for a whole file, and may have
marks between its thousands. What a cell may be beside numbers is said of a whole column: truth
values, dates, numbers with a percent sign.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import date, datetime

MISSING = frozenset(("", "na", "n/a", "#n/a", "nan", "null", "?", "-"))
"""What stands where a value is missing, in small letters."""

DECIMALS = {"point": ".", "comma": ","}
BLANKS = " \u00a0\u202f"
MARKED = {
    ".": re.compile(rf"[+-]?\d{{1,3}}(?:(?:,\d{{3}})+|(?:[{BLANKS}'’]\d{{3}})+)(?:\.\d*)?"),
    ",": re.compile(rf"[+-]?\d{{1,3}}(?:(?:\.\d{{3}})+|(?:[{BLANKS}'’]\d{{3}})+)(?:,\d*)?"),
}
"""Numbers with marks between thousands, by what stands before the decimals."""
BETWEEN = {".": re.compile(rf"[,{BLANKS}'’]"), ",": re.compile(rf"[.{BLANKS}'’]")}

TRUTH = ({"false": 0.0, "true": 1.0}, {"no": 0.0, "yes": 1.0})
DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?")
DAYS = date(1970, 1, 1).toordinal()
SHARE = re.compile(r"(.*\d[.,]?) ?%")
SURE = {
    ".": re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+\.\d*|[1-9]\d{0,2}(?:,\d{3}){2,}"
                    r"|(?![1-9]\d{0,2}\.\d{3}$)\d*\.\d*(?:[eE][+-]?\d+)?)"),
    ",": re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+,\d*|[1-9]\d{0,2}(?:\.\d{3}){2,}"
                    r"|(?![1-9]\d{0,2},\d{3}$)\d*,\d*(?:[eE][+-]?\d+)?)"),
}  # fmt: skip
"""Numbers that can be read with one mark before the decimals alone."""
SPACED = re.compile(rf"[+-]?\d{{1,3}}(?:[{BLANKS}'’]\d{{3}})+([.,]\d*)")
"""A number whose thousands are marked otherwise, so that its mark stands before decimals."""
EITHER = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")
"""A number with one mark that may stand before decimals, or between thousands."""


def missing(text: str) -> bool:
    """Whether a cell, without blanks around it, says that there is no value."""
    return len(text) < 5 and text.lower() in MISSING


def number(text: str, decimal: str) -> float | None:
    """The number of a cell, without blanks around it; None where it is none.

    >>> number("1,234.5", "."), number("1.234,5", ","), number("2,5", "."), number("1_0", ".")
    (1234.5, 1234.5, None, None)
    """
    if MARKED[decimal].fullmatch(text):
        text = BETWEEN[decimal].sub("", text)
    elif decimal == "," and "." in text:
        return None
    if decimal == ",":
        text = text.replace(",", ".")
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def decimal_of(text: str) -> str:
    """What stands before the decimals of a cell: "." or ","; "?" where it may be either; nothing
    where the cell does not tell.

    >>> decimal_of("0.5"), decimal_of("1.234,5"), decimal_of("1.234"), decimal_of("12")
    ('.', ',', '?', '')
    """
    if "." not in text and "," not in text:
        return ""
    if EITHER.fullmatch(text):
        return "?"
    if spaced := SPACED.fullmatch(text):
        return spaced[1][0]
    found = next((mark for mark, sure in SURE.items() if sure.fullmatch(text)), "")
    return found if any(map(str.isdigit, text)) else ""


def likely(text: str) -> bool:
    """Whether a cell holds a value that is no name: a number in any form, a date, a share."""
    share = SHARE.fullmatch(text)
    text = share[1].strip() if share else text
    return any(number(text, d) is not None for d in ".,") or bool(DATE.fullmatch(text))


def kinds_of(texts: Iterable[str], decimal: str) -> tuple[str, dict[str, float]]:
    """What the cells of a column are that are no plain numbers: all truth values, all dates, all
    with percent signs; else words. The number that each of them stands for, none of words.

    >>> kinds_of(["yes", "no"], "."), kinds_of(["5 %"], "."), kinds_of(["1970-01-03"], ".")
    (('truth', {'yes': 1.0, 'no': 0.0}), ('percent', {'5 %': 5.0}), ('date', {'1970-01-03': 2.0}))
    """
    texts = list(texts)
    small = [t.lower() for t in texts]
    for pair in TRUTH:
        if texts and all(t in pair for t in small):
            return "truth", {t: pair[s] for t, s in zip(texts, small, strict=True)}
    for kind, value in (("date", day), ("percent", share)):
        found: dict[str, float] = {}
        for text in texts:
            known = value(text, decimal)
            if known is None:
                break
            found[text] = known
        if texts and len(found) == len(texts):
            return kind, found
    return "word", {}


def day(text: str, decimal: str = ".") -> float | None:
    """An ISO date as the number of days since 1970-01-01, a time of the day as a part of one."""
    if not DATE.fullmatch(text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    seconds = found.hour * 3600 + found.minute * 60 + found.second + found.microsecond / 1e6
    return found.toordinal() - DAYS + seconds / 86400


def share(text: str, decimal: str) -> float | None:
    """The number before a percent sign."""
    found = SHARE.fullmatch(text)
    value = None if found is None else number(found[1].strip(), decimal)
    return value if value is not None and math.isfinite(value) else None
