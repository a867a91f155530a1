"""Data sets: what the reader's header says, and the fields that follow from it.

A data set is made of parts, `mnist.fit`, and fields as one tensor, `mnist.fit.x`. Such a tensor has
all the examples, its first axis: [50000, 784]. It depends on no minibatch and on no parameter. In
the graph it is a source of its own, `whole`, called `mnist.fit.x` (`mnist.all.x` without a part),
which a runtime fills once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import TypeAlias

from dln.compiler.frontend.context import time_axis
from dln.compiler.frontend.context.build_context import Binding, Build, Scope, Value
from dln.compiler.frontend.context.place import Poisoned, poison, replace
from dln.compiler.frontend.context.static_values import lookup, positive, static, unknown, word
from dln.compiler.frontend.context.values import (
    LIST,
    NUMBER,
    TEXT,
    DataValue,
    Results,
    describe,
    unfit,
)
from dln.compiler.frontend.data import given, measures, named_arrays, splits, tables
from dln.compiler.frontend.data.fields import Ends, field_of, lengths, said_lengths, with_ends
from dln.compiler.frontend.data.measures import FieldClaims
from dln.compiler.frontend.scan.equations import once
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import TIME, TensorType
from dln.compiler.model import DataSet, FieldOf
from dln.compiler.schema.headers import SETTINGS, WORDS, DataSource, HeaderField
from dln.compiler.schema.keys import RawInput, WholeField
from dln.compiler.schema.records import GroupedDivision
from dln.grammar import syntax as s
from dln.grammar.diagnostics import CHOICES, Fault, Note, Span, nearest

Statements: TypeAlias = "tuple[s.Field | s.Split | s.Setting, ...]"


def declare(b: Build, st: s.Data, scope: Scope) -> None:
    """Bind a data set's name; it is looked into when it is first asked for."""
    once(b, scope, st.name, st.span, partial(_build, st=st, scope=scope), static=True)
    b.data.declared[scope.names[st.name]] = st


def declare_sizes(b: Build, st: s.Data, scope: Scope) -> None:
    """Bind the sizes that a set leaves open, once all names of its file are bound."""
    given.declare_sizes(b, st, scope)


def _build(b: Build, st: s.Data, scope: Scope) -> DataValue:
    key = _key(b, scope.names[st.name])
    statements = (*_like(b, st, scope), *st.body)
    ports = given.ports_of(b, st, scope)
    inherited = named_arrays.inherited(b, st, scope)
    source = _source(b, st, scope, ports, inherited)
    try:
        schema = b.outside.probe(tables.first(source))
    except Fault as fault:
        raise fault.at(_argument(st.reader, fault.message)) from None
    statements = (*given.as_they_stand(ports, statements), *statements)
    raw = {k: _raw(b, st, RawInput(key, k), f) for k, f in schema.fields.items()}
    raw = given.raw_of(b, key, source.args, ports) if ports else raw
    said = said_lengths(raw)
    ended = with_ends(b, raw, said, statements) if said.nodes else raw
    inner, claims = scope.child(key), measures.FieldClaims(key)
    inner.value("raw", raw[""] if "" in raw else Results(ended), st.reader.span)
    if schema.classes is not None:
        inner.value("V", schema.classes, st.reader.span)
    named_arrays.remember(b, key, raw, schema.names, inherited)
    table = tables.begun(b, key, source, schema, raw, statements, st.reader.span)
    if table is not None and st.like is not None:
        tables.resembling(b, table, b.evaluate(s.Name(st.like, span=st.span), scope))
    fields = _fields(replace(b, claims=claims), claims, statements, inner, said, st)
    if table is not None:
        schema = tables.settled(b, table, raw[""], fields, claims)
    named = lengths(b, raw, fields, st.reader.span)
    asked = splits.asked(b, cuts := [x for x in st.body if isinstance(x, s.Split)], inner)
    count = schema.count if schema.counted else given.made_up(asked)
    parts, division = splits.divided(b, cuts, asked, inner, count, fields)
    if isinstance(division, GroupedDivision):
        sizes = tables.pieces(b, table, fields, division, cuts[-1].span)
        parts, division = splits.grouped(b, cuts, parts, sizes), division.changed(sizes=sizes)
    if table is not None:
        table.fields = fields
        raw = {**raw, **table.inputs}
    source = named_arrays.numbered(b, key, source)
    needed = set(ancestors(f.value for f in fields.values()))
    b.data.sets[key] = DataSet.extending(
        source,
        name=key,
        raw=raw,
        fields=fields,
        parts=parts,
        division=division,
        count=count,
        asked=asked,
        counted=schema.counted,
        span=st.reader.span,
        ports={p.name: p.span for p in ports},
        alphabet=schema.alphabet,
        lengths=named,
        claims=tuple(c for c in claims if c.node in needed),
        names={name: f.names for name, f in fields.items() if f.names},
        measured=claims.measured,
        split=cuts[-1].span if cuts else None,
    )
    measures.resolve(b, key, st.name, inner)
    return DataValue(key)


