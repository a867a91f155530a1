"""Equations: the names they bind, each worked out when it is first asked for."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod

from dln.compiler.frontend.context import (
    broadcasting,
    counting,
    lengths,
    standing,
    static_values,
    time_axis,
)
from dln.compiler.frontend.context.build_context import (
    Binding,
    Build,
    Instance,
    Naming,
    Scope,
    Value,
)
from dln.compiler.frontend.context.frame import Drawing
from dln.compiler.frontend.context.place import Poisoned, replace
from dln.compiler.frontend.context.ports import port_sizes
from dln.compiler.frontend.context.values import INDEX, IndexVar
from dln.compiler.frontend.tensors import adding_up, axes
from dln.compiler.frontend.tensors.domains import want_domain
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import Reason, Size, Var
from dln.compiler.ir.structure import is_draw, is_input
from dln.compiler.ir.tensor_type import TIME, IndexAxis
from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Note, Span


def bind_flat(b: Build, body: Sequence[s.Item | s.Stmt], scope: Scope) -> None:
    """Bind the names that some statements define, but for those in a `for`."""
    b.bind([x for x in body if not isinstance(x, s.For)], scope)


def unrolled(
    b: Build,
    body: Sequence[s.Item | s.Stmt],
    scope: Scope,
    bind: Callable[[Build, s.For, int, Scope], None] | None = None,
) -> Iterator[tuple[s.Item | s.Stmt, Scope]]:
    """The statements of a check, task or phase with their scopes, `for` unrolled; each round of one
    binds names, draws and makes instances of its own."""
    for st in body:
        if not isinstance(st, s.For):
            yield st, scope
            continue
        for number, inner in enumerate(static_values.rounds(b, st, scope)):
            if bind is None:
                bind_flat(b, st.body, inner)
            else:
                bind(b, st, number, inner)
            yield from unrolled(b, st.body, inner, bind)


OF_BLOCKS: dict[type, str] = {
    s.Param: "param", s.Fixed: "fixed", s.Hidden: "hidden", s.Energy: "energy",
    s.Update: "update",
}  # fmt: skip


def refuse_misplaced(b: Build, body: Sequence[s.Item | s.Stmt], around: str) -> None:
    """What belongs to an instance as a whole stands directly in its block."""
    for st in body:
        if type(st) in OF_BLOCKS:
            word = OF_BLOCKS[type(st)]
            remedy = f"put it above the {around}"
            if around == "for":
                remedy = f"let part = ..., of a block that has this {word}"
            b.fail("E374", f"{word} stands in a block, not in a {around}", st.span, remedy=remedy)


def _refuse_first(b: Build, name: str, span: Span | None) -> None:
    """`h[0] = h0` beside a scan that defines h."""
    line = span.source.line(span.line).split("#")[0].strip() if span else ""
    if span and (first := re.match(rf"{name}\[\s*0\s*\](.*)", line)):
        text = f"{name}[0] is what the first step gives; before it stands {name}[-1]"
        start = span.source.starts[span.line - 1] + span.source.line(span.line).index(line)
        at = Span(span.source, start, start + first.start(1))
        if re.fullmatch(r"\s*=\s*0(?:\.0*)?", first[1]):
            fact = "before the first step it is 0 anyway: this line is left out"
            b.fail("E334", text, at, facts=(fact,))
        if re.search(r"\w\[\s*0\s*[,\]]", first[1]):
            fact = "the scan gives the first step as well, with 0 before it: this line is left out"
            b.fail("E334", text, at, facts=(fact,))
        b.fail("E334", text, at, remedy=f"{name}[-1]")
    if span and (
        chosen := re.match(rf"{name}\[([^\[\]]*(?:[<>]|[=!]=)[^\[\]]*)\]\s*=\s*(.+)", line)
    ):
        text = "a value does not change: a choice says what stands where"
        fact = f"as in {name} = {chosen[2]} if {chosen[1]} else ..."
        b.fail("E334", text, span, facts=(fact,))


def once(
    b: Build,
    scope: Scope,
    name: str,
    span: Span,
    find: Callable[[Build], Value],
    static: bool = False,
) -> None:
    """Bind a name that is not bound in this scope yet."""
    if (old := scope.names.get(name)) is not None:
        for at in (old.span, span):
            _refuse_first(b, name, at)
        notes = (Note(static_values.word(old.span, name), "first bound here"),) if old.span else ()
        text, at = f"{name} is bound twice", static_values.word(span, name)
        free = next((f"{name}{n}" for n in range(2, 10) if scope.lookup(f"{name}{n}") is None), "")
        fact = f"a value does not change: the second has a name of its own, as {free}"
        if re.match(rf"let\s+{name}\s*=\s*{name}\b", span.text):
            fact = (
                f"a block is a plan, and what is made of it has another name: let {free} = {name}()"
            )
        b.fail("E334", text, at, "bound again", notes, facts=(fact,) if free else ())
    time = b.time

    def where_it_stands(asker: Build) -> Value:
        """An equation is worked out in the time in which it stands, whoever asks for it first."""
        asker = counting.outside(asker)
        return find(asker if asker.time is time else replace(asker, time=time))

    scope.names[name] = Binding(span, where_it_stands, static)


def owner_of(scope: Scope) -> Instance | None:
    """The instance whose equations a scope belongs to."""
    return next((x.owner for x in scope.outwards() if x.owner is not None), None)


def promised(b: Build, name: str, scope: Scope) -> tuple[Size, ...] | None:
    """The sizes that the block of some equations promises for a result, if it is one."""
    made = owner_of(scope)
    if made is None:
        return None
    ports = (p for p in made.definition.syntax.results if p.name == name)
    return next((port_sizes(b, p, made.scope, made.sizes)[1] for p in ports), None)


def naming(path: str, scope: Scope) -> Naming:
    """How instances are called that an equation at a path makes."""
    return Naming(path, owner_of(scope), scope.space)


def let(b: Build, path: str, expr: s.Expr, scope: Scope) -> Value:
    return replace(b, naming=naming(path, scope)).evaluate(expr, scope)


def define(b: Build, st: s.Define, scope: Scope) -> Value:
    """`y = e`, or `y[i, j] = e` with bound indices."""
    path = scope.named(st.target.name)
    b = replace(b, naming=naming(path, scope))
    if st.adds:
        said = promised(b, st.target.name, scope)
        value: Value = adding_up.added_up(b, st, scope, said)
    else:
        value = b.evaluate(st.value, scope) if st.target.dims is None else _indexed(b, st, scope)
    value = _of_domain(b, st, value, scope)
    if not isinstance(value, Node):
        return value
    return b.mark(value, st.span, None if is_input(value) else path)  # an input has its own name


def _of_domain(b: Build, st: s.Define | s.Draw, value: Value, scope: Scope) -> Value:
    """What an equation gives, which is of the domain that is said, if one is."""
    domain = static_values.domain_of(b, st.target.domain, scope)
    if domain is None:
        return value
    node = broadcasting.as_tensor(b, value, st.value.span)
    want_domain(b, node, domain, st.value.span, st.target.name, "is said to be")
    return b.at(st.span)("asserted", node, domain=domain)


def _indexed(b: Build, st: s.Define, scope: Scope) -> Node:
    inner, indices, dims = scope.child(), list[IndexVar](), st.target.dims or ()
    if all(isinstance(d, s.Number) for d in dims):
        _refuse_shape(b, st, scope, [int(d.span.text) for d in dims if d.span.text.isdigit()])
    for d in dims:
        indices.append(_index(b, st, d, inner))
    node = static_values.tensor(b, st.value, inner)
    if node.type.kind != "index" or not _over_time(b, dims[0], scope):
        node = broadcasting.quantity(b, node, st.value.span)
    if _over_time(b, dims[0], scope):
        return _sequence(b, st, node, indices, scope)
    _refuse_sequence(b, st, node, indices)
    for index in indices:
        if b.sizes.resolve(index.size) == index.size:  # as open as when it began
            b.facts.counted[index.size.terms[0][0]] = st.target.span
    return axes.axes_stop(b, node, indices, st.span)


def _refuse_shape(b: Build, st: s.Define, scope: Scope, said: list[int]) -> None:
    """`i[1, 28, 28] = x`, whose sizes are those of the value, or are meant to become them."""
    node = None
    with contextlib.suppress(DlnError, Poisoned):
        node = static_values.tensor(b, st.value, scope)
    if node is None or not node.type.example:
        return
    sizes = [b.number(size) or 0 for size in node.type.example]
    name, value = st.target.name, broadcasting.whole_text(st.value.span.text)
    remedy = f"{name} = {value}" if sizes == said else ""
    if not remedy and len(said) > 1 and prod(sizes) == prod(said):
        remedy = f"{name} = reshape({value}, [{', '.join(map(str, said))}])"
    if remedy:
        text, label = f"the sizes of {name} follow from its equation", f"is {b.shown(node.type)}"
        b.fail("E318", text, st.span, "", (Note(st.value.span, label),), remedy)


def _index(b: Build, st: s.Define, d: s.Syntax, inner: Scope) -> IndexVar:
    """Bind an index of an equation: `i`, `i in 0..n-1`, or first of all `t in time`."""
    if not isinstance(d, s.Name | s.Ranged):
        name = st.target.name
        text = f"an equation gives all elements of {name}, not one of them"
        remedy = f"{name}[i] = ..., with an index; {name}[-1] = ... above a scan says what"
        remedy = f"{remedy} was before its first step"
        b.fail("E318", text, d.span, "is one place", remedy=remedy)
    name = d.id if isinstance(d, s.Name) else d.name
    static_values.refuse_shadow(b, name, d.span, inner, INDEX | Node)
    timed = _over_time(b, d, inner)
    if timed and d is not (st.target.dims or ())[0]:
        rest = [x.span.text for x in st.target.dims or () if x is not d]
        remedy = f"{st.target.name}[{', '.join([d.span.text, *rest])}]"
        b.fail("E318", "the time of a sequence comes first", d.span, "", remedy=remedy)
    size, ranged = Size.of(Var(name, span=d.span)), isinstance(d, s.Ranged) and not timed
    var = IndexVar(name, IndexAxis(name, next(b.counter)), size, ranged)
    if isinstance(d, s.Ranged) and not timed:
        numbers = static_values.listed(b, d.range, inner, name)
        if numbers != list(range(len(numbers))) or not numbers:
            text = "an axis has places 0, 1, 2, ..."
            first = numbers[0] if numbers and isinstance(numbers[0], int) else 1
            last = max(len(numbers), 1) - 1
            remedy = f"{name} in 0..{last}, and {name} + {first} in the equation"
            b.fail("E318", text, d.range.span, "are others", remedy=remedy)
        b.sizes.equate(size, len(numbers), Reason(d.span, d.span.text))
    inner.value(name, var, d.span)
    return var


def _over_time(b: Build, d: s.Syntax, scope: Scope) -> bool:
    """Whether an index is `t in time`, where no other thing is called so."""
    whole = d.range if isinstance(d, s.Ranged) else None
    return isinstance(whole, s.Name) and whole.id == TIME and scope.lookup(TIME) is None


def _sequence(
    b: Build, st: s.Define, node: Node, indices: Sequence[IndexVar], scope: Scope
) -> Node:
    """`h[t in time, i] = e`: what an index over time makes is a sequence again."""
    (index, *rest), at = indices, st.target.span
    if TIME in node.type.running or standing.is_sequence(b, node):
        whole = broadcasting.short(st.value.span.text)
        text = f"{whole} is all of a sequence, where {st.target.name} is said for each {index.name}"
        b.fail("E214", text, st.value.span, f"runs over time without {index.name}")
    counted = b.sizes.resolve(index.size) == index.size  # along no sequence
    node = axes.axes_stop(b, node, [index, *rest], at)
    if counted:
        length = _steps(b, st, index, scope)
        b.sizes.equate(index.size, length, Reason(at, "is a step"))
        node = lengths.resized(b, node, {len(node.type.running): length})
        node = lengths.of_each(b, node, at)
    made = b.at(at)("running", node, running=(*node.type.running, TIME))
    return time_axis.time_first(b, made, at)


def _steps(b: Build, st: s.Define, index: IndexVar, scope: Scope) -> Size:
    """How long a sequence is of which an equation knows its steps alone: as what its block gets."""
    owner, at = owner_of(scope), st.target.span
    if owner is None or not lengths.in_step(owner):
        text, label = f"how many steps does {st.target.name} have?", "runs along no sequence"
        b.fail("E338", text, at, label, remedy=f"{index.name} in 0..99")
    if b.time.stepping:
        standing.refuse(b, at, "is found for all steps")
    return owner.steps


def _refuse_sequence(b: Build, st: s.Define, node: Node, indices: Sequence[IndexVar]) -> None:
    """`h[t] = cell(x)`: what is given is all of the sequence, and `t` stands nowhere in it."""
    unread = any(i.axis not in node.type.running for i in indices)
    if unread and TIME in node.type.running and len(indices) == 1:
        name, t = st.target.name, indices[0].name
        whole = broadcasting.whole_text(st.value.span.text)
        text = f"{broadcasting.short(whole)} is all of the sequence: there is no {t} in it"
        b.fail("E214", text, st.target.span, f"is one for each {t}", (), name)


def draw(b: Build, st: s.Draw, scope: Scope) -> Node:
    """`h ~ bernoulli(p)`: drawn at each evaluation; the shape is the distribution's or declared."""
    path, dims = scope.named(st.target.name), st.target.dims
    shape = None if dims is None else tuple(static_values.size(b, d, scope) for d in dims)
    b = replace(b, naming=naming(path, scope))
    drawing = Drawing(b.site(path), shape)
    b = replace(b, drawing=drawing)
    drawn = _of_domain(b, st, static_values.tensor(b, st.value, scope), scope)
    assert isinstance(drawn, Node)
    if not drawing.used and not any(map(is_draw, ancestors([drawn]))):
        remedy = f"{st.target.span.text} = {broadcasting.whole_text(st.value.span.text)}"
        label = f"{broadcasting.short(st.value.span.text)} is no draw"
        b.fail("E343", "what stands after ~ is drawn", st.value.span, label, remedy=remedy)
    if shape is None and not drawn.type.example and drawn.type.kind == "real":
        b.facts.single[drawn] = st.target.span
    return b.mark(drawn, st.span, path)


def substituted(b: Build, node: Node, to: Mapping[Node, Node]) -> Node:
    """A value with other nodes in place of some."""
    new = dict(to)
    for n in ancestors([node]):
        if n not in new:
            operands = [new.get(o, o) for o in n.operands]
            if any(o is not p for o, p in zip(operands, n.operands, strict=True)):
                new[n] = Make(b.graph, b.graph.spans.get(n, ()))(n.op, *operands, **n.attrs)
    return new.get(node, node)
