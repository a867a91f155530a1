"""A table and the fields that are made of it: which of its columns are read, and what stands there.

What a file holds is asked in three steps, for each depends on the one before: the header; while the
fields are built, what their columns hold; once it is known which are read, how many examples there
are that lack nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.context.values import DataValue
from dln.compiler.frontend.data import columns, origins
from dln.compiler.frontend.data.raw_tables import RawTable, table_of
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_input
from dln.compiler.model import DataSet, FieldOf
from dln.compiler.schema.headers import ColumnFacts, DataSource, Oddity, Schema
from dln.compiler.schema.records import Division, GroupedDivision
from dln.grammar import syntax as s
from dln.grammar.diagnostics import CHOICES, Span


def first(source: DataSource) -> DataSource:
    """What is asked first: of a table the header alone."""
    if source.reader != "table":
        return source
    return source.changed(options={**source.options, "head": True})


def begun(
    b: Build, key: str, source: DataSource, schema: Schema, raw: Mapping[str, Node],
    statements: Iterable[s.Syntax], span: Span,
) -> RawTable | None:  # fmt: skip
    """A table whose header is known; None for what is no table."""
    if schema.table is None:
        return None
    made = RawTable(key, source, schema.table, span)
    made.likely = columns.likely(made, statements)
    b.data.tables[raw[""]] = made
    return made


def resembling(b: Build, table: RawTable, other: object) -> None:
    """What a set has of the one that it is like: the names of classes, which is its model."""
    data = b.data.sets[other.name] if isinstance(other, DataValue) else None
    model = None if data is None else table_of(b, data.raw.get(""))
    if model is None:
        return
    named = {model.called(c.column): c.names for c in model.coded}
    table.given = {**model.given, **named}
    table.model = model


def settled(
    b: Build, table: RawTable, raw: Node, fields: Mapping[str, FieldOf], claims: Sequence[FieldOf]
) -> Schema:
    """What the set holds once it is known which columns are read; the source of the table then says
    which. Refuses words where numbers are read, and missing values of which nothing is said."""
    values = [*(f.value for f in fields.values()), *(c.value for c in claims)]
    used = sorted(origins.columns(values, raw))
    coded = [c for c in table.coded if c.node in set(ancestors(values))]
    facts = columns.looked(b, table, [*used, *(c.column for c in coded)])
    for f in fields.values():
        mine = [f.value, *(c.value for c in claims if c.name == f.name)]
        for column in sorted(origins.columns(mine, raw)):
            odd = facts[column].odd
            if odd is not None and not (facts[column].missing and _is_gap(odd)):
                with b.collecting():
                    _odd_column(b, table, f, odd, column)
        with b.collecting():
            _refuse_gaps(b, table, f, mine, raw)
    options = dict(table.source.options)
    for c in coded:  # each by itself, so that a word that is no class is refused at its field
        alone = {**options, "classes": ((c.key, c.column, c.names),)}
        where = table.span if table.given else c.span
        columns.asked(b, table, table.source.changed(options=alone, columns=()), where)
    if coded:
        options["classes"] = tuple((c.key, c.column, c.names) for c in coded)
    table.source = table.source.changed(options=options, columns=tuple(used))
    schema = columns.asked(b, table, table.source)
    if schema.table is not None:
        table.facts = schema.table.changed(columns={}, means={})
    if schema.count < 1:
        lost = f"{table.facts.file}: all {table.facts.rows:,} rows lack something that is read"
        b.fail("E515", lost, table.span, remedy="read other columns")
    return schema


def fill(b: Build, on: Sequence[tuple[str, str]]) -> None:
    """Put means in the place of what is missing in tables that ask for it, now that it is known
    which parts phases learn from, `on` (set, part) in the order of the spec."""
    for raw, table in b.data.tables.items():
        data = b.data.sets.get(table.key) if isinstance(table, RawTable) else None
        if isinstance(table, RawTable) and data is not None and data.raw.get("") is raw:
            with b.collecting():
                source = _filled(b, table, data, on)
                b.data.sets[table.key] = data.changed(
                    options=source.options, columns=source.columns
                )


def _fitted(b: Build, table: RawTable, data: DataSet, on: Sequence[tuple[str, str]]) -> str:
    """The part whose means are taken: that which the first phase learns from, else the first one.
    Where there are folds they are those of one training, or a fold would be looked at."""
    learned = list(dict.fromkeys(part for of, part in on if of == table.key and part))
    apart = bool(learned) and learned[0] != "all" and not set("[+-") & set(learned[0])
    if any("[" in name for name in data.parts) and len(learned) != 1 and not apart:
        text = "set missing = mean takes the means of one part, and of folds each is looked at"
        remedy = f"{CHOICES}train ... on {table.key} - {table.key}.fold[k], with a const k, "
        remedy += "or set missing = drop"
        b.fail("E515", text, table.span, "is divided into folds", remedy=remedy)
    own = [name for name in data.parts if name != "all" and not set("+-") & set(name)]
    return learned[0] if learned else next(iter(own), "all")


def _filled(b: Build, table: RawTable, data: DataSet, on: Sequence[tuple[str, str]]) -> DataSource:
    """The table with the means of a part of the set, or of the one that it is like."""
    used = table.source.columns or ()
    if table.source.options.get("missing") != "mean" or not used:
        b.note(_told(table, ()))
        return table.source
    table.means = table.means if table.model is None else table.model.means
    if table.means is None:
        division, name = data.division, _fitted(b, table, data, on)
        told_by = _divided_by(b, table, table.fields, division) or ((),)
        question = used, division, data.parts[name].pieces, *told_by
        options = {**table.source.options, "mean": question}
        found = columns.asked(b, table, table.source.changed(options=options)).table
        assert found is not None
        table.means = {table.called(k): v for k, v in found.means.items()}
    gaps = [k for k in used if table.looked[k].missing]
    for k in gaps:
        if math.isnan(table.means.get(table.called(k), math.nan)):
            where = f"{table.facts.file}, {table.spoken(k)}"
            text = f"{where}: the examples whose mean is taken have no value"
            b.fail("E515", text, table.span, remedy="set missing = drop")
    fill = tuple((k, table.means[table.called(k)]) for k in gaps if table.called(k) in table.means)
    if fill:
        options = {**table.source.options, "fill": fill}
        table.source = table.source.changed(options=options)
    b.note(_told(table, fill))
    return table.source


def pieces(
    b: Build, table: RawTable | None, fields: Mapping[str, FieldOf], division: GroupedDivision,
    span: Span,
) -> tuple[int, ...]:  # fmt: skip
    """How many examples are in each piece where groups stay together, which is asked of the file:
    refused where that is no table."""
    if table is None:
        text = "who stays together decides how large parts are, which is asked of a table"
        remedy = 'table("...csv"), with the groups as a column'
        b.fail("E425", text, span, "of a set that is none", remedy=remedy)
    told_by = _divided_by(b, table, fields, division)
    options = {**table.source.options, "apart": (division, *told_by)}
    found = columns.asked(b, table, table.source.changed(options=options)).table
    assert found is not None
    return found.pieces


def _divided_by(
    b: Build, table: RawTable, fields: Mapping[str, FieldOf], division: Division
) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """The columns that a set is divided by, with the names of their classes, if any."""
    return tuple(_column_of(b, table, fields.get(name), division) for name in division.told_by)


def _column_of(
    b: Build, table: RawTable, field: FieldOf | None, division: Division
) -> tuple[int, tuple[str, ...]]:
    for span, column in table.direct if field is not None else ():
        if field is not None and field.span.start < span.start and span.stop == field.span.stop:
            return column, field.names
    grouped = isinstance(division, GroupedDivision)
    text = f"{'apart' if grouped else 'set missing = mean'} needs to know who is in a part, "
    text += "by a column as it stands in the file"
    remedy = "who: class = raw.who, or raw[3]" if grouped else "set missing = drop"
    b.fail("E515", text, table.span, "is divided by another value", remedy=remedy)


def _told(table: RawTable, fill: Sequence[tuple[int, float]]) -> str:
    """What the file was recognised as, and what was done with what is missing in it."""
    facts = table.facts
    said = [f"{table.key}: {facts.file}, {', '.join(facts.said)}"]
    if facts.dropped:
        said.append(f"{facts.dropped:,} of {facts.rows:,} rows left out, which lack what is read")
    for column, mean in fill:
        many = f"{table.looked[column].missing:,} missing"
        said.append(f"{many} in {table.spoken(column)} filled with the mean {mean:.6g}")
    return "; ".join(said)


# ---- what is refused ---------------------------------------------------------------------------


def _is_gap(odd: Oddity) -> bool:
    """Whether nothing stands where a number is read."""
    return odd.value != odd.value or odd.text.lower() in ("", "na", "n/a", "#n/a", "null", "?", "-")


def _odd_column(b: Build, table: RawTable, f: FieldOf, odd: Oddity, column: int) -> NoReturn:
    """Words, or a number without end, where a field reads numbers."""
    domain, place = f.node.type.domain, f"column {column + 1}"
    label, facts = f"reads {table.spoken(column)}", table.looked[column]
    if odd.value is not None and domain.size is not None:
        said = f"{f.name}: example {odd.example} ({odd.where}, {place}) has {odd.text}"
        last = b.sizes.resolve(domain.size) - 1
        b.fail("E554", f"{said}, expected a class, 0 to {last}", f.span, label)
    kind = "number" if odd.value is None else "finite number"
    remedy, fact = _instead(table, odd, column, facts)
    text = f'{odd.where}, {place}: "{odd.text}" is not a {kind}'
    line = re.fullmatch(rf"{f.name}\s*=\s*(raw\S*)", f.span.text)
    if line is not None and remedy.startswith("onehot("):
        fact = ("the words of a column are classes, where the field says so",)
        b.fail("E507", text, f.span, label, (), f"{f.name}: class = {line[1]}", fact)
    b.fail("E507", text, _read_at(f.span, table.written(column), column), label, (), remedy, fact)


def _read_at(field: Span, raw: str, column: int) -> Span:
    """Where a field asks for a column by its name or number, if it does so once; else all of it."""
    forms = rf"{re.escape(raw)}(?!\w)|raw\[{column}\]"
    found = list(re.finditer(forms, field.text, re.IGNORECASE))
    if len(found) != 1:
        return field
    return Span(field.source, field.start + found[0].start(), field.start + found[0].end())


def _instead(
    table: RawTable, odd: Oddity, column: int, facts: ColumnFacts
) -> tuple[str, tuple[str, ...]]:
    """What to write where a column of words is read as numbers."""
    raw = table.written(column)
    if odd.value is not None:
        return (
            f"write a finite number into {odd.where.rpartition(', ')[2]}, column {column + 1}",
            (),
        )
    if any(c in odd.text for c in ".,") and any(map(str.isdigit, odd.text)):
        both = "a point before all decimals, or a comma before all and semicolons between cells"
        return both, ()
    words = [w for w in facts.words if not w.replace(".", "").isdigit()]
    if len(words) < max(3, facts.distinct / 2) and facts.distinct > len(words):
        shown = ", ".join(f'"{w}"' for w in words[:5])
        where = odd.where.rpartition(", ")[2]
        return f"write a number into {where}, column {column + 1}, or leave the line out", (
            f"the column holds numbers but for {shown}",
        )
    fact = f"words are classes: label: class = {raw}"
    return f"onehot({raw} as class), or read other columns", (fact,)


def _refuse_gaps(b: Build, table: RawTable, f: FieldOf, values: Sequence[Node], raw: Node) -> None:
    """Refuse missing values of which the spec does not say what is done with them."""
    said, facts = table.source.options.get("missing"), table.looked
    if said is not None:
        return
    inputs = {n for n in ancestors(values) if is_input(n)}
    listed = [c for c in table.coded if c.node in inputs]
    gone = [k for k in sorted(origins.columns(values, raw)) if facts[k].missing]
    words = [c for c in listed if facts[c.column].missing and not _named_gap(c.names)]
    for column in [*gone, *(c.column for c in words)][:1]:
        fact = facts[column]
        lines = ", ".join(map(str, fact.gaps)) + ", ..." * (fact.missing > len(fact.gaps))
        many = f"{table.facts.unit}{'s' * (fact.missing > 1)} {lines}"
        text = f"{table.facts.file}, {table.spoken(column)}: {fact.missing:,} of" \
               f" {table.facts.rows:,} values missing, {many}"  # fmt: skip
        more = len(gone) + len(words) - 1
        facts_said = (f"so are values of {more} more of its columns",) if more else ()
        own: tuple[str, ...] = ()
        if words and not gone:
            names = ", ".join(f'"{n}"' for n in (*words[0].names[:6], "?"))
            own = (f"or it is a class of its own: class({names})",)
        remedy = "set missing = drop" if not gone else "set missing = mean, or set missing = drop"
        label = f"reads {table.spoken(column)}"
        b.fail("E515", text, f.span, label, (), CHOICES * bool(gone) + remedy, (*facts_said, *own))


def _named_gap(names: Sequence[str]) -> bool:
    """Whether what is missing is a class of its own."""
    return any(n.lower() in ("", "na", "n/a", "#n/a", "nan", "null", "?", "-") for n in names)
