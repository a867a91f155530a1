"""The columns of a table by name, and those that hold classes.

`raw.petal_width` is `raw[3]` where the header says so. A field that is declared as a class and
takes a column as it stands, `label: class = raw.species`, has the values of that column as its
classes: the reader gives them as whole numbers, under a name of their own in raw.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NoReturn

from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.static_values import domain_of, static
from dln.compiler.frontend.data.named_arrays import named_classes
from dln.compiler.frontend.data.raw_tables import Coded, RawTable, table_of
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import BATCH_SIZE
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.schema.headers import ColumnFacts, DataSource, Schema
from dln.compiler.schema.keys import RawInput
from dln.grammar import syntax as s
from dln.grammar.diagnostics import CHOICES, Fault, Span, nearest

LISTED = 40  # columns that a message names
MANY = 12  # classes that it names


# ---- by name -----------------------------------------------------------------------------------


def named(b: Build, table: RawTable, name: str, span: Span) -> int:
    """The number of a column that is asked for by name: as the header has it, or with blanks and
    marks as `_`; in other letters, small for large, where that is one column alone."""
    names, file = table.facts.names, table.facts.file
    if names is None:
        text = f"{file} has no header, so that its columns have no names"
        remedy = f"raw[0] to raw[{table.facts.width - 1}], or set header = yes"
        b.fail("E512", text, span, "", remedy=CHOICES + remedy)
    for alike in (str, plain, lambda n: plain(n).casefold()):
        found = [i for i, known in enumerate(names) if alike(known) == alike(name)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(f"raw[{i}]" for i in found)
            text = f"{file} has {len(found)} columns called {name}"
            b.fail("E512", text, span, "may be either", remedy=CHOICES + listed)
    return _no_column(b, table, name, span, [n for n in names if n])


def plain(name: str) -> str:
    """A name of a header as it is written behind a dot.

    >>> plain("sepal length (cm)")
    'sepal_length_cm'
    """
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")


def _no_column(b: Build, table: RawTable, name: str, span: Span, names: list[str]) -> NoReturn:
    known = {plain(n): n for n in names}
    near = nearest(plain(name), known) or ""
    some = [n for n in names if plain(name).casefold() in plain(n).casefold()]
    some = some or [n for n in names if len(n) > 2 and n.casefold() in name.casefold()]
    meant = [known[near]] if near else some[:3]
    remedy = ", ".join(table.written(names_at(table, n)) for n in meant)
    shown = ", ".join(names[:LISTED]) + ", ..." * (len(names) > LISTED)
    remedy = CHOICES * (len(meant) > 1) + remedy
    text = f"{table.facts.file} has no column {name}"
    b.fail("E512", text, span, "unknown", (), remedy, (f"its columns are {shown}",))


def names_at(table: RawTable, name: str) -> int:
    return (table.facts.names or ()).index(name)


def by_number(b: Build, table: RawTable, expr: s.Index) -> s.Index:
    """`raw["petal width"]` with the number of the column in place of its name."""
    found = tuple(
        s.Number(named(b, table, i.value, i.span), span=i.span) if isinstance(i, s.String) else i
        for i in expr.indices
    )
    return s.Index(expr.body, found, span=expr.span)


# ---- classes -----------------------------------------------------------------------------------


def as_classes(b: Build, value: s.Expr, domain: s.Domain | None, scope: Scope) -> Coded | None:
    """The column of a table that `label: class = raw.species` reads as classes. None where numbers
    are made classes, as everywhere: of a column of numbers, of which the spec says how many classes
    there are."""
    if domain is None or domain.name != "class":
        return None
    while isinstance(value, s.Group):
        value = value.body
    found = _column(b, value, scope)
    if found is None:
        return named_classes(b, value, domain, scope)
    table, column = found
    table.direct.append((value.span, column))
    facts = looked(b, table, [column])[column]
    if not domain.words and domain.size is not None and facts.kind not in ("word", "truth"):
        return None  # numbers, perhaps with a word among them that is no number
    names = _names(b, table, column, facts, domain, value.span)
    if domain.size is not None:
        size = domain_of(b, domain, scope)
        _counted(b, table, column, names, domain, b.number(size.size) if size else None)
    for known in table.coded:
        if (known.column, known.names) == (column, names):
            return known
    key = f"column{column}" + f"_{len(table.coded)}" * any(c.column == column for c in table.coded)
    type = TensorType((BATCH_SIZE,), ("batch",), "index")
    node = b.at(value.span)("input", name=RawInput(table.key, key), type=type)
    node = b.mark(node, value.span, table.written(column))
    made = Coded(key, column, names, node, value.span)
    table.coded.append(made)
    return made


def class_of(b: Build, coded: Coded, span: Span) -> Node:
    """The classes of a column, as such."""
    return b.at(span)("asserted", coded.node, domain=coded.domain)


def _column(b: Build, value: s.Expr, scope: Scope) -> tuple[RawTable, int] | None:
    """The table and the column that an expression stands for, if it is one as it stands."""
    if not isinstance(value, s.Attr | s.Index) or not isinstance(value.body, s.Name):
        return None
    raw = b.evaluate(value.body, scope) if value.body.id == "raw" else None
    table = table_of(b, raw)
    if table is None:
        return None
    if isinstance(value, s.Attr):
        return table, named(b, table, value.name, value.name_span)
    if len(value.indices) != 1 or isinstance(value.indices[0], s.Slice):
        return None
    at = static(b, value.indices[0], scope, "the number of a column")
    if isinstance(at, str):
        return table, named(b, table, at, value.indices[0].span)
    fine = isinstance(at, int) and not isinstance(at, bool) and 0 <= at < table.facts.width
    return (table, at) if fine and isinstance(at, int) else None


def asked(b: Build, table: RawTable, source: DataSource, span: Span | None = None) -> Schema:
    """What the reader says of a table. Its faults stand where the file is named, or elsewhere."""
    try:
        return b.outside.probe(source)
    except Fault as fault:
        raise fault.at(span or table.span) from None


def looked(b: Build, table: RawTable, columns: Iterable[int]) -> dict[int, ColumnFacts]:
    """What columns hold."""
    wanted = [k for k in columns if k not in table.looked]
    if wanted:
        options = {**table.source.options, "look": tuple(wanted)}
        source = table.source.changed(options=options, columns=table.likely)
        found = asked(b, table, source).table
        assert found is not None
        table.facts = found.changed(columns={}, means={})
        table.looked |= found.columns
    return {k: table.looked[k] for k in columns}


def _names(
    b: Build, table: RawTable, column: int, facts: ColumnFacts, domain: s.Domain, span: Span
) -> tuple[str, ...]:
    """The names of the classes: those that are said, those of the set that this one is like, those
    of the file. Words that are none of them are refused here, as far as they are known."""
    said = tuple(w.value for w in domain.words)
    inherited = table.given.get(table.called(column), ())
    names = said or inherited or facts.words
    where = f"{table.facts.file}, {table.spoken(column)}"
    _misspelt_class(b, domain, facts, where)
    if not names:
        many = f"{facts.distinct:,} different values or more" if facts.distinct else "no values"
        b.fail("E513", f"{where} holds {many}, too many for classes" if facts.distinct
               else f"{where} holds no values", span)  # fmt: skip
    if not said and not inherited and facts.kind == "number" and not facts.whole:
        text = f"{where} holds numbers with decimals, {facts.least:g} to {facts.most:g}"
        fact = "a class is a word or a whole number; numbers with decimals are declared without one"
        b.fail("E513", text, span, "is no class", facts=(fact,))
    return names


def _misspelt_class(b: Build, domain: s.Domain, facts: ColumnFacts, where: str) -> None:
    """A class that is said and stands nowhere in the file, a slip away from a word that does."""
    said = [w.value for w in domain.words]
    idle = [w for w in domain.words if facts.words and w.value not in facts.words]
    for word in facts.words if idle else ():
        at = next((w.span for w in idle if nearest(word, [w.value])), None)
        if word not in said and at is not None:
            text = f"no value of {where} is {at.text}"
            b.fail("E513", text, at, "stands nowhere in the file", remedy=f'"{word}"')


def _counted(
    b: Build, table: RawTable, column: int, names: tuple[str, ...], domain: s.Domain,
    said: int | None,
) -> None:  # fmt: skip
    """There are as many classes as are said."""
    if said is not None and said != len(names):
        listed = ", ".join(names[:MANY]) + ", ..." * (len(names) > MANY)
        where = f"{table.facts.file}, {table.spoken(column)}"
        text = f"{where} holds {len(names)} classes, not {said}"
        fact = f"they are {listed}"
        b.fail("E513", text, domain.span, f"class({said})", (), "class", (fact,))


# ---- what is read ------------------------------------------------------------------------------


def likely(table: RawTable, statements: Iterable[s.Syntax]) -> tuple[int, ...]:
    """The columns that statements seem to read: a file is gone through once where this is right."""
    found: set[int] = set()
    for part in statements:
        for use in _uses(part):
            found |= _meant(table, use)
    return tuple(sorted(found))


def _uses(part: s.Syntax) -> Iterator[s.Syntax]:
    """Where `raw` stands in a piece of syntax, with what is taken of it."""
    if isinstance(part, s.Attr | s.Index) and isinstance(part.body, s.Name):
        if part.body.id == "raw":
            yield part
            return
    if isinstance(part, s.Name) and part.id == "raw":
        yield part
    for inner in part.children():
        yield from _uses(inner)


def _meant(table: RawTable, use: s.Syntax) -> set[int]:
    names, width = table.facts.names or (), table.facts.width
    first = use.indices[0] if isinstance(use, s.Index) and use.indices else None
    if isinstance(use, s.Attr):
        return {i for i, n in enumerate(names) if plain(n).casefold() == plain(use.name).casefold()}
    if isinstance(first, s.String):
        return {i for i, n in enumerate(names) if n == first.value}
    if isinstance(first, s.Number) and isinstance(first.value, int):
        return {first.value} & set(range(width))
    if isinstance(first, s.Slice):
        ends = [e.value if isinstance(e, s.Number) else e for e in (first.start, first.stop)]
        if all(e is None or isinstance(e, int) for e in ends):
            low, high = (e if isinstance(e, int) else None for e in ends)
            return set(range(width)[low:high])
    return set(range(width))
