"""Blocks: making instances with their options and parameters, and asking for their parts.

Calling a block with options makes an *instance*, which owns its parameters. A parameter is also an
option: what is given there takes its place, which ties or fixes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import (
    Binding,
    BlockDef,
    Build,
    Instance,
    PortType,
    Scope,
    Value,
)
from dln.compiler.frontend.context.missing import known
from dln.compiler.frontend.context.place import Poisoned, replace
from dln.compiler.frontend.context.ports import dims_text, fit, port_sizes
from dln.compiler.frontend.context.static_values import (
    domain_of,
    lookup,
    size,
    unknown,
)
from dln.compiler.frontend.context.values import APPLIED, CALLABLE, Function, InstanceVerb, describe
from dln.compiler.frontend.energy import groups
from dln.compiler.frontend.instances import application, first_values, unnamed
from dln.compiler.frontend.instances.options import option_values
from dln.compiler.frontend.scan import equations
from dln.compiler.frontend.tensors import mask_tables
from dln.compiler.ir import masks
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Conflict, Size
from dln.compiler.ir.structure import is_param
from dln.compiler.ir.tensor_type import TensorType, spoken
from dln.compiler.model import Parameter
from dln.grammar import syntax as s
from dln.grammar.diagnostics import CHOICES, Note, Span, nearest

INSTANCE = 50  # what making one costs, in expressions worked out

# ---- instances ---------------------------------------------------------------------------------


def instance(
    b: Build, definition: BlockDef, given: Sequence[s.Arg], scope: Scope, span: Span
) -> Instance:
    """A block with its options, named by where it stands; the same place gives the same one."""
    naming = b.naming
    path = base = naming.take()
    others = count(2)
    while (old := b.owned.instances.get(path)) is not None and old.span != span:
        path = f"{base}_{next(others)}"  # two places of one line: a list, and what is made of it
    if old is not None:
        return old
    syntax = definition.syntax
    b.spend(INSTANCE, span)
    groups.check_block(b, syntax)
    inner = Scope(definition.scope, path, space=naming.space)
    made = inner.owner = Instance(definition, path, inner, span, naming.path, naming.owner, b.calls)
    options = option_values(b, syntax, given, scope, span)
    said, declared = set(options), {o.name: o for o in syntax.options}
    for option in syntax.options:
        if option.name not in options and option.default is not None:
            options[option.name] = (option.default, made.scope, option.span)
    for name, (expr, where, at) in options.items():
        said_as = declared.get(name)
        find = partial(_option, made=made, name=name, expr=expr, scope=where, declared=said_as)
        if said_as is not None and said_as.default is not expr:
            find = partial(_function_where_meant, find=find, made=made, given=given, option=said_as)
        made.scope.names[name] = Binding(at, find)
    inside = replace(b, calls=made.making)
    for port in syntax.ports:
        running, sizes = port_sizes(inside, port, made.scope, made.sizes)
        domain = domain_of(inside, port.domain, made.scope, made.sizes)
        made.ports.append(PortType(running, sizes, domain))
    _refuse_twice(b, syntax)
    _bind_owned(made, syntax, said)
    if groups.machine_of(syntax) is not None:
        groups.find_groups(inside, made)
    b.owned.instances[path] = made
    if not syntax.results and not made.groups:  # it is there for its parameters
        b.built.met.add(id(syntax))
    return made


def _option(
    b: Build, made: Instance, name: str, expr: s.Expr, scope: Scope, declared: s.Option | None
) -> Value:
    """An option's value; one declared with sizes, as `W[m, n]`, is a tensor of that shape."""
    naming = equations.naming(made.scope.named(name), made.scope)
    value = replace(b, naming=naming).evaluate(expr, scope)
    if declared is None or declared.dims is None:
        return value
    node = broadcasting.as_tensor(b, value, expr.span, name)
    port = s.Port(name, declared.dims, None, span=declared.span)
    _, wanted = port_sizes(b, port, made.scope, made.sizes)
    fit(b, node, (), wanted, expr.span, f"{made.name} takes {name}{dims_text(port)}", declared.span)
    return node


def _refuse_hidden(b: Build, made: Instance, option: s.Option, value: Instance) -> None:
    """`act = sigmoid`, where `let sigmoid = dense(50)` stands above."""
    at = made.scope.names[option.name].span or made.span
    if not at.text.isidentifier() or at.source is not b.source:
        return
    if isinstance(known(b, made.definition.scope.lookup(at.text)), Function):
        text = f"{at.text} is an instance here, and no longer the function {at.text}"
        fact = f"another name mends it where it is defined: {at.text}_layer"
        where = (Note(value.span, "is defined here"),)
        b.fail("E324", text, at, f"is {describe(value)}", where, "", (fact,))


