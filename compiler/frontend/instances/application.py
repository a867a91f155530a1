"""Functions and instances applied to values.

Applying an instance works its equations out for given ports. Using an instance twice shares its
parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting, lengths, standing
from dln.compiler.frontend.context.blaming import Argument
from dln.compiler.frontend.context.build_context import Application, Build, Instance, Scope, Value
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.ports import Axes, dims_text, fit, port_sizes
from dln.compiler.frontend.context.static_values import domain_of, lookup
from dln.compiler.frontend.context.values import Function, Results
from dln.compiler.frontend.instances import by_place, promises, swapped
from dln.compiler.frontend.instances.typed_once import Work
from dln.compiler.frontend.scan.equations import substituted
from dln.compiler.frontend.scan.recurrences import at_step
from dln.compiler.frontend.tensors.domains import want_domain
from dln.compiler.frontend.tensors.pointwise import refuse_pairs
from dln.compiler.frontend.tracing.applied import Worked
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.sizes import Reason, Size
from dln.compiler.ir.structure import in_step
from dln.grammar import syntax as s
from dln.grammar.diagnostics import CHOICES, Note, Span, nearest

# ---- functions ---------------------------------------------------------------------------------


def call_function(
    b: Build, target: Function, values: Mapping[str, tuple[Value, Span]], span: Span
) -> Value:
    """A `fn` applied: its ports say which shapes and domains it takes."""
    if b.outside.trace is None:
        return _called(b, target, values, span)
    work, given = partial(_called, b, target, values, span), {k: v for k, (v, _) in values.items()}
    return b.outside.trace.function(b, target.syntax, given, work)


def _called(
    b: Build, target: Function, values: Mapping[str, tuple[Value, Span]], span: Span
) -> Value:
    b.built.met.add(id(target.syntax))
    scope = target.scope.child()
    mapped = maps_time(b, target.syntax.ports, [v for v, _ in values.values()])
    time = b.time if mapped == b.time.mapped else replace(b.time, mapped=mapped)

    def given(name: str) -> Argument | None:
        return Argument(values[name][1], values[name][0]) if name in values else None

    syntax = target.syntax
    swapped.refuse(b, syntax, values, span)
    with replace(b, time=time).call(span, syntax.name, syntax.span, given) as inner:
        for port in target.syntax.ports:
            value, at = values[port.name]
            beside = [v for v, _ in values.values() if isinstance(v, Node)]
            taken = _argument(inner, port, value, at, scope, target.syntax.name, beside)
            scope.value(port.name, taken, at)
        said = [p for p in target.syntax.ports if p.dims is not None or p.domain is not None]
        found = [(node, at, len(p.dims or ())) for p in said
                 for node, at in [values[p.name]] if isinstance(node, Node)]  # fmt: skip
        if len(found) > 1:  # those over time go together step by step, not each with each
            refuse_pairs(inner, *zip(*found, strict=True))
        result = inner.evaluate(target.syntax.value, scope)
        domain = domain_of(inner, target.syntax.domain, scope)
        if domain is None:
            return result
        node = broadcasting.as_tensor(inner, result, span)
        same = node.type.domain == domain
        return node if same else inner.at(span)("asserted", node, domain=domain)


def maps_time(b: Build, ports: Sequence[s.Port], values: list[Value], block: bool = False) -> bool:
    """Whether equations written for one step are mapped over time: their ports say what one step
    has, and none of them is a sequence. A port of a block without sizes is a single number; those
    of a function take anything, and leave it as it is outside."""
    if not ports or not (block or any(p.dims is not None for p in ports)):
        return b.time.mapped
    if any(isinstance(d, s.Name) and d.id == "time" for p in ports for d in p.dims or ()):
        return False
    return broadcasting.runs_over_time(b, values)


def _argument(
    b: Build, port: s.Port, value: Value, span: Span, scope: Scope, who: str, beside: Sequence[Node]
) -> Value:
    if port.dims is None and port.domain is None:
        return value
    node = broadcasting.as_tensor(b, value, span, f"{port.name} of {who}")
    if port.dims is not None:
        running, wanted = port_sizes(b, port, scope, {})
        if standing.is_sequence(b, node):
            running = tuple(a for a in running if a != "time")
        what = f"{who} takes {port.name}{dims_text(port)}"
        fit(b, node, running, wanted, span, what, port.span, beside)
    domain = domain_of(b, port.domain, scope, {})
    return node if domain is None else want_domain(b, node, domain, span, who, beside=beside)


# ---- instances ---------------------------------------------------------------------------------


def latest(b: Build, made: Instance, span: Span) -> Scope | None:
    """The names of an instance's latest application in this frame, with the parameters as they are
    now: where a step has moved some since then, it is applied again."""
    last = made.latest.get(b.frame)
    if last is not None and last.version != b.frame.version:
        now = b.frame.params
        to = {last.params.get(path, b.owned.params[path].node): node for path, node in now.items()}
        ports = [(substituted(b, node, to), span) for node in last.ports]
        if not any(map(in_step, ancestors(node for node, _ in ports))):  # a scan works its own out
            apply_instance(b, made, ports, span)
    return made.bodies.get(b.frame) or made.last


def _refuse_count(
    b: Build, made: Instance, given: Sequence[tuple[Value, Span]], span: Span
) -> NoReturn:
    """An instance given more or fewer values than its block has ports."""
    syntax = made.definition.syntax
    names = ", ".join(p.name for p in syntax.ports) or "nothing"
    count = f"{len(syntax.ports)} port{'s' * (len(syntax.ports) != 1)}"
    text, fact = f"{made.name} takes {count}, not {len(given)}", ""
    plain = [at.text for _, at in given if at.text in {p.name for p in syntax.ports}]
    if len(given) > len(syntax.ports) == len(plain):
        fact = f"as in {made.path}({', '.join(plain)})"
    if len(given) == 2 and given[0][1].text in ("params", "weights", "theta", "w", "state"):
        fact = f"its parameters are its own: {made.path}({given[1][1].text})"
    if not fact and made.path.isidentifier():
        fact = f"as in {made.path}({names.replace('nothing', '')})"
    b.fail("E322", text, span, f"takes {names}", facts=(fact,) if fact else ())


def apply_instance(
    b: Build, made: Instance, given: Sequence[tuple[Value, Span]], span: Span
) -> Value:
    """The results of an instance for given ports."""
    syntax = made.definition.syntax
    if made.groups:
        ports = ", ".join(p.name for p in syntax.ports)
        remedy = f"{made.path}.up({ports}) for the hidden units, {made.path}.free({ports})"
        text = f"{made.path} is an energy, which has no outputs"
        call = None
        if len(given) == 1 and span.text.isidentifier():  # in a pipeline
            remedy = f"{span.text}.up"
        elif (call := re.fullmatch(r"([\w.]+)(\(.*\))", span.text)) is not None:
            remedy = f"{CHOICES}{call[1]}.up{call[2]}, {call[1]}.free{call[2]}"
        both = f"{made.path}.down({made.path}.up({', '.join(a.text for _, a in given)}))"
        facts = (f"up gives the hidden units, {both} a reconstruction",)
        if made.path.endswith("]") and call is not None and call[1] != made.path:  # in a chain
            fact = "in a chain stands a function of it: fn up(x) = R.up(x), with let R = rbm(100)"
            b.fail("E415", text, span, "applies it", facts=(fact,))
        head = span.source.text[: span.start]
        if call is not None and re.search(r"\b(cd|gibbs|log_likelihood)\(\s*$", head):
            inside = f"{call[1]}, {call[2][1:-1]}"
            text = "a machine and what it is given stand side by side"
            b.fail("E415", text, span, "applies it", remedy=inside)
        b.fail("E415", text, span, "is applied", remedy=remedy, facts=facts)
    if len(given) != len(syntax.ports):
        _refuse_count(b, made, given, span)
    time = replace(b.time, mapped=maps_time(b, syntax.ports, [v for v, _ in given], block=True))
    if time.stepping and _of_its_own(b, made, given, span):
        time = replace(time, stepping=False, in_step=time.loop is not None or time.in_step)
    ports_at = {p.name: Argument(at) for p, (_, at) in zip(syntax.ports, given, strict=True)}

    def argument(name: str) -> Argument | None:
        return ports_at.get(name) or made.argument(name)

    with replace(b, time=time).call(span, made.name, syntax.span, argument) as b:
        b = replace(b, calls=(*b.calls[:-1], b.calls[-1]._replace(made=made.span)))
        before = made.steps, made.along, made.uneven
        made.along = {}
        nodes = [_port(b, made, i, value, at) for i, (value, at) in enumerate(given)]
        made.uses[tuple((n.type.kind, n.type.domain) for n in nodes)] = None
        loop = 0 if time.loop is None else time.loop.number  # each draws for itself
        key = (b.frame.version, loop, b.time.stretch, *b.time.round, *map(id, nodes))
        if b.time.stepping or b.time.reading:  # the same input may meet another state
            result = _body(b, made, nodes, span)
            if b.time.reading:  # what is read says nothing of how long other sequences are
                made.steps, made.along, made.uneven = before
            return result
        b.built.applied += 1
        if key not in made.memo:
            made.memo[key] = (_body(b, made, nodes, span), nodes)
        result, _ = made.memo[key]
        return result


def _of_its_own(b: Build, made: Instance, given: Sequence[tuple[Value, Span]], span: Span) -> bool:
    """Whether an instance inside a one-step form takes whole sequences, of each step its own. One
    along the sequence that steps moves on with it."""
    timed = zip(given, made.ports, strict=True)
    found = [
        broadcasting.as_tensor(b, v, at) for (v, at), (running, *_) in timed if "time" in running
    ]
    along = [standing.is_sequence(b, node) for node in found]
    if any(along) and not all(along):
        standing.refuse(b, span, "takes a sequence of its own with the one that steps")
    return bool(found) and not any(along)


def _port(b: Build, made: Instance, i: int, value: Value, span: Span) -> Node:
    port = made.definition.syntax.ports[i]
    running, sizes, domain = made.ports[i]
    node = broadcasting.as_tensor(b, value, span, f"{port.name} of {made.name}")
    who = f"{made.name} takes {port.name}{dims_text(port)}"
    node = _fitted(b, node, running, sizes, span, who, port)
    by_place.warn_of_channels(b, made.name, port, node.type.example, span)
    if "time" in running and not b.time.stepping:
        made.steps = made.along[i] = node.type.size_of("time")
        made.uneven = made.uneven or lengths.extent(b, made.steps) is not None
    return node if domain is None else want_domain(b, node, domain, span, made.name, absent=True)


def _fitted(
    b: Build, node: Node, running: Axes, sizes: Sequence[Size], span: Span, who: str, port: s.Port
) -> Node:
    """A tensor where a port of an instance stands, of which one step does not run over time. One
    with an axis more than the elements of a sequence is the sequence itself, where one is asked
    for: `[[1, 0], [0, 1]]` for `x[time, 2]`."""
    running = tuple(a for a in running if a != "time") if b.time.stepping else running
    type = node.type
    call = b.calls[-1].span
    inside = b.calls[-2:-1] == () and "[" in span.text and "time" in running
    if inside and "time" not in type.running and in_steps(node):
        head, _, given = call.text.partition("(")
        text, remedy = f"{who}, which runs over time", f"{head}.step({given}"
        b.fail("E214", text, call, "is given one step", (), remedy)
    if "time" in running and "time" not in type.running and len(type.example) == len(sizes) + 1:
        node = b.at(span)("running", node, running=(*type.running, "time"))
    fit(b, node, running, sizes, span, who, port.span)
    return node


def in_steps(node: Node) -> bool:
    """Whether a value is one of a step of a scan."""
    return any(map(in_step, ancestors([node])))


def _body(b: Build, made: Instance, nodes: Sequence[Node], span: Span) -> Value:
    """The equations of a block for given ports, all of them, and its results."""
    if b.outside.trace is None:
        return _worked_out(b, made, nodes, span)[0]
    return b.outside.trace.block(b, made, nodes, partial(_worked_out, b, made, nodes, span))


def _worked_out(b: Build, made: Instance, nodes: Sequence[Node], span: Span) -> Worked:
    syntax = made.definition.syntax
    b.built.applied += 1
    b.built.met.add(id(syntax))
    body = made.scope.child()
    body.owner = made
    for port, node in zip(syntax.ports, nodes, strict=True):
        body.value(port.name, node, port.span)
    b.bind(syntax.body, body)
    _refuse_shifted(b, made, body)
    if not b.time.stepping:
        frame = b.frame
        made.bodies[frame] = made.last = body
        made.latest[frame] = Application(tuple(nodes), frame.version, dict(frame.params))
    own, names = list(made.scope.names), list(body.names)
    for name in own:
        lookup(b, name, made.scope.names[name].span or span, body)
    work = Work(b, made, nodes, body)
    if (first := work.found) is not None:
        work.again(first)
    else:
        with work.kept():
            for name in names:
                lookup(b, name, (made.scope.names.get(name) or body.names[name]).span or span, body)
    if not syntax.results:
        b.fail("E415", f"{made.name} promises no result", span, "has no value",
               remedy=f"block {made.name}(...) -> y[m] {{ ... }}")  # fmt: skip
    results = {p.name: _result(b, made, p, body) for p in syntax.results}
    b.frame.remember(syntax.body, results.values(), b.calls, partial(b.evaluate, scope=body))
    value = next(iter(results.values())) if len(results) == 1 else Results(results)
    return value, results, lambda: {n: lookup(b, n, x.span or span, body)
                                    for n, x in list(body.names.items())}  # fmt: skip


def _in_scans(made: Instance) -> Iterator[tuple[str, s.Define]]:
    """The equations of the scans of a block, each with the name of its step."""
    scans = (st for st in made.definition.syntax.body if isinstance(st, s.Scan))
    return ((st.name, line) for st in scans for line in st.body if isinstance(line, s.Define))


def _refuse_shifted(b: Build, made: Instance, body: Scope) -> None:
    """`h[t+1] = ...`, which would give h no value at any step."""
    for t, line in _in_scans(made):
        first = line.target.dims[0] if line.target.dims else None
        if isinstance(first, s.Binary) and re.search(rf"\b{t}\b", first.span.text):
            if line.target.name not in body.names:
                _refuse_astray(b, made, line.target.name)


def _refuse_astray(b: Build, made: Instance, name: str) -> None:
    """A sequence that its scan defines without its step, or at another."""
    for t, line in _in_scans(made):
        if line.target.name == name:
            remedy = at_step(line.span.text, name, t, line.target.dims)
            text = f"a step defines {name}[{t}]; {name}[{t}-1] is what {name} was before it"
            b.fail("E331", text, line.target.span, f"is no {name}[{t}]", remedy=remedy)


def _counted_along(b: Build, made: Instance, node: Node) -> Node:
    """`p[i, k] = sin(i / 10^k)` for a result `p[time, n]`: as long as what the block is given."""
    lead, type = len(node.type.running), node.type
    if "time" in type.running or not type.example:
        return node
    counted = [v for v, _ in b.sizes.resolve(type.example[0]).terms if v in b.facts.counted]
    if not counted:
        return node
    b.sizes.equate(type.example[0], made.steps, Reason(b.facts.counted[counted[0]], "is a step"))
    node = lengths.resized(b, node, {lead: made.steps})
    return lengths.of_each(b, node, b.facts.counted[counted[0]])


def _result(b: Build, made: Instance, port: s.Port, body: Scope) -> Node:
    if port.name not in body.names:
        _refuse_astray(b, made, port.name)
        text, remedy = f"{made.name} has no equation for {port.name}", f"{port.name} = ..."
        lines = [st for st in made.definition.syntax.body if isinstance(st, s.Define)]
        last = lines[-1].target if lines else None
        read = len(re.findall(rf"\b{last.name}\b", made.definition.syntax.span.text)) if last else 0
        if last is not None and last.dims is None and read == 1:  # it is called otherwise
            notes = (Note(port.span, "is promised here"),)
            slip = port.name if nearest(last.name, [port.name]) else ""
            fact = f"is it {last.name} that is meant? then it is called {port.name}"
            b.fail("E301", text, last.span, "is read nowhere", notes, slip, () if slip else (fact,))
        b.fail("E301", text, port.span, "is promised here", remedy=remedy)
    node = broadcasting.as_tensor(b, lookup(b, port.name, port.span, body), port.span)
    running, sizes = port_sizes(b, port, made.scope, made.sizes)
    promises.refuse_rank(b, made, port, node, sizes, body)
    who = f"{made.name} promises {port.name}{dims_text(port)}"
    if b.time.stepping and "time" in running and not standing.runs(b, node):
        label = f"is {b.shown(node.type)}, which does not run over time"
        b.fail("E214", f"{who}, which runs over time", port.span, label)
    promises.refuse_timed(b, made, port, node, running, who, body)
    if "time" in running and lengths.in_step(made) and not b.time.stepping:
        node = _counted_along(b, made, node)
    node = _fitted(b, node, running, sizes, port.span, who, port)
    domain = domain_of(b, port.domain, made.scope, made.sizes)
    if domain is None or domain == node.type.domain:
        return node
    node = want_domain(b, node, domain, port.span, made.name, f"promises {port.name} as")
    return b.mark(b.at(port.span)("asserted", node, domain=domain), port.span)
