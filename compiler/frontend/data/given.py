"""Data sets that are handed their examples: `given(x[784], label: class(10))`.

Each port is an array of raw, and a field as it stands where no line of the body reads it. A size
whose name nothing defines is open: its value comes from outside, as that of a constant does. Where
nobody says how many examples there are, their number is made up, and nothing may depend on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from typing import Literal

from dln.compiler.frontend.context.build_context import Binding, Build, Scope
from dln.compiler.frontend.context.place import poison
from dln.compiler.frontend.context.ports import port_sizes
from dln.compiler.frontend.context.static_values import domain_of, size
from dln.compiler.frontend.context.values import whole_number
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import Domain, TensorType
from dln.compiler.model import DataSet
from dln.compiler.schema.given_sizes import ends_of, named, open_names, steps_name, timed
from dln.compiler.schema.headers import WantedField
from dln.compiler.schema.keys import RawInput
from dln.compiler.schema.records import AskedPart
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span


def declare_sizes(b: Build, st: s.Data, scope: Scope) -> None:
    """Bind the open sizes of a set: to what is given from outside, else to nothing."""
    for name, span in open_names(st.reader) if isinstance(st.reader, s.Given) else ():
        if scope.lookup(name) is not None:
            continue
        value = b.outside.constants.get(name)
        scope.names[name] = Binding(span, poison, static=True)
        if value is not None:
            scope.value(name, value, span)
            scope.names[name].constant = False  # in the ports of blocks it is a name like any other
            b.built.constants[name] = value


def ports_of(b: Build, st: s.Data, scope: Scope) -> tuple[s.Port, ...]:
    """What a set wants to be handed: what it says, or what that which it is like says."""
    if not isinstance(st.reader, s.Given):
        return ()
    model, seen = st, [st]
    while isinstance(model.reader, s.Given) and not model.reader.ports and model.like is not None:
        binding = scope.lookup(model.like)
        found = None if binding is None else b.data.declared.get(binding)
        if found is None or found in seen:
            break
        seen.append(model := found)
    if not isinstance(model.reader, s.Given) or not model.reader.ports:
        text, example = (
            f"{st.name} does not say what it is given",
            "given(x[784], label: class(10))",
        )
        b.fail("E518", text, st.reader.span, "wants nothing", remedy=example)
    return model.reader.ports


def wanted(
    b: Build, ports: Sequence[s.Port], st: s.Data, scope: Scope, occur: Mapping[str, object]
) -> tuple[WantedField, ...]:
    """What a set wants to be handed, every size known. Fails (E517) where some are open. `occur`
    are the names of classes by field, as far as they are known."""
    _all_said(b, ports, st, scope, occur)
    found: dict[str, WantedField] = {}
    for port in ports:
        if port.name in found:
            first = next(p for p in ports if p.name == port.name)
            b.refuse_again(f"{port.name} stands twice", port.span, first.span)
        running, _ = port_sizes(b, port, scope.child(), {})  # which refuses what is no port
        dims = (port.dims or ())[len(running) :]
        shape = tuple(b.number(size(b, d, scope)) or 0 for d in dims)
        if running:
            shape = (_steps(b, port, ports), *shape)
        if ends := _whose_ends(port.name, ports):
            steps = _steps(b, ends, ports)
            found[port.name] = WantedField(port.name, (), "index", "length", steps)
            continue
        if named(port):
            made = WantedField(port.name, shape, "index", "class", None, bool(running), named=True)
            found[port.name] = made.changed(ends=ends_of(port, ports) if running else "")
            continue
        domain = domain_of(b, port.domain, scope) or Domain()
        classes = None if domain.size is None else b.number(domain.size)
        kind: Literal["real", "index"] = "index" if domain.name == "class" else "real"
        end = ends_of(port, ports) if running else ""
        along = bool(running)
        found[port.name] = WantedField(port.name, shape, kind, domain.name, classes, along, end)
    return tuple(found.values())


def _steps(b: Build, port: s.Port, ports: Sequence[s.Port]) -> int:
    """How many steps there is room for in a port that runs over time."""
    name = steps_name(port, ports)
    number = whole_number(b.outside.constants[name])
    if number is None or number < 1:
        label = f"{name} is {b.outside.constants[name]!r}"
        b.fail("E212", "a size must be a whole number of at least 1", port.span, label)
    return number


def _all_said(
    b: Build, ports: Sequence[s.Port], st: s.Data, scope: Scope, occur: Mapping[str, object]
) -> None:
    """Fail where a size is open and nobody says it."""
    found = s.Given(tuple(ports), span=st.reader.span)
    names = [n for n, _ in open_names(found) if (to := scope.lookup(n)) and to.find is poison]
    steps = dict.fromkeys(steps_name(p, ports) for p in ports if timed(p))
    names += [n for n in steps if n not in b.outside.constants]
    unnamed = [p for p in ports if named(p) and p.domain is not None and not p.domain.words]
    names += [f"the classes of {p.name}" for p in unnamed if p.name not in occur]
    b.built.used.update(steps)
    b.built.used.update(n for n, _ in open_names(found))
    if names:
        listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        text = f"{st.name} leaves {listed} open"
        b.fail(
            "E517",
            text,
            st.reader.span,
            "is not given yet",
            facts=handing(st.name, (p.name for p in ports), names),
        )


def handing(name: str, ports: Iterable[str], sizes: Iterable[str] = ()) -> tuple[str, ...]:
    """How a set is handed its examples, or its sizes alone."""
    names = [*ports]
    listed = f"({', '.join(names)})" if len(names) > 1 else names[0]
    facts = (
        f'from Python: dln.load(..., data={{"{name}": {listed}}})',
        f"from a file with arrays or columns called so: --data {name}=FILE.npz, or FILE.csv",
    )
    said = " ".join(f"-D {size}=N" for size in sizes)
    known = said and not any(" " in size for size in sizes)
    return (*facts, f"the sizes alone: {said}") if known else facts


def _whose_ends(name: str, ports: Sequence[s.Port]) -> s.Port | None:
    """The first port whose sequences end where the port of this name says."""
    return next((p for p in ports if timed(p) and ends_of(p, ports) == name), None)


def raw_of(
    b: Build, key: str, fields: Iterable[object], ports: Sequence[s.Port]
) -> dict[str, Node]:
    """The arrays that a set is handed, as values of the graph, in the domains that are said."""
    places = {p.name: p.span for p in ports}
    known = [f for f in fields if isinstance(f, WantedField)]
    return {f.name: _raw(b, RawInput(key, f.name), f, places[f.name]) for f in known}


def _raw(b: Build, name: RawInput, f: WantedField, span: Span) -> Node:
    plain = f.domain in ("class", "length", "binary", "prob", "positive", "logit")
    size = None if f.classes is None or f.domain == "length" else Size(f.classes)
    plain = plain and not f.named and f.domain != "length"
    domain = Domain(f.domain, size) if plain else Domain()
    sizes = (BATCH_SIZE, *(Size(n) for n in f.shape))
    node = b.at(span)("input", name=name, type=TensorType(sizes, ("batch",), f.kind, domain))
    return b.mark(node, span, f"raw.{name.name}")


def as_they_stand(ports: Iterable[s.Port], body: Iterable[s.Syntax]) -> Iterator[s.Field]:
    """The fields that are what is handed: of ports that no line of the body reads or is called."""
    lines = [x for x in body if isinstance(x, s.Field)]
    named = {x.port.name for x in lines}
    read = {name for x in lines for name in _reads(x.value)}
    for p in ports:
        if p.name not in named | read:
            raw = s.Name("raw", span=p.span)
            yield s.Field(p, s.Attr(raw, p.name, p.span, span=p.span), span=p.span)


def _reads(part: s.Syntax) -> Iterator[str]:
    """The arrays of raw that stand in a piece of syntax."""
    if isinstance(part, s.Attr) and isinstance(part.body, s.Name) and part.body.id == "raw":
        yield part.name
    for inner in part.children():
        yield from _reads(inner)


MADE_UP = 10_000


def made_up(asked: Iterable[AskedPart]) -> int:
    """How many examples a set is taken to have of which nobody has said how many there are: so many
    that all of its parts have some."""
    sizes, folds = [p.size for p in asked if not p.folds], sum(p.folds for p in asked)
    said, rest = sum(n for n in sizes if n >= 1), 1 - sum(n for n in sizes if n < 1)
    return max(MADE_UP, ceil((said + folds) / rest) + 1 if rest > 0 else MADE_UP)


def refuse_uncounted(b: Build, data: DataSet, what: str, span: Span) -> None:
    """Fail where something depends on how many examples there are and nobody has said it."""
    if not data.counted:
        text = f"{what} has all examples of {data.name}, and nobody has said how many there are"
        facts = handing(data.name, data.ports)
        b.fail("E519", text, span, "is as long as what is given", facts=facts)