def _source(
    b: Build, st: s.Data, scope: Scope, ports: tuple[s.Port, ...],
    inherited: Mapping[str, tuple[str, ...]],
) -> DataSource:  # fmt: skip
    """Where the data of a set come from."""
    key = _key(b, scope.names[st.name])
    override = b.outside.data_paths.get(key)
    if override is not None:
        b.data.given.add(key)
    if isinstance(st.reader, s.Given):
        reader, options = "given", dict(b.outside.handed.get(key, {}))
        names = options.get("names", {})
        occur = {**inherited, **(names if isinstance(names, Mapping) else {})}
        args: tuple[object, ...] = given.wanted(b, ports, st, scope, occur)
    else:
        reader, args, options = _reader(b, st, scope, st.reader)
    options |= _settings(b, st, reader, scope, options)
    base = str(Path(st.span.source.path).resolve().parent)
    return DataSource(reader, args, options, base, override)


def _argument(reader: s.Expr | s.Given, message: str) -> Span:
    """The argument of a reader that a message names: its name where there is none such, else its
    value; or the whole call."""
    for name, arg in reader.named.items() if isinstance(reader, s.Call) else ():
        if f'no parameter "{name}"' in message:
            return word(arg.span, name)
        if f": {name} must be" in message:
            return arg.value.span
    plain = reader.plain if isinstance(reader, s.Call) else ()
    if plain and (len(plain) == 1 or message.startswith("there is no synthetic set")):
        return (
            plain[0].span if " takes " in message or message.startswith("there is") else reader.span
        )
    if len(plain) > 3 and ": count must be" in message:
        return plain[3].span
    return reader.span


def _fields(
    b: Build, claims: FieldClaims, statements: Statements, scope: Scope, said: Ends, st: s.Data
) -> dict[str, FieldOf]:
    """The fields that are written, those of the body of the set itself the last, each from those
    before it; the broken ones are remembered."""
    fields: dict[str, FieldOf] = {}
    own = [x for x in st.body if isinstance(x, s.Field)]
    owners = _owners(b, st, scope, claims.data)
    first = {x.port.name: x for x in reversed(own)}
    for line in statements:
        if isinstance(line, s.Field):
            name = line.port.name
            with b.collecting():
                if line in own and first[name] is not line:  # what `like` brings may be said anew
                    at = first[name].port.span
                    b.refuse_again(f"the field {name} stands twice", line.port.span, at)
                claims.at(line, *owners.get(id(line), (claims.data, bool)))
                fields[name] = field_of(b, line, scope, fields.values(), said)
            if name not in fields:
                b.data.broken.setdefault(claims.data, []).append(name)
    return fields


def _key(b: Build, binding: Binding) -> str:
    """What a data set is called in the plan: its name, numbered where another file or another
    round of a `for` has one of that name. Those of the spec itself come first."""
    sets = sorted(b.data.declared.items(), key=lambda known: known[1].span.source is not b.source)
    keys: dict[Binding, str] = {}
    for known, st in sets:
        names = chain([st.name], (f"{st.name}_{i}" for i in count(2)))
        keys[known] = next(name for name in names if name not in keys.values())
    return keys[binding]


def _like(b: Build, st: s.Data, scope: Scope, users: tuple[s.Data, ...] = ()) -> Statements:
    """The fields of the data set that this one is like; splits are each file's own. `users` are the
    sets that are like this one."""
    if st.like is None:
        return ()
    binding = scope.lookup(st.like)
    at = word(st.span, st.like, r"\blike\s+")
    if binding is None or (model := b.data.declared.get(binding)) is None:
        unknown(b, "data set", st.like, at, _visible_sets(b, scope))
    if model in (users := (*users, st)):
        b.fail("E331", f"{st.like} is like itself", at, "would have its own fields")
    inherited = _like(b, model, scope, users)
    lines = tuple(x for x in (*inherited, *model.body) if not isinstance(x, s.Split))
    ports = model.reader.ports if isinstance(model.reader, s.Given) else ()
    return (*given.as_they_stand(ports, lines), *lines)


def _owners(
    b: Build, st: s.Data, scope: Scope, key: str
) -> dict[int, tuple[str, Callable[[], object]]]:
    """The set that each line is written in, of a set and of those that it is like, by the identity
    of the line; with what looks into that."""
    found: dict[int, tuple[str, Callable[[], object]]] = {id(x): (key, bool) for x in st.body}
    while st.like is not None:
        name, binding = st.like, scope.lookup(st.like)
        assert binding is not None
        look = partial(lookup, b, name, word(st.span, name, r"\blike\s+"), scope)
        st = b.data.declared[binding]
        found |= {id(x): (_key(b, binding), look) for x in st.body}
    return found