def _function_where_meant(
    b: Build,
    find: Callable[[Build], Value],
    made: Instance,
    given: Sequence[s.Arg],
    option: s.Option,
) -> Value:
    """The value of an option that was given: a function where its default is one."""
    value, default, names = find(b), option.default, made.definition.scope
    if isinstance(value, Instance) and isinstance(default, s.Name):
        _refuse_hidden(b, made, option, value)
    if not isinstance(default, s.Name) or isinstance(value, APPLIED):
        return value
    example = known(b, names.lookup(default.id))
    if not isinstance(example, CALLABLE):
        return value
    at = made.scope.names[option.name].span or made.span
    text = f"{option.name} of {made.name} is a function, as {default.id} is"
    label, remedy = f"is {describe(value)}", ""
    if isinstance(value, int | float):
        _refuse_order(b, made, given, text)
        _refuse_inputs(b, made, given, Note(at, label), text)
        if isinstance(example, Function):
            takes = ", ".join(p.name for p in example.syntax.ports)
            line = f"fn first({takes}) = {broadcasting.whole_text(at.text)}"
            remedy = f"{line}, on a line of its own, and {option.name} = first"
        if (call := re.fullmatch(r"(\w+)\(.*\)", at.text)) is not None:
            fact = f"{call[1]} alone is the function; one with other numbers is a fn of your own"
            b.fail("E324", text, at, label, facts=(fact,))
    if isinstance(value, str) and value.casefold() in ("same", "valid"):
        from dln.grammar.idioms.names import PADDED  # late: what is given is mostly right

        fact = PADDED if value.casefold() == "same" else "without a border nothing is said of it"
        b.fail("E324", text, at, label, facts=(fact,))
    if isinstance(value, str):
        found = (k for k in names.visible() if isinstance(known(b, names.lookup(k)), CALLABLE))
        from dln.grammar.idioms.names import same  # late: what is given is mostly right

        callable_ = list(found)
        remedy = same(value, callable_) or nearest(value, callable_) or ""
    if isinstance(value, Node) and made.timed:
        fact = "a first state is said above the scan of a block of one's own: h[-1] = h0"
        b.fail("E324", text, at, label, facts=(fact,))
    if isinstance(value, Node) and (call := re.fullmatch(r"(\w+)\([^()]*\)", at.text)):
        remedy = call[1]  # `act = relu(x)`
    b.fail("E324", text, at, label, remedy=remedy)


def _refuse_order(b: Build, made: Instance, given: Sequence[s.Arg], text: str) -> None:
    """`dense(relu, 50)`: a function where a number stands, and the number where it does."""
    first = made.scope.names.get(made.definition.syntax.options[0].name)
    swapped = len(given) == 2 and not any(isinstance(a, s.Named) for a in given)
    if (
        swapped
        and first is not None
        and isinstance(next(iter(first.cache.values()), None), CALLABLE)
    ):
        remedy = f"{made.name}({given[1].span.text}, {given[0].span.text})"
        b.fail("E324", text, made.span, "is given them the other way round", (), remedy)


def _refuse_inputs(b: Build, made: Instance, given: Sequence[s.Arg], note: Note, text: str) -> None:
    """`dense(784, 10)`: the number of inputs, which is not said, before the first option."""
    options = [o.name for o in made.definition.syntax.options]
    second = len(given) > 1 and given[1].span == note.span
    if second and isinstance(lookup(b, options[0], note.span, made.scope), int | Size | Node):
        rest = ", ".join(broadcasting.whole_text(a.span.text) for a in given[1:])
        fact = f"{made.name} takes {', '.join(options)}; its inputs are those of what it is given"
        remedy = f"{made.name}({rest})"
        facts: tuple[str, ...] = (fact,)
        if isinstance(given[0], s.Binary):  # a comma may stand for an operator
            facts, remedy = (f"{fact}: {remedy}",), ""
        b.fail("E324", text, made.span, "is given its inputs too", (note,), remedy, facts)


# ---- parameters --------------------------------------------------------------------------------


def _refuse_twice(b: Build, syntax: s.Block) -> None:
    """A parameter or let with the name of another, or of a port; an equation with that of one."""
    first = {p.name: p.span for p in syntax.ports}
    ports = set(first)
    for st in syntax.body:
        named = [(d.name, d.span) for d in st.declared] if isinstance(st, s.Param | s.Fixed) else []
        if isinstance(st, s.Let):
            named = [(st.name, st.span)]
        for name, at in named:
            if name in first:
                b.refuse_again(f"{name} is declared twice in {syntax.name}", at, first[name])
            first[name] = at
    for st in syntax.body:
        if isinstance(st, s.Define | s.Draw) and (name := st.target.name) in first:
            if name not in ports:
                text = f"{name} is declared in {syntax.name} already, and is no equation"
                b.refuse_again(text, st.target.span, first[name])


