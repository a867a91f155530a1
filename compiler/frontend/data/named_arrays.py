"""Arrays whose classes have names: folders of pictures, words that Python hands over.

`label: class = raw.label` has as many classes as there are names. The reader numbers them in the
order that is said, `label: class("no", "yes") = raw.label`, in that of the set which this one is
like, else in order of names.
"""

from __future__ import annotations

from collections.abc import Mapping

from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.static_values import domain_of
from dln.compiler.frontend.context.values import DataValue
from dln.compiler.frontend.data.raw_tables import Coded
from dln.compiler.ir.graph import Node
from dln.compiler.schema.headers import DataSource
from dln.grammar import syntax as s
from dln.grammar.record import bundle

Names = tuple[str, ...]
MANY = 12  # classes that a message names


@bundle()
class NamedArray:
    """An array of raw: its set and its key, the names that occur in it, those that it is given by
    another set; in which order they are `numbered` where a field reads it."""

    data: str
    key: str
    occur: Names
    given: Names = ()
    numbered: Names = ()


def remember(
    b: Build, data: str, raw: Mapping[str, Node], names: Mapping[str, Names],
    given: Mapping[str, Names],
) -> None:  # fmt: skip
    """Remember which arrays of a set have names."""
    for key, occur in names.items():
        b.data.tables[raw[key]] = NamedArray(data, key, occur, given.get(key, ()))


def inherited(b: Build, st: s.Data, scope: Scope) -> Mapping[str, Names]:
    """The names of the classes of the set that this one is like, by array of raw."""
    if st.like is None:
        return {}
    model = b.evaluate(s.Name(st.like, span=st.span), scope)
    return _order(b, model.name) if isinstance(model, DataValue) else {}


def numbered(b: Build, data: str, source: DataSource) -> DataSource:
    """Where a set comes from, with the order in which its names are numbered."""
    names = _order(b, data)
    return source.changed(options={**source.options, "names": names}) if names else source


def _order(b: Build, data: str) -> dict[str, Names]:
    """How the names of a set are numbered, by array."""
    arrays = (a for a in b.data.tables.values() if isinstance(a, NamedArray) and a.data == data)
    return {a.key: a.numbered for a in arrays if a.numbered}


def named_classes(b: Build, value: s.Expr, domain: s.Domain, scope: Scope) -> Coded | None:
    """The array that a field reads as classes, if its classes have names. Fails (E513) where
    something occurs in it that is no class, or another number of classes is said."""
    if not isinstance(value, s.Attr) or not isinstance(value.body, s.Name):
        return None
    node = b.evaluate(value, scope) if value.body.id == "raw" else None
    found = b.data.tables.get(node) if isinstance(node, Node) else None
    if not isinstance(found, NamedArray) or not isinstance(node, Node):
        return None
    names = tuple(w.value for w in domain.words) or found.given or found.occur
    strange = [name for name in found.occur if name not in names]
    if strange:
        text = f'{value.span.text} has "{strange[0]}", which is none of the classes'
        b.fail("E513", text, value.span, "", facts=(f"they are {listed(names)}",))
    if domain.size is not None:
        said = domain_of(b, domain, scope)
        number = b.number(said.size) if said and said.size else None
        if number != len(names):
            text = f"{value.span.text} has {len(names)} classes, not {number}"
            facts = (f"they are {listed(names)}",)
            b.fail("E513", text, domain.span, f"class({number})", (), "class", facts)
    found.numbered = names
    return Coded(found.key, -1, names, node, value.span)


def listed(names: Names) -> str:
    return ", ".join(names[:MANY]) + ", ..." * (len(names) > MANY)
