"""What is known of a table while the fields of its data set are built."""

from __future__ import annotations

from collections.abc import Mapping

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import Domain
from dln.compiler.model import FieldOf
from dln.compiler.schema.headers import ColumnFacts, DataSource, TableFacts
from dln.grammar.diagnostics import Span
from dln.grammar.record import bundle, field


@bundle(frozen=True)
class Coded:
    """A column that is read as classes: under which `key` of raw, by which `names`. `column` counts
    from 0; `node` is the input, of whole numbers."""

    key: str
    column: int
    names: tuple[str, ...]
    node: Node
    span: Span

    @property
    def domain(self) -> Domain:
        """As many classes as there are names."""
        return Domain("class", Size(len(self.names)))


def table_of(b: Build, raw: object) -> RawTable | None:
    """The table whose cells a value is, all of them; None where it is another one."""
    found = b.data.tables.get(raw) if isinstance(raw, Node) else None
    return found if isinstance(found, RawTable) else None


@bundle()
class RawTable:
    """A table: what its file is recognised as, its columns as they are looked at, and those that
    are read as classes; where in the spec a class is a column as it stands (`direct`). `given` are
    names of classes that the set has which this one is like, its `model`, and `means` what is put
    in the place of what is missing, by the name or the number of a column; `fields` are those that
    were made of it."""

    key: str
    source: DataSource
    facts: TableFacts
    span: Span
    looked: dict[int, ColumnFacts] = field(default_factory=dict)
    coded: list[Coded] = field(default_factory=list)
    direct: list[tuple[Span, int]] = field(default_factory=list)
    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    means: Mapping[str, float] | None = None
    model: RawTable | None = None
    fields: Mapping[str, FieldOf] = field(default_factory=dict)
    likely: tuple[int, ...] = ()

    @property
    def inputs(self) -> dict[str, Node]:
        """What the reader gives beside the numbers: the classes of columns."""
        return {c.key: c.node for c in self.coded}

    def called(self, column: int) -> str:
        """The name of a column, or its number where it has none of its own."""
        names = self.facts.names or ()
        name = names[column] if column < len(names) else ""
        return name if name and names.count(name) == 1 else str(column)

    def spoken(self, column: int) -> str:
        """As a message says it: `column 3, "petal width"`."""
        name = self.called(column)
        return f"column {column + 1}" + f' ("{name}")' * (name != str(column))

    def written(self, column: int) -> str:
        """As a spec says it: `raw.species`, `raw["petal width"]`, `raw[2]`."""
        name = self.called(column)
        if name == str(column):
            return f"raw[{column}]"
        return f"raw.{name}" if name.isidentifier() and name.isascii() else f'raw["{name}"]'
