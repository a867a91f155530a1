"""Instances as functions: what Python calls, over a batch of its own.

They are laid out when the spec has been read and nothing is wrong with it. An instance that is no
function on its own is refused here with its reason, which is told when it is called; the spec
means the same with it and without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dln.compiler.frontend.context import broadcasting, lengths, time_axis
from dln.compiler.frontend.context.build_context import Build, Chain, Instance, Scope, Value
from dln.compiler.frontend.context.frame import Frame
from dln.compiler.frontend.context.place import Poisoned, replace
from dln.compiler.frontend.context.static_values import lookup
from dln.compiler.frontend.context.values import InstanceVerb, Results
from dln.compiler.frontend.data.fields import LENGTH
from dln.compiler.frontend.expressions.calls import apply
from dln.compiler.frontend.instances import one_step
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import PROB, TIME, Domain, Kind, TensorType
from dln.compiler.model import Applied, Functions
from dln.grammar.diagnostics import DlnError, Fault, Problem, Span

NO_STEP = ("E319", "E214", "E208", "E209", "E338")
"""What a step cannot do, of a whole sequence or of one whose length is not known."""

NO_ENDS: Mapping[str, Node] = MappingProxyType({})

Use = tuple[tuple[Kind, Domain | None], ...]
"""The kind and the domain of every port."""


def functions(b: Build, scope: Scope) -> Functions:
    """Every instance of the spec that is applied somewhere, as a function for Python."""
    before = set(b.graph.topological())
    laid: dict[str, Applied] = {}
    refused: dict[str, Problem] = {}
    for name, span in [(name, x.span) for name, x in scope.names.items() if not x.static]:
        span = span or Span(b.source, 0, 0)
        for path, target in _targets(name, lookup(b, name, span, scope)):
            try:
                laid[path] = _as_function(b, path, target, span, refused)
            except DlnError as error:
                refused[path] = error.problems[0]
    own = frozenset(n for n in b.graph.topological() if n not in before)
    return Functions(laid, refused, own)


def _targets(path: str, value: Value) -> list[tuple[str, Value]]:
    """What of a value can be a function, with its path."""
    if isinstance(value, Instance) and value.groups:
        asked = ("up", "down", "free") if value.last is not None else ()
        return [(f"{path}.{verb}", InstanceVerb(value, verb)) for verb in asked]
    if isinstance(value, Instance | Chain):
        return [(path, value)]
    if isinstance(value, list):
        return [t for i, v in enumerate(value) for t in _targets(f"{path}[{i}]", v)]
    return []


def _first(target: Value, path: str, span: Span) -> Instance:
    """The instance whose ports are those of the function. Raises DlnError where there is none, or
    where nothing says how large they are."""
    while isinstance(target, Chain) and target.parts:
        target = target.parts[0]
    if not isinstance(target, Instance):
        raise Fault(f"{path} begins with a function, which has no sizes").at(span)
    if target.last is None:
        text = f"{path} is applied nowhere, so nothing says how large its ports are"
        raise Fault(text).at(span)
    return target


def _as_function(
    b: Build, path: str, target: Value, span: Span, refused: dict[str, Problem]
) -> Applied:
    if isinstance(target, InstanceVerb):
        return _of_machine(b, path, target)
    first = _first(target, path, span)
    made, use = _fitting(b, path, target, first)
    if not first.timed:
        return made
    try:
        step = _one_step(b, path, target, first, use)
    except DlnError as error:
        if error.problems[0].code not in NO_STEP:
            raise
        refused[f"{path}.step"] = error.problems[0]
        return made
    return made.changed(step=step)


def _fitting(b: Build, path: str, target: Value, first: Instance) -> tuple[Applied, Use]:
    """The function for ports as they are declared, without a domain for any number; where its
    equations ask for more, as for a probability, for ports of what the spec itself hands them.
    Raises the first refusal."""
    refusal: DlnError | None = None
    general: Use = tuple(
        ("index" if p.domain is not None and p.domain.name == "class" else "real", p.domain)
        for p in first.ports
    )
    for use in dict.fromkeys([general, *first.uses]):
        try:
            return _whole(b, path, target, first, use), use
        except DlnError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _whole(b: Build, path: str, target: Value, first: Instance, use: Use) -> Applied:
    """The function over whole sequences, where the ports take any; of those of unequal lengths
    inputs say how long each is."""
    names = _lengths_of(b, first)
    type = TensorType((BATCH_SIZE,), ("batch",), "index")
    made = {n: b.at(first.span)("input", name=n, type=type) for n in dict.fromkeys(names.values())}
    ends = {port: made[name] for port, name in names.items()}
    ports = _ports(b, path, first, use, stepping=False, ends=ends)
    values = _results(b, path, target, first, ports)
    results = {}
    for k, v in values.items():
        node = lengths.cleared(b, broadcasting.as_tensor(b, v, first.span), first.span)
        results[k] = time_axis.batch_first(b, node, first.span)
    return Applied(path, {**ports, **made}, results, ends=names)


def _lengths_of(b: Build, first: Instance) -> dict[str, str]:
    """For each port whose sequences are of unequal lengths, the input that says how long: `length`
    for all of them, and where they end apart one called after the first that ends so."""
    ports = first.definition.syntax.ports
    known = {p.name: first.along[i] for i, p in enumerate(ports) if i in first.along}
    uneven = {name: size for name, size in known.items() if lengths.extent(b, size) is not None}
    if not first.uneven or LENGTH in [port.name for port in ports]:
        return {}
    if len(set(uneven.values())) < 2:
        along = zip(ports, first.ports, strict=True)
        return dict.fromkeys((p.name for p, (running, *_) in along if TIME in running), LENGTH)
    called: dict[Size, str] = {}
    return {k: called.setdefault(size, f"{k}_{LENGTH}") for k, size in uneven.items()}


def _ports(
    b: Build,
    path: str,
    first: Instance,
    use: Use,
    stepping: bool,
    ends: Mapping[str, Node] = NO_ENDS,
) -> dict[str, Node]:
    """The inputs of a function; in one step, without time. `ends` say where sequences end."""
    ports: dict[str, Node] = {}
    declared = zip(first.definition.syntax.ports, first.ports, use, strict=True)
    for i, (port, (running, sizes, _), (kind, domain)) in enumerate(declared):
        shape = _fixed(b, path, port.name, sizes, port.span)
        axes = () if stepping else running
        if "time" in axes:  # as many steps as the sequences it was applied to
            steps = b.sizes.resolve(first.along.get(i, first.steps))
            end = ends.get(port.name)
            shape = (steps if end is None else lengths.of_data(b, steps.constant, end), *shape)
        type = TensorType((BATCH_SIZE, *shape), ("batch", *axes), kind).like(domain=domain)
        ports[port.name] = b.at(port.span)("input", name=port.name, type=type)
    return ports


def _fixed(b: Build, path: str, name: str, sizes: tuple[Size, ...], span: Span) -> tuple[Size, ...]:
    """The sizes of a port, all of them known. Raises DlnError where one is not."""
    if None in [b.number(x) for x in sizes]:
        raise Fault(f"{path} has no fixed size: nothing says how large {name} is").at(span)
    return tuple(b.sizes.resolve(x) for x in sizes)


def _alone(b: Build, path: str) -> Frame:
    """The frame in which an instance is laid out by itself."""
    return Frame(next(b.counter), path, batched=True, alone=True)


def _results(
    b: Build, path: str, target: Value, first: Instance, ports: Mapping[str, Value]
) -> dict[str, Value]:
    """The results by name; an equation that failed before is a problem by now."""
    b = b if b.time.stepping else replace(b, frame=_alone(b, path))
    given = [(n, first.span) for n in ports.values()]
    try:
        result = apply(b, target, given, first.span)
    except Poisoned:
        raise Fault(f"{path} has no value on its own").at(first.span) from None
    if isinstance(result, Results):
        return dict(result.values)
    while isinstance(target, Chain):
        target = target.parts[-1]
    named = target.definition.syntax.results if isinstance(target, Instance) else ()
    return {named[0].name if named else "y": result}


def _of_machine(b: Build, path: str, target: InstanceVerb) -> Applied:
    """`session.R.up(v)`: what is asked of a machine, over a batch of one side of its units."""
    made, ports = target.instance, dict[str, Node]()
    for g in (g for g in made.groups if g.hidden == (target.verb == "down")):
        shape = _fixed(b, path, g.name, g.sizes, g.span)
        kind: Kind = "real" if g.classes is None else "index"
        domain = PROB if g.domain.name == "binary" else g.domain
        type = TensorType((BATCH_SIZE, *shape), ("batch",), kind, domain)
        ports[g.name] = b.at(g.span)("input", name=g.name, type=type)
    b = replace(b, frame=_alone(b, path))
    result = apply(b, target, [(n, made.span) for n in ports.values()], made.span)
    others = [g.name for g in made.groups if g.name not in ports]
    if not others and target.verb != "free":
        raise Fault(f"{made.name} has no hidden units").at(made.span)
    name = "energy" if target.verb == "free" else others[0]
    values = result.values if isinstance(result, Results) else {name: result}
    found = {k: broadcasting.as_tensor(b, v, made.span, k) for k, v in values.items()}
    return Applied(path, ports, found)


def _one_step(b: Build, path: str, target: Value, first: Instance, use: Use) -> Applied:
    """The one-step form of an instance: what it remembers is given, and given back. Raises
    DlnError where its equations look at a sequence as a whole."""
    frame = replace(_alone(b, path), asked={})
    ports = _ports(b, path, first, use, stepping=True)
    inner = replace(b, frame=frame, time=replace(b.time, stepping=True, entered=first))
    given = [(n, first.span) for n in ports.values()]
    entries = one_step.entering(inner, first, given, first.span)
    entering = {k: v for k, (v, _) in zip(ports, entries, strict=True)}
    values = _results(inner, path, target, first, entering)
    results = {}
    for name, value in values.items():
        node = broadcasting.as_tensor(b, value, first.span)
        results[name] = broadcasting.as_tensor(b, one_step.stepped(b, node, first.span), first.span)
    asked = (frame.asked or {}).items()
    carried = {held["name"]: (begun, held, frame.memory[key]) for key, (begun, held) in asked}
    return Applied(path, ports, results, carried=carried)
