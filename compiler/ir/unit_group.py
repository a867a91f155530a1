"""The units of an energy."""

from __future__ import annotations

from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import Domain
from dln.grammar.diagnostics import Span
from dln.grammar.record import Record


class UnitGroup(Record, eq=False):
    """Units of one kind: a port (visible) or `hidden`. `text` is how it is declared."""

    name: str
    sizes: tuple[Size, ...]
    domain: Domain
    hidden: bool
    text: str
    span: Span

    @property
    def classes(self) -> Size | None:
        """The number of values of a class, None for other units."""
        return self.domain.size if self.domain.name == "class" else None
