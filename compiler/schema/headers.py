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
}
"""The readers, each with what `set` may say about its sets, and the defaults."""


class Stretch(Record):
    """Some of the `count` examples of a set: from number `start` on, up to before `stop`."""

    start: int
    stop: int
    count: int


class DataSource(Record):
    """Where the data of a set come from, as the spec declares it: a reader and what it is given.

    `args` are as written (file names, numbers, nested lists), `base` is the folder of the spec,
    `override` the PATH of `--data NAME=PATH`: a file, or a folder where the files are looked for.
    """

    reader: str
    args: tuple[object, ...]
    options: Mapping[str, object]
    base: str
    override: str | None = None


class WantedField(Record):
    """A field that a set wants to be handed: its shape for one example, kind and domain, how many
    `classes` go with class or steps with the lengths of sequences (domain `length`). `timed` is
    what runs over time, `ends` the field that says where each sequence of it ends."""

    name: str
    shape: tuple[int, ...]
    kind: Literal["real", "index"]
    domain: str = "real"
    classes: int | None = None
    timed: bool = False
    ends: str = ""


class HeaderField(Record):
    """One field of one example: its shape, and whether it is a quantity or a class index."""

    shape: tuple[int, ...]
    kind: Literal["real", "index"]


class Oddity(Record):
    """What stands in a column of a table in place of finite numbers: first `where` (file and line),
    in which example, as `text`, which may be a number without end (`value`); and all of it."""

    where: str
    example: int
    text: str
    value: float | None
    words: list[str]


@dataclass(frozen=True)
class Schema:
    """What a set holds. The nameless `raw` of rows, table and text has the key "".

    `alphabet` is that of a text: index i stands for character i. `odd` are the columns of a table
    that do not hold numbers alone. Of a set that is still to be handed its examples `count` is made
    up: it is not `counted`.
    """

    fields: dict[str, HeaderField]
    count: int
    classes: int | None = None
    alphabet: str | None = None
    odd: Mapping[int, Oddity] = field(default_factory=dict, repr=False)
    counted: bool = field(default=True, repr=False)