def _reader(
    b: Build, st: s.Data, scope: Scope, call: s.Expr
) -> tuple[str, tuple[object, ...], dict[str, object]]:
    """The reader's name and its arguments, all static."""
    if not (isinstance(call, s.Call) and isinstance(call.function, s.Name)):
        remedy = 'one of idx("..."), npz, table, rows, text, synthetic'
        b.fail("E350", "a data set comes from a reader", st.reader.span, remedy=remedy)
    name = call.function.id
    if name not in SETTINGS:
        hint = nearest(name, SETTINGS) or "one of " + ", ".join(SETTINGS)
        b.fail("E301", f"there is no reader {name}", call.function.span, "unknown", remedy=hint)
    args = tuple(static(b, a, scope, f"an argument of {name}") for a in call.plain)
    for a, value in zip(call.plain, args, strict=True):
        if not isinstance(value, str | int | float | list):
            wants = {"rows": LIST, "synthetic": NUMBER}.get(name, TEXT)
            unfit(b, "E302", f"{name} takes texts, numbers and lists", a.span, value, wants)
    return name, args, {k: static(b, a.value, scope, k) for k, a in call.named.items()}


def _raw(b: Build, st: s.Data, name: RawInput, found: HeaderField) -> Node:
    """A field of the file, as its header says it is."""
    sizes = (BATCH_SIZE, *(Size(n) for n in found.shape))
    type = TensorType(sizes, ("batch",), "index" if found.kind == "index" else "real")
    node = b.at(st.reader.span)("input", name=name, type=type)
    return b.mark(node, st.reader.span, f"raw.{name.name}" if name.name else "raw")


def _settings(
    b: Build, st: s.Data, reader: str, scope: Scope, given: Mapping[str, object]
) -> dict[str, object]:
    """`set window = 25` as options of the reader, defaults included; a set that is like another
    has its settings, but for those that it sets itself."""
    known = SETTINGS[reader]
    for name in known.keys() & given.keys():
        text, fact = f"the {name} of a data set is set in its body", f"set {name} = {given[name]}"
        at = st.reader.named[name].span if isinstance(st.reader, s.Call) else st.reader.span
        facts = (f"{fact}, on a line of its own, and not here",)
        b.fail("E349", text, at, f"{reader} takes no {name}", facts=facts)
    found: dict[str, object] = dict(known)
    seen, failed = dict[str, Span](), set[str]()
    for place, body in enumerate((_like(b, st, scope), st.body)):
        for setting in body:
            if isinstance(setting, s.Setting):
                failed.add(setting.name)
                with b.collecting():
                    first = seen.setdefault(setting.name, setting.span) if place == 1 else None
                    if first is not None and first != setting.span:
                        b.refuse_again(f"{setting.name} is set twice", setting.span, first)
                    found[setting.name] = _setting(b, setting, reader, scope)
                    failed.discard(setting.name)
    if failed:
        raise Poisoned
    return found


def _setting(b: Build, st: s.Setting, reader: str, scope: Scope) -> int | str:
    """The value of a setting: a whole number of at least 1, or one of some words."""
    known, words = SETTINGS[reader], WORDS.get(reader, {})
    if st.name in words:
        said = st.value.id if isinstance(st.value, s.Name) else ""
        if said not in words[st.name]:
            listed = ", ".join(words[st.name])
            text, near = f"{st.name} is one of {listed}", nearest(said, words[st.name])
            near = near or CHOICES + listed
            b.fail("E305", text, st.value.span, "is another thing", remedy=near)
        return said
    if st.name not in known:
        every = [*SETTINGS.items(), *WORDS.items()]
        owner = next((r for r, names in every if st.name in names), None)
        if owner is not None:
            text = f"{st.name} is a setting of {owner} sets"
            b.fail("E349", text, st.span, f"this one is read by {reader}", remedy="leave it out")
        listed = ", ".join(f"set {k} = {v}" for k, v in known.items())
        listed = listed or ", ".join(f"set {k} = {v[0]}" for k, v in words.items())
        label = "unknown" if known or words else f"{reader} sets have no settings"
        remedy = nearest(st.name, [*known, *words]) or listed or "leave it out"
        text = f"there is no setting {st.name}"
        b.fail("E301", text, word(st.span, st.name), label, remedy=remedy)
    what = f"the {st.name}"
    return positive(b, st.value, scope, what, f"{what} must be at least 1")


