"""What a stream carries from window to window: the values that its scans end with.

Each is a state of the phase, in the shape for as many rows as are read side by side. It begins as
zeros, at the first window and again whenever the rows start anew. No gradient runs through it, so
back-propagation is cut at the window's beginning.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import BATCH, Size
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.diagnostics import Span


@dataclass(eq=False)
class Carry:
    """The states of one stream of `rows` rows, by path: before a window and after it."""

    site: str
    rows: int
    before: dict[str, Node] = field(default_factory=dict)
    after: dict[str, Node] = field(default_factory=dict)

    def begin(self, b: Build, key: str, type: TensorType, span: Span) -> Node:
        """What is carried into the window, as a value of the phase's batch."""
        path = f"{self.site}.carried:{key}"
        held = TensorType(tuple(self.fixed(s) for s in type.shape), (), type.kind, type.domain)
        if path not in self.before:
            node = b.at(span)("state", path=path, type=held, asked=True)  # by watches too
            self.before[path] = b.mark(node, span, path)
        make = b.at(span)
        return make("reshape", self.before[path], shape=type.shape, running=type.running)

    def end(self, b: Build, key: str, node: Node) -> None:
        """What is carried out of it. The first loop over the window says it; later ones, after
        the parameters have moved, do not count."""
        path = f"{self.site}.carried:{key}"
        if path in self.before and path not in self.after:
            shape = self.before[path].type.shape
            self.after[path] = b.make("reshape", node, shape=shape, running=())

    def fixed(self, size: Size) -> Size:
        """A size with the number of rows for that of the examples."""
        grows = dict(size.terms)
        times = grows.pop(BATCH, 0)
        return Size(size.constant + times * self.rows, tuple(grows.items()))

    def first(self, b: Build) -> dict[str, Node]:
        """Zeros, as each state begins."""
        return {path: b.make.zeros(self.before[path].type) for path in self.after}

    def shapes(self) -> dict[str, tuple[Size, ...]]:
        return {path: self.before[path].type.shape for path in self.after}