def _bind_owned(made: Instance, syntax: s.Block, given: set[str]) -> None:
    """The parameters and lets of a block: what an instance has before it is applied."""
    for st in syntax.body:
        if isinstance(st, s.Param | s.Fixed):
            for d in st.declared:
                option = made.scope.names.get(d.name) if d.name in given else None
                train = isinstance(st, s.Param)
                find = partial(_parameter, made=made, d=d, trainable=train, option=option)
                made.scope.names[d.name] = Binding(d.span, find)
        elif isinstance(st, s.Let):
            path = made.scope.named(st.name)
            let = partial(equations.let, path=path, expr=st.value, scope=made.scope)
            made.scope.names[st.name] = Binding(st.span, let)


def _parameter(
    b: Build, made: Instance, d: s.Declared, trainable: bool, option: Binding | None
) -> Node:
    """A parameter's node, or what the option of that name puts in its place."""
    wanted = tuple(size(b, e, made.scope) for e in d.dims or ())
    options = {o.name for o in made.definition.syntax.options}
    for e, n in zip(d.dims or (), wanted, strict=True):
        if b.number(n) == 0 and (isinstance(e, s.Number) or e.span.text in options):
            b.fail("E212", f"a size is at least 1: {d.name} has no entries", e.span, "is 0")
    table = mask_tables.table(b, d, made.scope, wanted)
    if option is not None:
        node = broadcasting.as_tensor(b, option.find(b), option.span or d.span, d.name)
        _fit_tied(b, made, d, node, wanted, option.span or d.span)
        return node if table is None else masks.cut(b.at(d.span), node, table)
    path = f"{made.path}.{d.name}"
    facts = {} if table is None else {"joins": table}
    node = b.at(d.span)("param", path=path, type=TensorType(wanted), **facts)
    if path not in b.owned.params:
        b.mark(node, d.span, path)
        kind = made.scope.space.kind
        b.owned.params[path] = Parameter(
            node, None, d.span, kind, path=path, trainable=trainable, joins=table
        )
        b.owned.owners[path] = made
        b.owned.inits.append(
            partial(first_values.initial, path=path, d=d, made=made, wanted=wanted)
        )
    return node


def _fit_tied(
    b: Build, made: Instance, d: s.Declared, node: Node, wanted: Sequence[Size], span: Span
) -> None:
    """What is given in place of a parameter has its shape."""

    def complain(c: Conflict | None) -> NoReturn:
        sizes = ", ".join(str(b.sizes.resolve(w)) for w in wanted)
        found = node.type.example
        notes = _tie_notes(b, made, node, wanted, span)
        flipped = [b.sizes.resolve(f) for f in found] == [b.sizes.resolve(w) for w in wanted][::-1]
        remedy = f"{d.name} = {span.text}'" if flipped and len(found) == 2 else ""
        label = f"is {b.shown(node.type)}, but {made.path.rsplit('.')[-1]} needs {d.name}[{sizes}]"
        b.fail("E203", "the tied weights have the wrong shape", span, label, notes, remedy)

    if node.type.running:
        _runs(b, made, d, node, span)
    why = f"{d.name} = {broadcasting.short(span.text)}"
    b.same_shape(wanted, node.type.example, span, why, complain)


def _runs(b: Build, made: Instance, d: s.Declared, node: Node, span: Span) -> NoReturn:
    """A parameter is the same for all examples; what is given in its place is not."""
    axes = [spoken(a) for a in node.type.running]
    each = {"batch": "example", "time": "step"}
    one = " and ".join(each.get(a, f"value of {a}") for a in axes)
    it, text = made.path.rsplit(".", maxsplit=1)[-1], broadcasting.whole_text(span.text)
    mean = f"{d.name} = mean({', '.join(axes)}: {text})"
    remedy = f"a port of {made.name} in place of {d.name}, or {mean}"
    label = f"is {b.shown(node.type)} for each {one}, but {it} has one {d.name}"
    notes = (Note(d.span, "the parameter"),) if d.span.source is span.source else ()
    b.fail("E203", f"a parameter is the same for every {one}", span, label, notes, remedy)


def _tie_notes(
    b: Build, made: Instance, node: Node, wanted: Sequence[Size], span: Span
) -> tuple[Note, ...]:
    """What fixed both shapes: the instance that owns the one, the ports of the other."""
    notes: list[Note] = []
    owner = b.owned.owners.get(node["path"]) if is_param(node) else None
    if owner is not None and owner.span.source is span.source:
        text = f"{broadcasting.short(span.text)} is {b.shown(node.type)}: {_facts(b, owner)}"
        notes.append(Note(owner.span, text))
    for var in dict.fromkeys(v for w in wanted for v, _ in w.terms):
        for reason in b.sizes.proof(Size.of(var))[:1]:
            if reason.span is not None and all(n.span != reason.span for n in notes):
                it = made.path.rsplit(".")[-1]
                text = f"{reason.text}, so {it} has {var} = {b.resolve(Size.of(var))}"
                notes.append(Note(reason.span, text))
    return tuple(notes)