def on_part(b: Build, expr: s.Expr, scope: Scope) -> tuple[DataSet, str]:
    """A data set or one of its parts, where `on` stands."""
    if isinstance(expr, s.Attr):
        whole = b.evaluate(expr.body, scope)
        if isinstance(whole, DataValue) and whole.part is None:
            data = b.data.sets[whole.name]
            if splits.part_of(data, expr.name) is None:
                _refuse_part(b, expr, whole.name, scope)
                if splits.known(data) == ["all"]:
                    text = f"{whole.name} has no parts: its data set has no split"
                    fact = (
                        f"a line in data {whole.name} makes them: split fit 0.8, valid 0.2 shuffled"
                    )
                    remedy = expr.body.span.text
                    b.fail("E301", text, expr.span, "is unknown", (), remedy, (fact,))
                unknown(b, "part", expr.name, expr.name_span, splits.known(data), whole.name)
    value = b.evaluate(expr, scope)
    if not isinstance(value, DataValue):
        remedy = ", ".join(_visible_sets(b, scope)[:3])
        text = "on takes a data set or a part of one"
        if isinstance(expr, s.Attr) and isinstance(b.evaluate(expr.body, scope), DataValue):
            remedy = expr.body.span.text
        if isinstance(value, list) and any(isinstance(v, DataValue) for v in value):
            remedy = f"{expr.span.text}[0]"
        b.fail("E353", text, expr.span, f"is {describe(value)}", remedy=remedy)
    return b.data.sets[value.name], value.part or "all"


FIT, VALID = ("train", "training", "learn"), ("val", "validation", "validate", "dev", "test")


def _refuse_part(b: Build, expr: s.Attr, name: str, scope: Scope) -> None:
    """`mnist.train`, `mnist.val`, `mnist.test`, as other tools call the parts of a set."""
    parts, called = b.data.sets[name].parts, expr.name.lower()
    for words, part in ((FIT, "fit"), (VALID, "valid")):
        if called in words:
            mine = f"{name}.{part}" if part in parts else ""
            other = f"{name}_{called}" if f"{name}_{called}" in _visible_sets(b, scope) else ""
            if remedy := other or (mine if called != "test" else ""):
                listed = ", ".join(p for p in splits.known(b.data.sets[name]) if p != "all")
                text, fact = f"{name} has no part {expr.name}", f"its parts are {listed or 'none'}"
                b.fail("E301", text, expr.span, "unknown", (), remedy, (fact,))


def _visible_sets(b: Build, scope: Scope) -> list[str]:
    """The names in scope that are declared as data sets."""
    return [n for n in scope.visible() if scope.lookup(n) in b.data.declared]


def bind_fields(b: Build, data: DataSet, scope: Scope) -> None:
    """The fields of a data set as names: the inputs of a phase or watch."""
    for name, field in data.fields.items():
        node = field.node
        if TIME in node.type.running:
            node = time_axis.time_first(b, node, field.span)
        scope.value(name, node, field.span)
    for name in b.data.broken.get(data.name, ()):
        scope.names[name] = Binding(data.span, poison, static=True)


# ---- what a data set is made of ----------------------------------------------------------------


def of_data(b: Build, value: DataValue, name: str, span: Span) -> Value:
    """A part of a data set, or a field of it or of a part."""
    data = b.data.sets[value.name]
    if value.part is None and (part := splits.part_of(data, name)) is not None:
        return part
    if name in data.fields:
        return _whole(b, data, value.part or "all", data.fields[name], span)
    if name in b.data.broken.get(data.name, ()):
        raise Poisoned
    if value.part is None:
        unknown(b, "part or field", name, span, [*splits.known(data), *data.fields], data.name)
    unknown(b, "field", name, span, list(data.fields), f"{data.name}.{value.part}")


def _whole(b: Build, data: DataSet, part: str, field: FieldOf, span: Span) -> Node:
    """The field of all examples of a part; of as many as are read, where they are limited. It is
    one tensor if it is the same at every visit, and as long in every example."""
    notes = (Note(field.span, "is declared here"),)
    if field.drawn:
        text = f"the field {field.name} is drawn anew at each visit, so it is no fixed tensor"
        remedy = f"another field, or data set, with = in place of ~ after {field.name}"
        b.fail("E376", text, span, "is drawn", notes, remedy)
    if field.ends and "time" in field.node.type.running:
        text = f"the sequences of {field.name} are of unequal lengths, so they are no one tensor"
        label = f"runs over time, up to the {field.ends} of each example"
        b.fail("E376", text, span, label, notes, "take it in a phase, example by example")
    count = data.parts[part].count
    given.refuse_uncounted(b, data, f"{data.name}.{field.name}", span)
    rows = Size(count if b.outside.limit is None else min(count, b.outside.limit))
    type = field.node.type.like((rows, *field.node.type.shape[1:]), ())
    name = WholeField(data.name, part, field.name)
    return b.mark(b.at(span)("whole", name=name, type=type), span, name.spoken)
