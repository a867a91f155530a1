"""What a column holds: numbers, words, dates; its values as classes; what is missing in it."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence

from dln.compiler.schema.headers import ColumnFacts, Oddity
from dln.runtime.readers.table.cells import kinds_of, missing
from dln.runtime.readers.table.columns import Column
from dln.runtime.readers.table.scan import Table

MOST = 10_000  # values of a column that are counted one by one
LARGE = 50_000  # rows from which on NumPy is worth its import
GAPS = 3  # lines of missing cells that are told


def kind_of(found: Table, column: int) -> str:
    """What the cells of a column are, which was read. Those that stand for numbers, as dates do,
    become such. A column of words is one in which any cell is no number."""
    col = found.columns[column]
    if not col.kind:
        plain = len(col.numbers) > len(col.rows)
        known = {t: code for t, code in col.texts.items()
                 if not missing(t) and not (plain and _endless(t))}  # fmt: skip
        col.kind = "number" if plain else "nothing"
        if known:
            kind, values = kinds_of(known, found.dialect.decimal)
            col.kind, values = ("mixed", {}) if plain else (kind, values)
            by_code = {known[t]: v for t, v in values.items()}
            for row, code in zip(col.rows, col.codes, strict=True) if values else ():
                col.numbers[row] = by_code.get(code, math.nan)
    return col.kind


def gaps(col: Column, beside: Sequence[str] = ()) -> list[int]:
    """The rows in which a value is missing, unless one of the classes `beside` is just that."""
    if any(map(missing, beside)):
        return []
    none = {code for text, code in col.texts.items() if missing(text)}
    return [row for row, code in zip(col.rows, col.codes, strict=True) if code in none]


def spelled(value: float) -> str:
    """A number as the name of a class."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def counted(col: Column) -> tuple[dict[str, int], int]:
    """How often each value of a column occurs, in order: numbers by size, words by their letters.
    Nothing where there are too many, and how many there are (at least)."""
    odd = Counter(col.codes)
    words = {text: odd[code] for text, code in col.texts.items() if not missing(text)}
    if len(words) > MOST:
        return {}, len(words)
    plain: Counter[float] = Counter()
    if len(col.rows) < len(col.numbers):
        skip = set(col.rows)
        for low in range(0, len(col.numbers), MOST):
            some = col.numbers[low : low + MOST]
            plain.update(v for i, v in enumerate(some, low) if i not in skip) if skip else (
                plain.update(some)
            )
            if len(plain) + len(words) > MOST:
                return {}, len(plain) + len(words)
    found = {spelled(v): n for v, n in sorted(plain.items())}
    if words:
        both = Counter(found) + Counter(words)
        found = {t: both[t] for t in sorted(both)}
    return found, len(found)


def facts(found: Table, column: int) -> ColumnFacts:
    """What is known of a column that was read."""
    kind, col = kind_of(found, column), found.columns[column]
    values, distinct = counted(col)
    none = gaps(col)
    least, most, whole = (math.nan, math.nan, False) if kind in ("word", "mixed") else _range(col)
    return ColumnFacts(
        kind,
        whole,
        tuple(values),
        tuple(values.values()),
        distinct,
        least,
        most,
        len(none),
        tuple(found.line(row) for row in none[:GAPS]),
        oddity(found, column),
    )


def _range(col: Column) -> tuple[float, float, bool]:
    """The least and the largest of the numbers, and whether all are whole."""
    if len(col.numbers) >= LARGE:
        import numpy as np  # late: NumPy

        every = np.frombuffer(col.numbers)
        every = every[~np.isnan(every)] if col.rows else every
        if every.size:
            return float(every.min()), float(every.max()), bool((every == np.rint(every)).all())
    known = [v for v in col.numbers if v == v]
    whole = all(v.is_integer() for v in known)
    return min(known, default=math.nan), max(known, default=math.nan), whole


def oddity(found: Table, column: int) -> Oddity | None:
    """What first stands in a column in place of a finite number, but for what is read as one."""
    kind, col = kind_of(found, column), found.columns[column]
    texts = list(col.texts)
    for row, code in zip(col.rows, col.codes, strict=True):
        text = texts[code]
        if kind in ("word", "mixed") and missing(text) and len(texts) > 1:
            continue
        if math.isnan(col.numbers[row]):
            return Oddity(found.where(row), row, text[:40], _endless(text))
    return None


def _endless(text: str) -> float | None:
    """A number that is infinite, or none: NaN."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if not math.isfinite(value) else None


def codes(col: Column, names: Sequence[str]) -> tuple[array[int], list[int]]:
    """The values of a column as places among names, -1 where it is missing; and the rows that hold
    another word, whose place is -2. A name that says so stands for all that is missing."""
    none = next((i for i, name in enumerate(names) if missing(name)), -1)
    places = {name: i for i, name in enumerate(names)}
    numbers: dict[float | None, int] = {}
    for name, i in places.items():
        if (value := _plain(name)) is not None:
            numbers.setdefault(value, i)
    by_code = [
        places[t] if t in places else none if missing(t) else numbers.get(_plain(t), -2)
        for t in col.texts
    ]
    if len(col.numbers) >= LARGE:
        return _many_codes(col, by_code, numbers)
    made = array("q", [numbers.get(v, -2) for v in col.numbers])
    for row, code in zip(col.rows, col.codes, strict=True):
        made[row] = by_code[code]
    return made, [row for row, code in enumerate(made) if code == -2]


def _many_codes(
    col: Column, by_code: Sequence[int], numbers: Mapping[float | None, int]
) -> tuple[array[int], list[int]]:
    """The same of many rows."""
    import numpy as np  # late: NumPy

    made = np.full(len(col.numbers), -2)
    if len(col.rows) < len(made) and numbers:
        every, at = np.unique(np.frombuffer(col.numbers), return_inverse=True)
        made = np.array([numbers.get(v, -2) for v in every.tolist()])[at]
    if col.rows:
        rows, codes = np.frombuffer(col.rows, np.int64), np.frombuffer(col.codes, np.int32)
        made[rows] = np.array(by_code)[codes]
    found = array("q")
    found.frombytes(made.astype(np.int64).tobytes())
    return found, np.flatnonzero(made == -2).tolist()


def _plain(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
