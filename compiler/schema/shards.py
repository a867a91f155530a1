"""What goes between the programs of a step in shards: parts of sums, rows for later rounds, what is
known of the whole minibatch; and what a shard is told of its place."""

from __future__ import annotations

from dln.compiler.schema.keys import Key

FIRST, ROWS = "first", "rows"
"""Clocks of a shard: the number of its first row, and of all rows of the minibatch."""

PARTS = ("added", "largest", "smallest")
"""How parts of a sum or an extreme become one, in the order in which they lie in memory."""


class SharedValue(Key):
    """A part of a sum, by how it becomes one with others; `rows` for a later round; what is `known`
    of the whole.

    >>> SharedValue.parse("added:3"), SharedValue.parse("loss")
    ('added:3', None)
    """

    form = "{kind}:{number}"
    kind: str
    number: int

    @staticmethod
    def parse(text: str) -> SharedValue | None:
        """The key that a text is; None for any other."""
        kind, _, number = text.partition(":")
        if kind not in (*PARTS, "rows", "known") or not number.isdecimal():
            return None
        return SharedValue(kind, int(number))
