"""What a spec wants to be handed, and arrays from Python as what it wants.

A set that is `given(x[n], label: class(k))` says its fields; sizes whose names nothing defines are
open, and follow from the arrays. This file reads that off the text, so that it can be asked before
there is any array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from dln.compiler.schema.given_sizes import ends_of, named, open_names, steps_name, timed
from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Fault, Problem, Source, nearest
from dln.grammar.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

Load: TypeAlias = Callable[[str, Source], tuple[Source, s.Module]]
"""Finds and parses a used file."""
Arrays: TypeAlias = "dict[str, NDArray[Any]]"


MOST = 2**31
"""The most classes that are taken from data."""


class GivenField(Record):
    """A field that is to be handed over: its shape for one example, with the names of sizes that
    are open; its domain (`class` with how many `classes`); whether it runs over time, which then is
    the first size."""

    name: str
    shape: tuple[int | str, ...]
    domain: str = "real"
    classes: int | str | None = None
    timed: bool = False


class GivenSet(Record):
    """A data set that is to be handed its examples: its fields in order, the names of its sizes
    that are open, and the names of its parts."""

    name: str
    fields: tuple[GivenField, ...]
    open: tuple[str, ...]
    parts: tuple[str, ...] = ()


class FromOutside(NamedTuple):
    """What arrays say: the sizes that were open, by name; how many examples each whole set has
    (`count`) and the `names` of its classes; the arrays of each set, or part of one, by field."""

    sizes: dict[str, int]
    handed: dict[str, dict[str, Any]]
    arrays: dict[str, Arrays]


class Wanting(Record, eq=False):
    """The sets of a spec and of the files it uses that are to be handed their examples: their
    ports and parts, and the values of the constants that are plain numbers."""

    ports: Mapping[str, tuple[s.Port, ...]]
    parts: Mapping[str, tuple[str, ...]]
    others: tuple[str, ...]
    known: Mapping[str, object]


def asked(source: Source, module: s.Module, load: Load) -> Wanting:
    """What a spec wants to be handed, read off its text."""
    items, seen = list(_items(source, module, load, {source.path})), dict[str, s.Data]()
    known: dict[str, object] = {}
    for item in items:
        if isinstance(item, s.Data):
            seen.setdefault(item.name, item)
        elif isinstance(item, s.Const | s.Let | s.Fn | s.Block):
            value = item.value if isinstance(item, s.Const) else None
            known[item.name] = value.value if isinstance(value, s.Number) else None
    ports = {name: _ports(st, seen) for name, st in seen.items() if isinstance(st.reader, s.Given)}
    parts = {
        name: tuple(p.name for x in seen[name].body if isinstance(x, s.Split) for p in x.parts)
        for name in ports
    }
    return Wanting(ports, parts, tuple(n for n in seen if n not in ports), known)


def _items(source: Source, module: s.Module, load: Load, seen: set[str]) -> Iterator[s.Item]:
    """The items of a file, then those of the files that it uses without another name."""
    yield from (item for item in module.items if not isinstance(item, s.Use))
    for item in module.items:
        if isinstance(item, s.Use) and item.alias is None:
            try:
                found, used = load(item.path, source)
            except DlnError:  # said when the spec is read
                continue
            if found.path not in seen:
                seen.add(found.path)
                yield from _items(found, used, load, seen)


def _ports(st: s.Data, sets: Mapping[str, s.Data]) -> tuple[s.Port, ...]:
    """What a set wants, or what that which it is like wants."""
    for _ in sets:
        like = None if st.like is None else sets.get(st.like)
        if not isinstance(st.reader, s.Given) or st.reader.ports or like is None:
            break
        st = like
    return st.reader.ports if isinstance(st.reader, s.Given) else ()


def described(found: Wanting, constants: Mapping[str, object]) -> dict[str, GivenSet]:
    """What a spec wants to be handed, in words of its own, with the values of constants."""
    known = {**found.known, **constants}
    sets = {}
    for name, ports in found.ports.items():
        fields = tuple(_field(p, ports, known) for p in ports)
        sets[name] = GivenSet(name, fields, tuple(_open(ports, known)), found.parts[name])
    return sets


def _field(port: s.Port, ports: tuple[s.Port, ...], known: Mapping[str, object]) -> GivenField:
    along = timed(port)
    shape = tuple(_size(d, known) for d in (port.dims or ())[along:])
    if along:
        steps = known.get(name := steps_name(port, ports), name)
        shape = (steps if isinstance(steps, int) else name, *shape)
    if any(timed(p) and ends_of(p, ports) == port.name for p in ports):
        return GivenField(port.name, (), "length")
    domain = port.domain
    classes = None if domain is None or domain.size is None else _size(domain.size, known)
    return GivenField(port.name, shape, domain.name if domain else "real", classes, along)


def _size(expr: s.Syntax, known: Mapping[str, object]) -> int | str:
    """A size as a number, where it is plain, else as it is written."""
    value = known.get(expr.id) if isinstance(expr, s.Name) else getattr(expr, "value", None)
    return value if isinstance(value, int) else expr.span.text


def _open(ports: tuple[s.Port, ...], known: Mapping[str, object]) -> Iterator[str]:
    names = (name for p in ports for name, _ in open_names(s.Given((p,), span=p.span)))
    steps = (steps_name(p, ports) for p in ports if timed(p))
    yield from (name for name in dict.fromkeys((*names, *steps)) if name not in known)


# ---- arrays ------------------------------------------------------------------------------------


def bound(found: Wanting, data: Mapping[str, Any], constants: Mapping[str, object]) -> FromOutside:
    """What arrays say, by set or part. Raises `DlnError` E560 for a set that is handed nothing,
    E551, E552, E557 for arrays that do not fit."""
    sizes, arrays, handed = dict[str, int](), dict[str, Arrays](), dict[str, dict[str, Any]]()
    known = {**found.known, **constants}
    for key, value in data.items():
        name, _, part = key.partition(".")
        _known(found, name, part)
        ports = found.ports[name]
        arrays[key] = fields = handed_arrays(name, ports, value)
        more = handed.setdefault(name, {})
        for port in ports:
            if port.name in fields:
                _bind(name, port, ports, fields[port.name], known, sizes)
                _name(port, fields[port.name], more)
        if not part:
            more["count"] = len(next(iter(fields.values())))
    return FromOutside(sizes, handed, arrays)


def _name(port: s.Port, array: NDArray[Any], more: dict[str, Any]) -> None:
    """The names of the classes of a port that says no number of them, in order."""
    from dln.runtime.readers.frames import distinct  # late: NumPy

    if named(port):
        before = more.setdefault("names", {}).get(port.name, ())
        found = distinct(array)
        order = sorted({*before, *found}) if set(before) - set(found) else found
        more["names"][port.name] = tuple(order)


def _known(found: Wanting, name: str, part: str) -> None:
    if name in found.others:
        text = f"{name} reads its examples itself, so it is handed none when the spec is loaded"
        raise Fault(text, f'session.train(data={{"{name}": ...}})', "E557").at(None)
    if name not in found.ports:
        listed = ", ".join(found.ports) or "no set that is given(...)"
        remedy = nearest(name, found.ports) or f"the spec has {listed}"
        raise DlnError([Problem("E560", f"there is no data set {name}", remedy=remedy)])
    if part and part not in found.parts[name]:
        remedy = nearest(part, found.parts[name]) or f"its parts: {', '.join(found.parts[name])}"
        raise DlnError([Problem("E560", f"{name} has no part {part}", remedy=remedy)])


def handed_arrays(name: str, ports: tuple[s.Port, ...], given: Any) -> Arrays:
    """What was given as arrays by field, as far as it is arrays at all. Lists of sequences of
    unequal lengths are brought to one length. Raises `DlnError` E552, E557."""
    from dln.runtime.readers.frames import arrays_by_field  # late: NumPy

    lengths = {p.name: ends_of(p, ports) for p in ports if timed(p)}
    fields = {p.name: bool(p.dims) for p in ports}
    return arrays_by_field(name, fields, lengths, given)


def _bind(
    name: str, port: s.Port, ports: tuple[s.Port, ...], array: NDArray[Any],
    known: Mapping[str, object], sizes: dict[str, int],
) -> None:  # fmt: skip
    """The open sizes of a port, as its array has them."""
    wanted: list[str | None] = [steps_name(port, ports)] if timed(port) else []
    wanted += [d.id if isinstance(d, s.Name) else None for d in (port.dims or ())[timed(port) :]]
    is_open = [n for n in wanted if n is not None and n not in known]
    if is_open and len(wanted) != array.ndim - 1:
        each = f"{len(wanted)} ax{'i' if len(wanted) == 1 else 'e'}s for each example"
        _refuse(name, port, f"the array has shape {array.shape}, expected {port.span.text}: {each}")
    for size, number in zip(wanted, array.shape[1:], strict=False):
        if size in is_open:
            _said(name, port, size, number, sizes)
    classes = port.domain.size if port.domain is not None else None
    if isinstance(classes, s.Name) and classes.id not in known and array.size:
        if array.dtype.kind not in "iufb":
            text = f"{name}: {port.name}: is {'text' if array.dtype.kind in 'US' else array.dtype}"
            remedy = f"{port.name}: class, whose classes are words"
            label = f"{port.name} is declared here"
            wanted_text = "expected whole numbers"
            raise DlnError(
                [Problem("E552", f"{text}, {wanted_text}", port.span, label, remedy=remedy)]
            )
        most = float(array.max())
        if 0 <= most < MOST:  # what else is wrong is said when the values are looked at
            sizes[classes.id] = max(sizes.get(classes.id, 1), int(most) + 1)


def _said(name: str, port: s.Port, size: str, number: int, sizes: dict[str, int]) -> None:
    if sizes.setdefault(size, number) != number:
        _refuse(name, port, f"{size} is {number}, and {sizes[size]} in what was given before it")


def _refuse(name: str, port: s.Port, text: str) -> None:
    label = f"{port.name} is declared here"
    raise DlnError([Problem("E551", f"{name}: {port.name}: {text}", port.span, label)])


def of_files(
    found: Wanting, paths: Mapping[str, str], constants: Mapping[str, object]
) -> tuple[dict[str, int], dict[str, dict[str, Any]]]:
    """The open sizes of sets for which files stand, and the names of their classes."""
    from dln.runtime.readers.handed import looked_at  # late: NumPy
    from dln.runtime.readers.table.by_field import FieldColumns  # late: few sets are tables

    known, sizes, handed = {**found.known, **constants}, dict[str, int](), dict[str, Any]()
    for name, path in paths.items():
        ports = found.ports[name]
        if any(_open(ports, known)) or any(map(named, ports)):
            ends = {ends_of(p, ports) for p in ports if timed(p)}
            try:
                asked = {p.name: FieldColumns(bool(p.dims), timed(p), named(p)) for p in ports}
                held = looked_at(path, {p.name: p.name in ends for p in ports}, asked)
            except Fault as fault:
                raise fault.at(ports[0].span) from None
            more = handed.setdefault(name, {})
            for port in (p for p in ports if p.name in held):
                _bind(name, port, ports, held[port.name], known, sizes)
                _name(port, held[port.name], more)
    return sizes, handed


def taken(
    source: Source, constants: Mapping[str, object], paths: Mapping[str, str],
    data: Mapping[str, Any], load: Load,
) -> FromOutside:  # fmt: skip
    """What a spec takes of what it is given: the sizes that it leaves open, and arrays."""
    from dln.grammar.parser import parse_source  # late: what is kept was parsed before

    wanting = asked(source, parse_source(source), load)
    found = bound(wanting, data, constants)
    files = {name: path for name, path in paths.items() if name in wanting.ports}
    sizes, handed = of_files(wanting, files, constants)
    return found._replace(sizes={**sizes, **found.sizes}, handed={**handed, **found.handed})
