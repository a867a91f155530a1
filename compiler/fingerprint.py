"""A hash of what decides the numbers of a run: what a run that goes on must have in common with it.

How long phases last is left out, for a run may go on for longer; so are tasks, checks, comments and
the layout of the text, which no update depends on. Constants count where they stand in the graph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from dln.compiler.graph import Node, ancestors
from dln.compiler.model import Model
from dln.compiler.ops.loop import Body
from dln.grammar.diagnostics import Span
from dln.grammar.record import Record

LEFT_OUT = frozenset({"span", "duration", "slow", "base", "override", "source", "fields"})
"""Parts of records that decide no number: places, folders, lengths."""


def fingerprint(model: Model) -> str:
    """The hash of a model."""
    found = Digests()
    fields = {
        name: {f.name: (f.value, f.drawn, str(f.node.type)) for f in data.fields.values()}
        for name, data in model.data.items()
    }
    params = {path: p for path, p in model.params.items() if not p.checks}
    return found.of((params, dict(model.data), fields, tuple(model.phases.values()))).hex()


class Digests:
    """The digests of values, each node's worked out once."""

    def __init__(self) -> None:
        self.known: dict[Node, bytes] = {}

    def of(self, value: Any) -> bytes:
        """The digest of a value: equal for equal contents, whatever they are kept in."""
        if isinstance(value, Node):
            return self._node(value)
        h = hashlib.blake2b(digest_size=16)
        for part in self._parts(value):
            h.update(len(part).to_bytes(4, "little") + part)
        return h.digest()

    def _parts(self, value: Any) -> Iterator[bytes]:
        if isinstance(value, Record):
            yield type(value).__name__.encode()
            for name in value._fields:
                if name not in LEFT_OUT and not isinstance(getattr(value, name), Span):
                    yield name.encode()
                    yield self.of(getattr(value, name))
        elif isinstance(value, Mapping):
            for key in sorted(value, key=str):
                yield str(key).encode()
                yield self.of(value[key])
        elif isinstance(value, tuple | list):
            yield b"list"
            yield from map(self.of, value)
        elif isinstance(value, Body):
            ends = (value.rows, value.fixed, value.carried, value.nexts)
            yield from map(self.of, (*ends, str(value.length), value.reverse))
        elif hasattr(value, "tolist"):
            yield repr(value.tolist()).encode()
        else:
            yield repr(value).encode()

    def _node(self, node: Node) -> bytes:
        """Operands before users, so that no depth is too much."""
        if node not in self.known:
            for n in ancestors([node]):
                if n not in self.known:
                    operands = tuple(self.known[o] for o in n.operands)
                    self.known[n] = self.of((n.op, operands, n.attrs, str(n.type)))
        return self.known[node]
