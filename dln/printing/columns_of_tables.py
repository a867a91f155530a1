"""What a table was recognised as and what its columns hold, for people and for programs."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from dln.grammar.diagnostics import clean
from dln.printing.terminal import columns, cut, number, plural

if TYPE_CHECKING:
    from dln.compiler.model import DataSet
    from dln.compiler.schema.headers import ColumnFacts, TableFacts

FEW = 8  # values of a column that are listed with their counts
WIDE = 60  # characters of such a list
NAME = 24  # and of a name
KINDS = {"number": "numbers", "truth": "truth values, 1 and 0", "word": "words", "nothing": "",
         "date": "dates, as days since 1970-01-01", "percent": "numbers before %",
         "mixed": "words and numbers"}  # fmt: skip


def table_said(data: DataSet, found: TableFacts) -> list[tuple[str, str]]:
    """What a file was recognised as, and what was done with what is missing."""
    said = [("read as", ", ".join(found.said))]
    said += [("", line) for line in missing_said(data, found)]
    return said


def missing_said(data: DataSet, found: TableFacts) -> list[str]:
    """How many rows were left out, and how many cells filled, with which number."""
    said = []
    if found.dropped:
        of = f"{found.dropped:,} of {plural(found.rows, 'row')}"
        said.append(f"{of} left out, as they lack what is read")
    fill: Any = data.options.get("fill", ())
    for column, mean in fill:
        facts = found.columns.get(column)
        count = facts.missing if facts is not None else 0
        name = clean(called(found, column))
        many = plural(count, "missing value")
        said.append(f"{many} of {name} filled with the mean {number(mean)}")
    return said


def called(found: TableFacts, column: int) -> str:
    """The name of a column, or what it is by its number."""
    name = found.names[column] if found.names and column < len(found.names) else ""
    return name or f"raw[{column}]"


def column_table(data: DataSet, found: TableFacts) -> str:
    """Each column with what it holds, its range, what is missing; of few values each with its
    count."""
    rows = [("column", "", "holds", "least", "most", "missing", "values")]
    for k, facts in found.columns.items():
        numeric = facts.kind not in ("word", "mixed", "nothing")
        ends = (facts.least, facts.most)
        least, most = (number(v) if numeric and isfinite(v) else "" for v in ends)
        missing = f"{facts.missing:,}" if facts.missing else ""
        mark = "" if k in read(data) else "not read"
        name = cut(clean(called(found, k)), NAME)
        rows.append((name, mark, KINDS[facts.kind], least, most, missing, values(facts)))
    rest = found.width - len(found.columns)
    more = f"\n  and {plural(rest, 'column')} more" if rest > 0 else ""
    return columns(rows, right=[3, 4, 5], lead="  ") + more


def read(data: DataSet) -> set[int]:
    """The columns that fields read."""
    classes: Any = data.options.get("classes", ())
    return {*(data.columns or ()), *(column for _, column, _ in classes)}


def values(facts: ColumnFacts) -> str:
    """The values of a column of which there are few, with how often each occurs; of others how many
    there are."""
    if facts.distinct > FEW or facts.distinct == sum(facts.counts) > 2:
        return f"{facts.distinct:,} different"
    if not facts.words:
        return f"{facts.distinct:,} different or more" * bool(facts.distinct)
    pairs = zip(facts.words, facts.counts, strict=True)
    return cut("  ".join(f"{clean(word)} {count:,}" for word, count in pairs), WIDE)


def table_data(data: DataSet, found: TableFacts) -> dict[str, Any]:
    """The same for `--json`."""
    fill: Any = data.options.get("fill", ())
    return {
        "recognised": list(found.said),
        "rows": found.rows,
        "left_out": found.dropped,
        "filled": {called(found, k): v for k, v in fill},
        "columns": [_column(data, found, k, facts) for k, facts in found.columns.items()],
    }


def _column(data: DataSet, found: TableFacts, k: int, facts: ColumnFacts) -> dict[str, Any]:
    made = {"name": called(found, k), "number": k, "read": k in read(data), "holds": facts.kind,
            "missing": facts.missing, "different": facts.distinct}  # fmt: skip
    if isfinite(facts.least):
        made |= {"least": facts.least, "most": facts.most}
    if 0 < len(facts.words) <= FEW:
        made["values"] = dict(zip(facts.words, facts.counts, strict=True))
    return made
