"""A hash of what decides the numbers of a run: what a run that goes on must have in common with it.

How long phases last is left out, for a run may go on for longer; so are tasks, checks, comments and
the layout of the text, which no update depends on. Constants count where they stand in the graph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.ops.loop import Body
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.model import DataSet, Model
from dln.compiler.schema.keys import Key
from dln.grammar.diagnostics import Span
from dln.grammar.record import Record

LEFT_OUT = frozenset({"span", "duration", "slow", "base", "override", "source", "fields", "columns",
                      "names", "counted", "ports"})  # fmt: skip
"""Parts of records that decide no number: places, folders, lengths."""
LATER = frozenset({"turns", "rounds", "handed", "heard", "weighed", "loads",
                   "measured", "division", "split", "asked", "shards"})  # fmt: skip
"""Parts of records that came later: what does without them has the hash that it had."""
PLAIN = frozenset({str, int, float, bool, type(None), Size})


def fingerprint(model: Model) -> str:
    """The hash of a model."""
    found = Digests()
    fields = {
        name: {f.name: (f.value, f.drawn, f.node.type) for f in data.fields.values()}
        for name, data in model.data.items()
    }
    params = {path: p for path, p in model.params.items() if not p.checks}
    data = {name: _divided(d) for name, d in model.data.items()}
    said = found.text((params, data, fields, tuple(model.phases.values())))
    return hashlib.sha256(said.encode()).hexdigest()


def _divided(data: DataSet) -> DataSet:
    """A set whose parts, where all are stretches of the file, are what they always were: begin and
    number of examples."""
    if not data.division.placed:
        return data
    parts = {name: data.stretch(name) or part for name, part in data.parts.items()}
    return data.changed(parts=parts, division=None, asked=())


class Digests:
    """Values as texts, equal for equal contents; each node's is a digest, worked out once."""

    def __init__(self) -> None:
        self.known: dict[Node, str] = {}
        self.types: dict[TensorType, str] = {}

    def text(self, value: Any) -> str:
        """A value as a text."""
        if type(value) in PLAIN:
            return repr(value)
        if isinstance(value, tuple | list):
            return f"({','.join(map(self.text, value))})"
        if isinstance(value, Node):
            return self._node(value)
        if isinstance(value, TensorType):
            return self._type(value)
        if isinstance(value, Key):
            return repr(value)
        if isinstance(value, Record):
            parts = {k: getattr(value, k) for k in value._fields if k not in LEFT_OUT}
            parts = {k: v for k, v in parts.items() if v or k not in LATER}
            said = {k: v for k, v in parts.items() if not isinstance(v, Span)}
            return type(value).__name__ + self.text(said)
        if isinstance(value, Mapping):
            return f"{{{','.join(f'{k}:{self.text(value[k])}' for k in sorted(value, key=str))}}}"
        if isinstance(value, Body):
            ends = (value.rows, value.fixed, value.carried, value.nexts)
            return self.text((*ends, value.length, value.reverse))
        return repr(value.tolist()) if hasattr(value, "tolist") else repr(value)

    def _type(self, type: TensorType) -> str:
        if type not in self.types:
            self.types[type] = f"{type.kind}{type}"
        return self.types[type]

    def _node(self, node: Node) -> str:
        """Operands before users, so that no depth is too much."""
        if node not in self.known:
            for n in ancestors([node], lambda n: () if n in self.known else n.operands):
                if n not in self.known:
                    operands = ",".join(self.known[o] for o in n.operands)
                    said = f"{n.op}({operands};{self.text(n.attrs)}){self._type(n.type)}"
                    self.known[n] = hashlib.blake2b(said.encode(), digest_size=16).hexdigest()
        return self.known[node]
