"""Instances as functions: what Python calls, over a batch of its own."""

from __future__ import annotations

from dln.compiler import sequences, tensors
from dln.compiler.blocks import owned
from dln.compiler.calls import apply
from dln.compiler.graph import Node
from dln.compiler.model import Applied
from dln.compiler.sizes import BATCH_SIZE
from dln.compiler.state import Build
from dln.compiler.statics import lookup
from dln.compiler.tensor import PROB, Kind, TensorType
from dln.compiler.values import Chain, Instance, InstanceVerb, Record, Scope, Value
from dln.grammar.diagnostics import DlnError, Span


def applied(b: Build, scope: Scope) -> dict[str, Applied]:
    """Every instance of the spec that a phase applies, as a function for Python."""
    found: dict[str, Applied] = {}
    for name, binding in scope.names.items():
        if binding.static or name not in scope.names or b.problems.found:
            continue
        value = lookup(b, name, binding.span or Span(b.source, 0, 0), scope)
        for path, target in _targets(name, value):
            made = _as_function(b, path, target)
            if made is not None:
                found[path] = made
    return found


def _targets(path: str, value: Value) -> list[tuple[str, Value]]:
    if isinstance(value, Instance) and value.groups:
        asked = ("up", "down", "free") if value.last is not None else ()
        return [(f"{path}.{verb}", InstanceVerb(value, verb)) for verb in asked]
    if isinstance(value, Instance | Chain):
        return [(path, value)]
    if isinstance(value, list):
        return [t for i, v in enumerate(value) for t in _targets(f"{path}[{i}]", v)]
    return []


def _first(target: Value) -> Instance | None:
    while isinstance(target, Chain):
        if not target.parts:
            return None
        target = target.parts[0]
    return target if isinstance(target, Instance) and target.last is not None else None


def _as_function(b: Build, path: str, target: Value) -> Applied | None:
    if isinstance(target, InstanceVerb):
        return _of_machine(b, path, target)
    first = _first(target)
    if first is None:
        return None
    ports: dict[str, Node] = {}
    single: dict[str, Node] = {}
    syntax = first.definition.syntax
    for port, (running, sizes, domain) in zip(syntax.ports, first.ports, strict=True):
        kind: Kind = "index" if domain is not None and domain.name == "class" else "real"
        shape = tuple(b.sizes.resolve(x) for x in sizes)
        if any(x.value is None for x in shape):
            return None
        alone = TensorType((BATCH_SIZE, *shape), ("batch",), kind).like(domain=domain)
        single[port.name] = b.at(port.span)("input", name=port.name, type=alone)
        if "time" in running:  # as many steps as the sequences it was applied to
            shape = (b.sizes.resolve(first.steps), *shape)
        type = TensorType((BATCH_SIZE, *shape), ("batch", *running), kind)
        type = type.like(domain=domain)
        ports[port.name] = b.at(port.span)("input", name=port.name, type=type)
    with b.within(frame=b.new_frame("apply", batched=True, site=path)):
        given = [(n, first.span) for n in ports.values()]
        result = apply(b, target, given, first.span)
    values = result.values if isinstance(result, Record) else {_result_name(target): result}
    results = {
        k: sequences.batch_first(b, tensors.as_tensor(b, v, first.span), first.span)
        for k, v in values.items()
    }
    params = tuple(owned(b, target, first.span))
    timed = any("time" in n.type.running for n in ports.values())
    step = _one_step(b, path, target, first, single) if timed else None
    return Applied(path, ports, results, params, step)


REFUSED = ("E412", "E413")


def _of_machine(b: Build, path: str, target: InstanceVerb) -> Applied | None:
    """`session.R.up(v)`: what is asked of a machine, over a batch of one side of its units. None
    where sizes are open, or where the energy joins units."""
    made, ports = target.instance, dict[str, Node]()
    for g in (g for g in made.groups if g.hidden == (target.verb == "down")):
        shape = tuple(b.sizes.resolve(x) for x in g.sizes)
        if any(x.value is None for x in shape):
            return None
        kind: Kind = "real" if g.classes is None else "index"
        domain = PROB if g.domain.name == "binary" else g.domain
        type = TensorType((BATCH_SIZE, *shape), ("batch",), kind, domain)
        ports[g.name] = b.at(g.span)("input", name=g.name, type=type)
    try:
        with b.within(frame=b.new_frame("apply", batched=True, site=path)):
            result = apply(b, target, [(n, made.span) for n in ports.values()], made.span)
    except DlnError as e:
        if any(p.code not in REFUSED for p in e.problems):
            raise
        return None  # the energy has no such conditional, and the spec does not ask for it
    others = [g.name for g in made.groups if g.name not in ports]
    name = "energy" if target.verb == "free" else others[0]
    values = result.values if isinstance(result, Record) else {name: result}
    params = tuple(owned(b, made, made.span))
    return Applied(path, ports, dict(values), params)


def _one_step(
    b: Build, path: str, target: Value, first: Instance, ports: dict[str, Node]
) -> Applied | None:
    """The one-step form of an instance: what it remembers is given, and given back. None where its
    equations look at a sequence as a whole."""
    frame = b.new_frame("apply", batched=True, site=path, asked={})
    try:
        with b.within(frame=frame, stepping=True):
            result = apply(b, target, [(n, first.span) for n in ports.values()], first.span)
    except DlnError:
        return None
    values = result.values if isinstance(result, Record) else {_result_name(target): result}
    results = {k: tensors.as_tensor(b, v, first.span) for k, v in values.items()}
    carried = {
        held["name"]: (begun, held, frame.memory[key])
        for key, (begun, held) in (frame.asked or {}).items()
    }
    return Applied(path, ports, results, (), None, carried)


def _result_name(target: Value) -> str:
    while isinstance(target, Chain):
        target = target.parts[-1]
    results = target.definition.syntax.results if isinstance(target, Instance) else ()
    return results[0].name if results else "y"
