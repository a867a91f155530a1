"""A spec with every default written out, and its constants with the values in force.

The text can be run in place of the spec: it means the same. What a call leaves to the defaults of
a block or optimiser is added to it, and what a `train` leaves to the defaults of the language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dln.compiler.schema.headers import SETTINGS
from dln.compiler.schema.tables import BATCH, DTYPE, ORDER
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span
from dln.grammar.printer import to_text
from dln.spec import Spec, parsed

CLAUSES = ("batch", "stream", "order", "for", "dtype", "seed", "shards", "after")
Options = Mapping[str, tuple[s.Option, ...]]


def resolved(spec: Spec) -> str:
    """The spec in canonical layout, every default written out."""
    others = [x for x in spec.model.sources.values() if x is not spec.source]
    used = [parsed(x.path, x.text)[1] for x in others]
    items = [item for module in [*used, spec.syntax] for item in module.items]
    options = {i.name: i.options for i in items if isinstance(i, s.Block | s.Optimiser)}

    def one(node: Any) -> Any:
        match node:
            case s.Call():
                return _call(node, options)
            case s.Train():
                return _train(node)
            case s.Data():
                return _data(node)
            case s.Const():
                value = spec.constants.get(node.name)
                expr = written(value, node.value.span)
                same = expr is None or read_back(node.value) == value
                return node if same else node.changed(value=expr)
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
        known = tuple(item for v in value if (item := written(v, span)) is not None)
        return s.ListOf(known, span=span) if len(known) == len(value) else None
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


def _call(call: s.Call, options: Options) -> s.Call:
    """A call with the options it leaves out; `options` are those of each block and optimiser."""
    known = options.get(call.function.id, ()) if isinstance(call.function, s.Name) else ()
    given = call.options or call.arguments
    # What stands before a semicolon may be options or ports: options are left out only behind both.
    before = sum(not isinstance(a, s.Named) for a in call.arguments) if call.options else 0
    said = (*call.arguments[:before], *given)
    placed = [a for a in said if not isinstance(a, s.Named)]
    values: dict[str, s.Syntax] = {o.name: a for o, a in zip(known, placed, strict=False)}
    values |= {a.name: a.value for a in said if isinstance(a, s.Named)}
    added = []
    for option in known[len(placed) :]:
        default: s.Syntax | None = option.default
        if isinstance(default, s.Name):  # what an option before it is: `stride = size`
            default = values.get(default.id, default)
        match default:  # what means the same where it is not declared
            case s.Number() | s.String() | s.Name() | s.Unary("-", s.Number()):
                if values.setdefault(option.name, default) is default:
                    added.append(s.Named(option.name, default, span=option.span))
    if not added:
        return call
    return call.changed(**{"options" if call.options else "arguments": (*given, *added)})


# ---- clauses -----------------------------------------------------------------------------------


def _train(train: s.Train) -> s.Train:
    """A `train` with all its clauses, in their usual order."""
    span, there = train.span, {_kind(c) for c in train.clauses}
    added = [s.Clause("dtype", word=DTYPE, span=span)]
    if "stream" not in there:  # which says itself what is read, and in which order
        added += [s.Clause("batch", s.Number(BATCH, span=span), span=span),
                  s.Clause("order", s.Name(ORDER, span=span), span=span)]  # fmt: skip
    clauses = [*train.clauses, *(c for c in added if c.kind not in there)]
    return train.changed(clauses=tuple(sorted(clauses, key=lambda c: CLAUSES.index(_kind(c)))))


def _kind(clause: s.Clause | s.After) -> str:
    return "after" if isinstance(clause, s.After) else clause.kind


def _data(data: s.Data) -> s.Data:
    """A data set with its reader's settings; one that is like another has the other's."""
    there = {part.name for part in data.body if isinstance(part, s.Setting)}
    match data.reader:
        case s.Call(s.Name(reader)) if data.like is None:
            known = SETTINGS.get(reader, {})
        case _:
            return data
    added = [s.Setting(name, s.Number(value, span=data.span), span=data.span)
             for name, value in known.items() if name not in there]  # fmt: skip
    return data.changed(body=(*data.body, *added)) if added else data
