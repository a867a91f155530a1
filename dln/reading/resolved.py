"""A spec with every default written out, and its constants with the values in force.

The text can be run in place of the spec: it means the same. What a call leaves to the defaults of
a block or optimiser is added to it, and what a `train` leaves to the defaults of the language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dln.compiler.schema.headers import SETTINGS
from dln.compiler.schema.tables import BATCH, DTYPE, ORDER
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span
from dln.grammar.parser import parse_source
from dln.grammar.printer import to_text

if TYPE_CHECKING:
    from dln.spec import Spec

CLAUSES = ("batch", "stream", "order", "for", "dtype", "seed", "after")
Options = Mapping[str, tuple[s.Option, ...]]


def resolved(spec: Spec) -> str:
    """The spec in canonical layout, every default written out."""
    options = _options(spec)

    def one(node: Any) -> Any:
        match node:
            case s.Call():
                return _call(node, options)
            case s.Train():
                return _train(node)
            case s.Data():
                return _data(node)
            case s.Const():
                return _const(node, spec.constants)
            case _:
                return node

    return to_text(rebuilt(spec.syntax, one))


def rebuilt(node: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of a tree with `change` done at every node, the parts first."""
    if isinstance(node, tuple):
        return tuple(rebuilt(n, change) for n in node)
    if not isinstance(node, s.Syntax):
        return node
    parts = {k: getattr(node, k) for k in node._fields if k != "span"}
    new = {k: rebuilt(v, change) for k, v in parts.items()}
    changed = any(new[k] is not v for k, v in parts.items())
    return change(node.changed(**new) if changed else node)


# ---- constants ---------------------------------------------------------------------------------


def _const(item: s.Const, values: Mapping[str, object]) -> s.Const:
    """A constant with the value that it has now."""
    value = values.get(item.name)
    expr = written(value, item.value.span)
    if expr is None or read_back(item.value) == value:
        return item
    return item.changed(value=expr)


def written(value: object, span: Span) -> s.Expr | None:
    """A constant's value as an expression; None for what no expression stands for."""
    if isinstance(value, bool):
        return s.Name(str(value).lower(), span=span)
    if isinstance(value, int | float):
        number = s.Number(abs(value), span=span)
        return s.Unary("-", number, span=span) if value < 0 else number
    if isinstance(value, str):
        return s.String(value, '"' in value or "\n" in value, span=span)
    if isinstance(value, list | tuple):
        items = [written(v, span) for v in value]
        known = tuple(i for i in items if i is not None)
        return s.ListOf(known, span=span) if len(known) == len(items) else None
    return None


def read_back(expr: s.Expr) -> object:
    """The value of an expression that is a plain number, text or list; else None."""
    match expr:
        case s.Number(value) | s.String(value):
            return value
        case s.Unary("-", s.Number(value)):
            return -value
        case s.ListOf(items):
            return [read_back(i) for i in items]
        case _:
            return None


# ---- options -----------------------------------------------------------------------------------


def _options(spec: Spec) -> Options:
    """The options of every block and optimiser that the spec can name."""
    used = [parse_source(x) for x in spec.model.sources.values() if x is not spec.source]
    items = (item for module in [*used, spec.syntax] for item in module.items)
    return {item.name: item.options for item in items if isinstance(item, s.Block | s.Optimiser)}


def _call(call: s.Call, options: Options) -> s.Call:
    """A call with the options it leaves out."""
    known = options.get(call.function.id, ()) if isinstance(call.function, s.Name) else ()
    given = call.options or call.arguments
    # What stands before a semicolon may be options or ports: options are left out only behind both.
    before = sum(not isinstance(a, s.Named) for a in call.arguments) if call.options else 0
    added = tuple(_left_out(known, (*call.arguments[:before], *given)))
    if not added:
        return call
    if call.options:
        return call.changed(options=(*given, *added))
    return call.changed(arguments=(*given, *added))


def _left_out(known: Iterable[s.Option], given: tuple[s.Arg, ...]) -> Iterable[s.Named]:
    named = {a.name for a in given if isinstance(a, s.Named)}
    positional = sum(not isinstance(a, s.Named) for a in given)
    for i, option in enumerate(known):
        if i >= positional and option.name not in named and _plain(option.default):
            assert option.default is not None
            yield s.Named(option.name, option.default, span=option.span)


def _plain(default: s.Expr | None) -> bool:
    """Whether a default means the same where it is not declared: a number, a text, a name."""
    match default:
        case s.Number() | s.String() | s.Name() | s.Unary("-", s.Number()):
            return True
        case _:
            return False


# ---- clauses -----------------------------------------------------------------------------------


def _train(train: s.Train) -> s.Train:
    """A `train` with all its clauses, in their usual order."""
    there = {_kind(c) for c in train.clauses}
    added = [c for c in _defaults(train.span) if c.kind not in there]
    if "stream" in there:  # it says itself what is read, and in which order
        added = [c for c in added if c.kind not in ("batch", "order")]
    clauses = sorted([*train.clauses, *added], key=lambda c: CLAUSES.index(_kind(c)))
    return train.changed(clauses=tuple(clauses))


def _kind(clause: s.Clause | s.After) -> str:
    return "after" if isinstance(clause, s.After) else clause.kind


def _defaults(span: Span) -> list[s.Clause]:
    return [
        s.Clause("batch", s.Number(BATCH, span=span), span=span),
        s.Clause("order", s.Name(ORDER, span=span), span=span),
        s.Clause("dtype", word=DTYPE, span=span),
    ]


def _data(data: s.Data) -> s.Data:
    """A data set with its reader's settings; one that is like another has the other's."""
    there = {part.name for part in data.body if isinstance(part, s.Setting)}
    known = {} if data.like is not None else SETTINGS.get(_reader(data), {})
    added = [
        s.Setting(name, s.Number(value, span=data.span), span=data.span)
        for name, value in known.items()
        if name not in there
    ]
    return data.changed(body=(*data.body, *added)) if added else data


def _reader(data: s.Data) -> str:
    match data.reader:
        case s.Call(s.Name(name)):
            return name
        case _:
            return ""