def _facts(b: Build, made: Instance) -> str:
    """`m = 500, n = 784 from x (line 3)`: the sizes of an instance and where they come from."""
    facts = []
    for option in made.definition.syntax.options:
        value = lookup(b, option.name, made.span, made.scope)
        if isinstance(value, int | Size):
            facts.append(f"{option.name} = {b.resolve(Size.of(value))}")
    for name, var in made.sizes.items():
        reason = b.sizes.proof(Size.of(var))[:1]
        at = reason[0].span if reason else None
        origin = f" from {broadcasting.short(at.text)} (line {at.line})" if at else ""
        facts.append(f"{name} = {b.resolve(Size.of(var))}{origin}")
    return ", ".join(facts)


# ---- parts of an instance ----------------------------------------------------------------------


def attribute(b: Build, made: Instance, name: str, span: Span) -> Value:
    """`net.W`, `net.m`, `net.n`, `net.enc`, or a tensor of its latest application here."""
    if name in made.scope.names:
        return lookup(b, name, span, made.scope)
    verbs = groups.VERBS if made.groups else ("step", "read")
    if name in verbs:
        return InstanceVerb(made, name)
    body = application.latest(b, made, span)
    if body is not None and name in body.names:
        found = lookup(b, name, span, body)
        if made.groups:
            _refuse_unknown(b, made, name, found, span)
        return found
    lines = (x for x in made.definition.syntax.body if isinstance(x, s.Define | s.Draw))
    if body is None and name in (x.target.name for x in lines):
        if b.problems.found:
            raise Poisoned
        text = f"{name} has no value before {made.path} is applied"
        notes = (Note(made.span, "is applied nowhere before"),)
        ports, named = made.definition.syntax.ports, f"{made.path}.{name}"
        results = [p.name for p in made.definition.syntax.results]
        if span.source.text[: span.stop].endswith(named) and name in results:
            whole = Span(span.source, span.stop - len(named), span.stop)
            remedy = f"{made.path}({', '.join(p.name for p in ports)})"
            remedy += f".{name}" if len(results) > 1 else ""
            b.fail("E335", text, whole, "has no value", notes, remedy)
        b.fail("E335", text, span, "has no value", notes)
    parts = [*made.scope.names, *(body.names if body else ()), *(verbs if made.groups else ())]
    deep = [path for path in b.owned.params if path.startswith(f"{made.path}.")]
    low = {"weight": "W", "weights": "W", "kernel": "W", "bias": "b"}.get(name, name)
    meant = [path.removeprefix(f"{made.path}.") for path in deep if path.endswith(f".{low}")]
    meant = meant or [low] * (low != name and low in made.scope.names)
    hint = f"{CHOICES}{', '.join(meant)}" if 1 < len(meant) <= 12 else "".join(meant[:1])
    facts = () if hint or nearest(name, parts) else unnamed.parts_of(made)
    if facts:
        b.fail("E301", f"{made.path} has no part {name}", span, "unknown", facts=facts)
    unknown(b, "part", name, span, parts, made.path, hint=(lambda: hint) if hint else None)


def _refuse_unknown(b: Build, made: Instance, name: str, value: Value, span: Span) -> None:
    """A tensor of an energy has a value for the groups that are given."""
    from dln.compiler.frontend.energy import derivation  # late: most specs have no energy

    if derivation.needs_unknown(value):
        remedy = f"{made.path}.energy({', '.join(g.name for g in made.groups)}) gives all of them"
        text = f"{name} has no value where some groups are unknown"
        b.fail("E335", text, span, "has no value", remedy=remedy)


def made_in(b: Build, expr: s.Expr, scope: Scope) -> Instance | None:
    """The instance that an equation of another one made: `net.h`, whose weights are `net.h.W`."""
    if not isinstance(expr, s.Attr):
        return None
    body = b.evaluate(expr.body, scope)
    owner = body if isinstance(body, Instance) else made_in(b, expr.body, scope)
    if owner is None:
        return None
    place = f"{owner.path}.{expr.name}"
    found = (i for i in b.owned.instances.values() if i.owner is owner and i.place == place)
    return next(found, None)


def live_only(b: Build, node: Node, param: Node, span: Span) -> Node:
    """A gradient or new value of a parameter, also of one moved in this step: 0 at its dead
    entries. (By a parameter itself `differentiate` sees to that.)"""
    paths = [k for k, moved in b.frame.params.items() if moved is param]
    return masks.live_only(b.at(span), node, b.owned.params[paths[0]].node) if paths else node
