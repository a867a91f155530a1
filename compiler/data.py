"""Data sets: what the reader's header says, the fields that follow from it, and the splits."""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from dln.compiler import tensors
from dln.compiler.equations import once
from dln.compiler.graph import Node
from dln.compiler.model import DataSet, FieldOf
from dln.compiler.ports import dims_text, fit, port_sizes
from dln.compiler.sizes import BATCH_SIZE, Size
from dln.compiler.state import Build, Drawing, poison
from dln.compiler.statics import domain_of, static, unknown, word
from dln.compiler.tensor import Domain, TensorType
from dln.compiler.values import Binding, DataValue, Record, Scope, describe
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Fault, Note, nearest

READERS = ("idx", "npz", "table", "rows", "text", "synthetic")


def declare(b: Build, st: s.Data, scope: Scope) -> None:
    """Bind a data set's name; it is looked into when it is first asked for."""
    once(b, scope, st.name, st.span, partial(_build, b, st, scope), static=True)
    b.data_sets[scope.names[st.name]] = st


def _build(b: Build, st: s.Data, scope: Scope) -> DataValue:
    reader, args, options = _reader(b, st, scope)
    base = str(Path(st.span.source.path).resolve().parent)
    override = b.data_paths.get(st.name)
    if override is not None:
        b.used_overrides.add(f"data:{st.name}")
    data = DataSet(st.name, reader, args, options, base, override, {}, {}, {}, 0, st.reader.span)
    try:
        schema = b.probe(data)
    except Fault as fault:
        raise fault.at(st.reader.span) from None
    statements = (*_like(b, st, scope), *st.body)
    raw = {k: _raw(b, st, k, f.shape, f.kind) for k, f in schema.fields.items()}
    inner = scope.child(st.name)
    inner.value("raw", raw[""] if "" in raw else Record(raw), st.reader.span)
    if schema.classes is not None:
        inner.value("V", schema.classes, st.reader.span)
    fields = {}
    for field in statements:
        if isinstance(field, s.Field):
            with b.collecting():
                fields[field.port.name] = _field(b, field, inner)
            if field.port.name not in fields:
                b.broken_fields.setdefault(st.name, []).append(field.port.name)
        elif isinstance(field, s.Setting):
            with b.collecting():
                b.unbuilt(f"the setting {field.name} of a data set", field.span)
    parts = _parts(b, statements, inner, schema.count)
    b.data[st.name] = DataSet(
        st.name,
        reader,
        args,
        options,
        base,
        override,
        raw,
        fields,
        parts,
        schema.count,
        st.reader.span,
    )
    return DataValue(st.name)


def _like(b: Build, st: s.Data, scope: Scope) -> tuple[Any, ...]:
    """The fields of the data set that this one is like; splits are each file's own."""
    if st.like is None:
        return ()
    binding = scope.lookup(st.like)
    model = None if binding is None else b.data_sets.get(binding)
    if model is None:
        known = [n for n in scope.visible() if _is_data(b, scope.lookup(n))]
        unknown(b, "data set", st.like, word(st.span, st.like, r"\blike\s+"), known)
    return tuple(x for x in (*_like(b, model, scope), *model.body) if not isinstance(x, s.Split))


def _reader(
    b: Build, st: s.Data, scope: Scope
) -> tuple[str, tuple[object, ...], dict[str, object]]:
    """The reader's name and its arguments, all static."""
    call = st.reader
    if not (isinstance(call, s.Call) and isinstance(call.function, s.Name)):
        b.fail(
            "E350",
            "a data set comes from a reader",
            st.reader.span,
            remedy='one of idx("..."), npz, table, rows, text, synthetic',
        )
    name = call.function.id
    if name not in READERS:
        hint = nearest(name, READERS) or "one of " + ", ".join(READERS)
        b.fail("E301", f"there is no reader {name}", call.function.span, "unknown", remedy=hint)
    positional = [a for a in call.arguments if not isinstance(a, s.Named | s.Ranged)]
    args = tuple(static(b, a, scope, f"an argument of {name}") for a in positional)
    for a, value in zip(positional, args, strict=True):
        if not isinstance(value, str | int | float | list):
            b.fail("E302", f"{name} takes texts, numbers and lists", a.span, describe(value))
    named = [a for a in call.arguments if isinstance(a, s.Named)]
    return name, args, {a.name: static(b, a.value, scope, a.name) for a in named}


def _raw(b: Build, st: s.Data, key: str, shape: tuple[int, ...], kind: str) -> Node:
    name = f"raw:{st.name}.{key}"
    sizes = (BATCH_SIZE, *(Size(n) for n in shape))
    type = TensorType(sizes, ("batch",), "index" if kind == "index" else "real")
    node = b.at(st.reader.span)("input", name=name, type=type)
    return b.mark(node, st.reader.span, f"raw.{key}" if key else "raw")


