"""Data sets as a spec declares them, and what the headers of their files say.

The compiler asks, by a function that it is given; a reader answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dln.grammar.record import Record

SETTINGS: Mapping[str, Mapping[str, int]] = {
    "idx": {},
    "npz": {},
    "table": {},
    "rows": {},
    "text": {"window": 50},
    "synthetic": {},
    "given": {},
    "images": {},
}
"""The readers, each with what `set` may say about its sets, and the defaults."""


MARKS = {"tab": "\t", "semicolon": ";", "bar": "|", "comma": ",", "blank": " "}
"""What may separate the cells of a table, by the words that say so; the surest first."""

WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "table": {
        "header": ("yes", "no"),
        "separator": tuple(MARKS),
        "decimal": ("point", "comma"),
        "missing": ("drop", "mean"),
    },
    "npz": {"mapped": ("yes", "no")},
    "given": {"mapped": ("yes", "no")},
}
"""What `set` may say in words about the sets of a reader, and the words; none is said where the
file tells it."""


class Stretch(Record):
    """Some of the `count` examples of a set: from number `start` on, up to before `stop`."""

    start: int
    stop: int
    count: int


class DataSource(Record):
    """Where the data of a set come from, as the spec declares it: a reader and what it is given.

    `args` are as written (file names, numbers, nested lists), `base` is the folder of the spec,
    `override` the PATH of `--data NAME=PATH`: a file, or a folder where the files are looked for.
    Of a table only some `columns` are read as numbers; None stands for all.
    """

    reader: str
    args: tuple[object, ...]
    options: Mapping[str, object]
    base: str
    override: str | None = None
    columns: tuple[int, ...] | None = None


class WantedField(Record):
    """A field that a set wants to be handed: its shape for one example, kind and domain, how many
    `classes` go with class or steps with the lengths of sequences (domain `length`). `timed` is
    what runs over time, `ends` the field that says where each sequence of it ends. Of classes that
    are `named` the number follows from their names."""

    name: str
    shape: tuple[int, ...]
    kind: Literal["real", "index"]
    domain: str = "real"
    classes: int | None = None
    timed: bool = False
    ends: str = ""
    named: bool = False


class HeaderField(Record):
    """One field of one example: its shape, and whether it is a quantity or a class index."""

    shape: tuple[int, ...]
    kind: Literal["real", "index"]


class Oddity(Record):
    """What stands in a column of a table in place of finite numbers: first `where` (file and line),
    in which example, as `text`, which may be a number without end (`value`)."""

    where: str
    example: int
    text: str
    value: float | None


class ColumnFacts(Record):
    """What a column of a table holds.

    `kind` is number, truth, date, percent, word, mixed (words and numbers) or nothing, where all is
    missing; `whole` whether its numbers are whole. `words` are its values as classes, in order,
    with their `counts`; none where they are too many, of which there are `distinct` ones. So many
    are `missing`, the first of them in the lines `gaps`. `odd` is what is no number.
    """

    kind: str
    whole: bool
    words: tuple[str, ...]
    counts: tuple[int, ...]
    distinct: int
    least: float
    most: float
    missing: int
    gaps: tuple[int, ...]
    odd: Oddity | None


class TableFacts(Record):
    """What a table holds: the `names` of its header, if it has one, how many columns and rows, what
    it was recognised as, in words; the `columns` that were looked at. `dropped` rows lack what is
    read; `means` are those of columns, `pieces` the sizes that a division has which leaves together
    what is equal in one of them. Its examples are counted in a `unit`, lines or rows."""

    file: str
    names: tuple[str, ...] | None
    width: int
    said: tuple[str, ...]
    rows: int = 0
    columns: Mapping[int, ColumnFacts] = {}
    dropped: int = 0
    means: Mapping[int, float] = {}
    unit: str = "line"
    pieces: tuple[int, ...] = ()


@dataclass(frozen=True)
class Schema:
    """What a set holds. The nameless `raw` of rows, table and text has the key "".

    `alphabet` is that of a text: index i stands for character i. `odd` are the columns of a table
    that do not hold numbers alone, `table` what is known of it. Of a set that is still to be handed
    its examples `count` is made up: it is not `counted`. `names` are what the classes of an array
    are called.
    """

    fields: dict[str, HeaderField]
    count: int
    classes: int | None = None
    alphabet: str | None = None
    odd: Mapping[int, Oddity] = field(default_factory=dict, repr=False)
    counted: bool = field(default=True, repr=False)
    table: TableFacts | None = field(default=None, repr=False, compare=False)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
