"""`split`: how the examples of a data set are divided, and what is made of the parts.

    split fit 0.8, valid 0.2 shuffled seed 1 by label
    split test 0.1, fold[5]
    split fit 0.8, valid 0.2 apart subject

A part is a number of examples or a share of all of them; folds are equal pieces of what the other
parts leave, the first of them longer by one where it does not come out. Parts are put together by
`d.fit + d.valid`, and one is left out by `d - d.fold[k]`: such a part is entered among those of its
set under a name of its own, `all-fold[2]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.static_values import static, unknown, whole, word
from dln.compiler.frontend.context.values import DataValue, shown
from dln.compiler.model import DataSet, FieldOf
from dln.compiler.schema.records import (
    AskedPart,
    Division,
    GroupedDivision,
    On,
    Portion,
    piece_sizes,
)
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span

Parts = dict[str, Portion]
MOST_FOLDS = 10_000


def asked(b: Build, splits: Sequence[s.Split], scope: Scope) -> tuple[AskedPart, ...]:
    """The parts as they are asked for, in the order in which they stand."""
    found: list[AskedPart] = []
    for part in (part for st in splits for part in st.parts):
        if part.name == "all" or any(p.name == part.name for p in found):
            b.fail("E334", f"the part {part.name} stands twice", part.span, "again")
        found.append(_asked(b, part, scope))
    return tuple(found)


def _asked(b: Build, part: s.Part, scope: Scope) -> AskedPart:
    if part.folds is not None:
        many = whole(b, part.folds, scope, "the number of folds")
        if many > MOST_FOLDS:
            text, fact = "so many folds are too many", f"{MOST_FOLDS:,} are the most"
            b.fail("E424", text, part.folds.span, f"is {many:,}", facts=(fact,))
        if many < 2:
            text = f"{part.name}[{many}] is no division: there are at least 2 folds"
            b.fail("E424", text, part.folds.span, f"is {many}", remedy="5")
        return AskedPart(part.name, folds=many)
    assert part.size is not None
    if isinstance(part.size, s.Index):
        text = "a part is a number of examples, or a fraction below 1"
        facts = ("stretches follow in the order of the file: split fit 20, valid 10",)
        b.fail("E351", text, part.size.span, "is a stretch", facts=facts)
    size = static(b, part.size, scope, "the size of a part")
    if not isinstance(size, int | float) or size <= 0 or (size > 1 and size % 1):
        text = "a part is a number of examples, or a fraction below 1"
        label = f"is {shown(size)}"
        fact = "as in split fit 0.8, valid 0.2, or split fit 100, valid 20"
        b.fail("E351", text, part.size.span, label, facts=(fact,))
    return AskedPart(part.name, size)


def divided(
    b: Build, splits: Sequence[s.Split], asked: Sequence[AskedPart], scope: Scope, count: int,
    fields: Mapping[str, FieldOf],
) -> tuple[Parts, Division]:  # fmt: skip
    """The parts that some lines of `split` make of `count` examples, and how they are divided."""
    sizes, lines = piece_sizes(asked, count), [part for st in splits for part in st.parts]
    parts: Parts = {"all": Portion(count, tuple(range(len(sizes))))}
    taken, first = 0, 0
    for part, line in zip(asked, lines, strict=True):
        mine = range(first, first + (part.folds or 1))
        first = mine.stop
        if part.folds:
            _room_for_folds(b, asked, part, line, sum(sizes[k] for k in mine))
            parts |= {f"{part.name}[{i}]": Portion(sizes[k], (k,)) for i, k in enumerate(mine)}
        else:
            taken += sizes[mine.start]
            _room(b, line, taken, sizes[mine.start], count, splits)
            parts[part.name] = Portion(sizes[mine.start], (mine.start,))
    return parts, _dealt(b, splits, scope, fields).sized(sizes)


def grouped(b: Build, splits: Sequence[s.Split], parts: Parts, sizes: Sequence[int]) -> Parts:
    """The parts with the sizes that groups make which stay together. Refuses an empty one."""
    made = {name: Portion(sum(sizes[k] for k in part.pieces), part.pieces)
            for name, part in parts.items()}  # fmt: skip
    empty = next((name for name, part in made.items() if not part.count), None)
    if empty is not None:
        lines = [part for st in splits for part in st.parts]
        line = next(part for part in lines if part.name == empty.partition("[")[0])
        text = f"the part {empty} is empty: too few groups stay together"
        b.fail("E351", text, line.span, "gets none of them")
    return made


def _room(
    b: Build, line: s.Part, taken: int, size: int, count: int, splits: Sequence[s.Split]
) -> None:
    """Refuse a part with which more examples are `taken` than there are, or that has none."""
    assert line.size is not None
    at = line.size.span
    if taken > count:
        st = next(st for st in splits if line in st.parts)
        text = f"the parts ask for {taken} examples of {count}"
        notes = (Note(st.span, "the split"),) if st.span != at else ()
        left = count - taken + size
        as_many = f"{line.name} {left}, or shares of all: " if left > 0 else "shares fit all: "
        facts = (f"{as_many}split {_shares(st)}",)
        b.fail("E352", text, at, f"only {left} are left", notes, "", facts)
    if size == 0:
        label = f"is less than one of {count} examples"
        b.fail("E351", f"the part {line.name} is empty", at, label)


def _shares(st: s.Split) -> str:
    """The parts of a split as shares of all there is."""
    names = [part.name for part in st.parts]
    return ", ".join(f"{name} {0.7 if i == 0 else round(0.3 / (len(names) - 1), 2):g}"
                     for i, name in enumerate(names))  # fmt: skip


def _room_for_folds(
    b: Build, asked: Sequence[AskedPart], part: AskedPart, line: s.Part, left: int
) -> None:
    """Refuse folds after others, and more folds than examples are left."""
    first = next(p for p in asked if p.folds)
    if first is not part:
        text = f"{first.name}[{first.folds}] are folds of all that the other parts leave"
        b.fail("E424", text, line.span, "leaves none for these")
    if part.folds > left:
        text = f"{part.folds} folds of {max(0, left)} examples: some would be empty"
        assert line.folds is not None
        b.fail("E351", text, line.folds.span, f"{max(0, left)} examples are left")


# ---- which -------------------------------------------------------------------------------------


def _dealt(
    b: Build, splits: Sequence[s.Split], scope: Scope, fields: Mapping[str, FieldOf]
) -> Division:
    """What the clauses say: `shuffled`, `seed 1`, `by label`, `apart subject`. They are of all
    parts."""
    said: dict[str, s.Clause] = {}
    for c in (c for st in splits for c in st.clauses):
        if c.kind in said:
            b.refuse_again(f"{c.kind} stands twice", c.span, said[c.kind].span)
        said[c.kind] = c
    seed, by = said.get("seed"), said.get("by")
    if seed is not None and "shuffled" not in said:
        text = "the seed says how examples are shuffled, and these are not"
        b.fail("E424", text, seed.span, "says nothing", remedy=f"shuffled {seed.span.text}")
    number = 0
    if seed is not None and seed.value is not None:
        number = whole(b, seed.value, scope, "a seed")
    apart = said.get("apart")
    for clause in (by, apart):
        if clause is not None and clause.word is not None:
            _class_of(b, clause, clause.word, fields)
    shuffled, name = "shuffled" in said, (by and by.word) or ""
    if apart is None or apart.word is None:
        return Division((), shuffled, number, name)
    if name == apart.word:
        text = f"each {name} is either dealt out over the parts or stays in one"
        b.fail("E424", text, apart.span, "is divided by as well")
    return GroupedDivision(sizes=(), shuffled=shuffled, seed=number, by=name, apart=apart.word)


def _class_of(b: Build, clause: s.Clause, name: str, fields: Mapping[str, FieldOf]) -> None:
    """Refuse to divide by anything but a field that is one class for each example."""
    at = word(clause.span, name)
    classes = [k for k, f in fields.items() if _is_class(f)]
    if name not in fields:
        unknown(b, "field", name, at, classes)
    if name not in classes:
        text = f"examples are divided by a class, one for each: {name} is none"
        field = fields[name]
        label = "is drawn anew at each visit" if field.drawn else f"is {b.shown(field.node.type)}"
        b.fail("E425", text, at, label, remedy=classes[0] if classes else "")


def _is_class(field: FieldOf) -> bool:
    type = field.node.type
    return (
        type.domain.name == "class"
        and type.running == ("batch",)
        and not (type.example or field.drawn)
    )


# ---- parts of parts ----------------------------------------------------------------------------


def part_of(data: DataSet, name: str) -> Value:
    """A part by its name, or all folds of one name, as a list; None where there is none."""
    if name in data.parts:
        return DataValue(data.name, name)
    folds = [key for key in data.parts if key.startswith(f"{name}[")]
    return [DataValue(data.name, key) for key in folds] or None


def known(data: DataSet) -> list[str]:
    """The names of the parts that are written, folds by their common name."""
    names = (key.partition("[")[0] for key in data.parts if not set("+-") & set(key))
    return list(dict.fromkeys(names))


def joined(b: Build, op: str, left: DataValue, right: DataValue, expr: s.Binary) -> DataValue:
    """`d.fit + d.valid`, `d - d.fold[k]`: the examples of both, or of the first without those of
    the second."""
    if left.name != right.name:
        text = "parts are put together of one data set"
        note = Note(expr.left.span, f"is of {left.name}")
        fact = 'several files with the same columns are one set: table(["a.csv", "b.csv"])'
        b.fail("E426", text, expr.right.span, f"is of {right.name}", (note,), facts=(fact,))
    data = b.data.sets[left.name]
    names = [value.part or "all" for value in (left, right)]
    mine, others = (set(data.parts[name].pieces) for name in names)
    pieces = tuple(sorted(mine | others if op == "+" else mine - others))
    if op == "-" and not mine & others:
        text = f"{names[1]} is no part of {names[0]}: nothing is left out"
        b.fail("E426", text, expr.right.span, "shares no example with it")
    if not pieces:
        b.fail("E426", "nothing is left", expr.span, "has no examples")
    for name, part in data.parts.items():
        if part.pieces == pieces:
            return DataValue(data.name, name)
    name = f"{names[0]}{op}{names[1]}"
    made = Portion(sum(data.division.sizes[k] for k in pieces), pieces)
    b.data.sets[data.name] = data.changed(parts={**data.parts, name: made})
    return DataValue(data.name, name)


def of_one_stretch(b: Build, on: On, span: Span) -> None:
    """Refuse a stream over a part whose windows do not lie one after the other."""
    data = b.data.sets[on.data]
    if data.stretch(on.part) is None:
        text = "a stream reads windows one after the other"
        why = "is shuffled" if data.division.shuffled else "is not one stretch of the file"
        b.fail("E427", text, span, why, remedy="batch, in place of stream")