def _field(b: Build, st: s.Field, scope: Scope) -> FieldOf:
    """`x[784]: prob = raw.image / 255`: the value from raw, and the input that phases see."""
    port = st.port
    running, wanted = port_sizes(b, port, scope, {})
    if running:
        b.unbuilt("data that runs over time", port.span)
    frame = b.new_frame("data", batched=True, site=f"{scope.path}.{port.name}")
    drawing = Drawing(frame.site, None) if st.drawn else None
    with b.within(frame=frame, drawing=drawing):
        value = tensors.as_tensor(b, b.evaluate(st.value, scope), st.value.span)
        if port.dims is None and len(value.type.example) == 1 and len(wanted) == 0:
            fit(
                b, value, (), wanted, st.value.span, f"the field is declared {port.name}", port.span
            )
        value = _laid_out(b, value, wanted, st)
        who = f"the field is declared {port.name}{dims_text(port)}"
        fit(b, value, (), wanted, st.value.span, who, port.span)
        domain = domain_of(b, port.domain, scope)
        value = _in_domain(b, value, domain, st)
    shape = (BATCH_SIZE, *value.type.example)
    type = TensorType(shape, ("batch",), value.type.kind, value.type.domain)
    node = b.at(port.span)("input", name=port.name, type=type)
    b.mark(node, port.span, port.name)
    scope.value(port.name, value, port.span)
    return FieldOf(port.name, node, value, st.drawn, st.span)


def _laid_out(b: Build, value: Node, wanted: tuple[Size, ...], st: s.Field) -> Node:
    """An image [28, 28] where `x[784]` is declared is laid out row by row; where `x[1, 28, 28]`
    is, it is one map."""
    found = [b.sizes.resolve(size).value or 0 for size in value.type.example]
    asked = [b.sizes.resolve(size).value or 0 for size in wanted]
    if len(asked) == 1 and len(found) > 1:
        asked = [prod(found)]
    elif [n for n in asked if n != 1] != [n for n in found if n != 1] or asked == found:
        return value
    shape = (*value.type.lead, *map(Size, asked))
    return b.at(st.value.span)("reshape", value, shape=shape, running=value.type.running)


def _in_domain(b: Build, value: Node, domain: Domain | None, st: s.Field) -> Node:
    """The declared domain: classes are whole numbers, truth values 0 and 1. The data are checked
    against it when they are read."""
    make = b.at(st.value.span)
    if domain is None or domain.name != "class":
        if value.type.kind == "bool" or (value.type.kind == "index" and domain is not None):
            value = make("cast", value, kind="real")
    elif value.type.kind != "index":
        value = make("cast", value, kind="index")
    if domain is None:
        return value
    return make("asserted", value, domain=domain)


def _parts(b: Build, body: tuple[Any, ...], scope: Scope, count: int) -> dict[str, tuple[int, int]]:
    """`split fit 50000, valid 10000`: stretches of the file, in order; fractions below 1."""
    parts, start = {"all": (0, count)}, 0
    for st in body:
        if not isinstance(st, s.Split):
            continue
        for part in st.parts:
            size = static(b, part.size, scope, "the size of a part")
            if not isinstance(size, int | float) or size <= 0:
                b.fail(
                    "E351",
                    "a part is a number of examples, or a fraction below 1",
                    part.size.span,
                    f"is {tensors.short(part.size.span.text)}",
                )
            number = round(size * count) if size < 1 else int(size)
            if part.name in parts:
                b.fail("E334", f"the part {part.name} stands twice", part.span, "again")
            if start + number > count:
                number_left = count - start
                b.fail(
                    "E352",
                    f"the parts ask for {start + number} examples of {count}",
                    part.size.span,
                    f"only {number_left} are left",
                    (Note(st.span, "the split"),) if st.span != part.size.span else (),
                )
            parts[part.name] = (start, number)
            start += number
    return parts


def on_part(b: Build, expr: s.Expr, scope: Scope) -> tuple[DataSet, str]:
    """A data set or one of its parts, where `on` stands."""
    value = b.evaluate(expr, scope)
    if not isinstance(value, DataValue):
        known = [n for n in scope.visible() if _is_data(b, scope.lookup(n))]
        b.fail(
            "E353",
            "on takes a data set or a part of one",
            expr.span,
            f"is {describe(value)}",
            remedy=", ".join(known[:3]),
        )
    return b.data[value.name], value.part or "all"


def _is_data(b: Build, binding: Binding | None) -> bool:
    return binding is not None and binding in b.data_sets


def bind_fields(b: Build, data: DataSet, scope: Scope) -> None:
    """The fields of a data set as names: the inputs of a phase or watch."""
    for name, field in data.fields.items():
        scope.value(name, field.node, field.span)
    for name in b.broken_fields.get(data.name, ()):
        scope.names[name] = Binding(data.span, poison, static=True)
