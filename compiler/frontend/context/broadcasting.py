"""Values as tensors, and tensors brought to one shape.

Everything is written for one example and mapped over the running axes. Scalars and equal shapes
combine freely; every other combination asks for an index.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from dln.compiler.frontend.context import counting, lengths, standing
from dln.compiler.frontend.context.build_context import Build, Chain, Instance, Value
from dln.compiler.frontend.context.size_places import (
    beside_result,
    declared_place,
    declared_sizes,
    either,
    instead,
    size_place,
)
from dln.compiler.frontend.context.values import (
    VALUE,
    Function,
    PhaseBest,
    Recurrence,
    Results,
    WholeGradient,
    describe,
    unfit,
    unquoted,
)
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Conflict, Size
from dln.compiler.ir.structure import bare, is_input, is_param
from dln.compiler.ir.tensor_type import Domain, TensorType, spoken
from dln.grammar.diagnostics import CHOICES, Note, Span

GRADIENT = "the gradient has the name that the first line of the optimiser gives it, as g"
SLOPES = {
    "sigmoid": "s * (1 - s), with s = sigmoid(z)",
    "relu": "1 if z > 0 else 0",
    "softplus": "sigmoid(z)",
}
ORDER = {"time": 0, "batch": 1}
"""Time runs first: what belongs to one step of a loop then lies together in memory."""


# ---- from static values ------------------------------------------------------------------------


def as_tensor(b: Build, value: Value, span: Span, what: str = "this") -> Node:
    """A value as a tensor: numbers and lists of numbers become constants."""
    if isinstance(value, Node):
        return value
    if isinstance(value, bool):
        return b.at(span).const(value, "bool")
    if isinstance(value, int | float):
        return b.at(span).const(float(value))
    if isinstance(value, Size):
        return b.at(span).size(value)
    if isinstance(value, list | range):
        return _list_tensor(b, value, span, what)
    if counting.is_index(value):
        return counting.number(b, value, span)
    from dln.grammar.idioms import written  # late: most values are tensors

    this = what == "this"
    need = "a tensor or a number is needed here" if this else f"{what} must be a tensor or a number"
    at, remedy = b.blame(value, span), unquoted(value, fraction=True)
    fact = GRADIENT if at.text == "grad" else ""
    if isinstance(value, Recurrence):
        own = re.match(rf"\s*{value.name}\[", at.source.line(at.line)) is not None
        t = value.scan.index
        remedy = f"{value.name}[{t}-1]" if own else f"{value.name}[{t}]"
    if isinstance(value, Instance) and (inner := written.given_first(value.span.text)) is not None:
        need = f"{value.name} is given its options; what it is applied to stands before an arrow"
        at, remedy = value.span, inner
    elif isinstance(value, Instance | Chain):
        ports = value.definition.syntax.ports if isinstance(value, Instance) else ()
        inside = ", ".join(p.name for p in ports) if b.frame.batched else ""
        remedy = f"{whole_text(at.text)}({inside or '...'})"
        remedy += "" if inside else ", applied to what it is given"
        if not whole_text(at.text).isidentifier() and written.reckoned_with(at):
            fact, remedy = _layers(at), ""
            if at.source.text[at.stop :].lstrip().startswith("+"):
                fact += "; one after another they are chain([f, g])"
        if at.source.text[at.stop :].lstrip().startswith("^"):
            fact, remedy = "a penalty is of weights, each by its name: sum(net.h.W^2)", ""
            if isinstance(value, Instance) and (weights := _weights(b, value)):
                fact, remedy = "", f"{whole_text(at.text)}.{weights}"
    elif at.text.isidentifier() and re.search(rf"(?m)^\s*{at.text}\s*:=", at.source.text):
        fact = f"what := sets is a state, declared above: state {at.text}[784] = 0"
    elif isinstance(value, Results):
        remedy = f"{CHOICES}{', '.join(f'{whole_text(at.text)}.{k}' for k in value.values)}"
    elif isinstance(value, PhaseBest):
        asked = [w.name for w in b.phases.made[value.phase].watches]
        remedy = CHOICES * (len(asked) > 1) + ", ".join(f"{whole_text(at.text)}.{k}" for k in asked)
    elif isinstance(value, WholeGradient):
        remedy, fact = f"norm({whole_text(at.text)})", "norm makes one number of all its entries"
    elif isinstance(value, str) and value.isidentifier() and what == "the loss":
        fact = f"a function is written without quotes, with what it is given: {value}(...)"
    elif isinstance(value, Function):
        takes = ", ".join(p.name for p in value.syntax.ports)
        fact = f"it is applied to what it is given: {value.syntax.name}({takes})"
        if at.text.endswith("'"):
            need, slope = "a function has no ' behind it", SLOPES.get(value.syntax.name)
            fact = f"its derivative is {slope or 'asked for by grad(e, x)'}"
    facts = (fact,) if fact else ()
    unfit(b, "E302", need, at, value, VALUE, remedy=remedy, facts=facts)


def _layers(at: Span) -> str:
    """How a layer is used that is reckoned with, `3 * dense(64)`."""
    if many := re.search(r"\b(\d+)\s*\*\s*$", at.source.text[: at.start]):
        return f"several of a kind are chain([for k in 1..{many[1]}: {whole_text(at.text)}])"
    return f"layers are applied: x -> {whole_text(at.text)}"


def _list_tensor(b: Build, value: Sequence[Value], span: Span, what: str) -> Node:
    """A list of numbers is a constant; a list of tensors of one shape is stacked."""
    if _any_tensor(value, lambda _: True) or any(map(counting.is_index, value)):
        parts = [as_tensor(b, v, span, what) for v in value]
        if any(p.type.kind != "index" for p in parts):  # classes may stand among classes
            parts = [quantity(b, p, span) for p in parts]
        first = parts[0].type

        def complain(c: Conflict | None, other: TensorType) -> NoReturn:
            label = f"is {b.shown(first)} and {b.shown(other)}"
            from dln.grammar.idioms import written  # late: most lists are right

            ranks = [len(p.type.example) for p in parts]
            remedy = written.end_to_end(span.text, ranks) if max(ranks) == 1 else ""
            text = "the entries of this list have different shapes"
            text += ": what stands end to end is joined by concat" if remedy else ""
            b.fail("E303", text, span, label, remedy=remedy)

        for p in parts[1:]:
            fail, why = partial(complain, other=p.type), "the entries of one list"
            b.same_shape(first.example, p.type.example, span, why, fail)
        parts = align(b, parts, span, full=True)
        make, lead, one = b.at(span), len(parts[0].type.running), Size.of(1)
        shapes = [(*p.type.lead, one, *p.type.example) for p in parts]
        lifted = [make("reshape", p, shape=s, running=p.type.running)
                  for p, s in zip(parts, shapes, strict=True)]  # fmt: skip
        return make("concat", *lifted, axis=lead) if len(lifted) > 1 else lifted[0]
    return b.at(span).const(_numbers(b, value, span, what))


def _any_tensor(value: Value, holds: Callable[[Node], bool]) -> bool:
    """Whether something holds of a tensor, or of one in a list."""
    if isinstance(value, list):
        return any(_any_tensor(v, holds) for v in value)
    return isinstance(value, Node) and holds(value)


def runs_over_time(b: Build, value: Value) -> bool:
    """Whether a value is a sequence or stands for one, or a list that becomes one."""
    return _any_tensor(value, partial(standing.runs, b))


def _numbers(b: Build, value: Value, span: Span, what: str) -> Any:
    if isinstance(value, list | range):
        rows = tuple(_numbers(b, v, span, what) for v in value)
        shapes = {_depth(r) for r in rows}
        if len(shapes) > 1:
            b.fail("E303", "the rows of this list have different lengths", b.blame(value, span))
        return rows
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, Size) and (number := b.number(value)) is not None:
        return float(number)
    this = what == "this"
    need = "a list of numbers is needed here" if this else f"{what} must be made of numbers"
    at = next((s for v, s in b.given if isinstance(v, list) and value in v), span)
    unfit(b, "E302", need, at, value, VALUE, f"holds {describe(value)}")


def _depth(rows: Any) -> tuple[int, ...]:
    return (len(rows), *_depth(rows[0])) if isinstance(rows, tuple) and rows else ()


def quantity(b: Build, value: Value, span: Span) -> Node:
    """A value as a tensor that arithmetic may take: truth values become 0 and 1, whole numbers
    reals; classes are refused."""
    node = as_tensor(b, value, span)
    if node.type.domain.name == "class":
        text = "a class is a name, not a quantity"
        label = f"is a {domain_text(b, node.type.domain)}"
        at = b.blame(node, span)
        told = f"{short(at.text)} as a number is a field of its own: number = raw.{short(at.text)}"
        facts = (told,) if is_input(bare(node)) else ()
        remedy = "onehot(...) turns a class into numbers; == compares classes"
        b.fail("E311", text, at, label, remedy=remedy, facts=facts)
    if node.type.kind != "real":
        return b.at(span)("cast", node, kind="real")
    return node


def domain_text(b: Build, domain: Domain) -> str:
    if domain.size is None:
        return domain.name
    return f"{domain.name}({b.sizes.resolve(domain.size)})"


def short(text: str) -> str:
    """A piece of source fit for the middle of a sentence."""
    text = whole_text(text)
    return text if len(text) <= 40 else text[:37] + "..."


def whole_text(text: str) -> str:
    """A piece of source on one line, as it may be pasted into a remedy."""
    return " ".join(text.split())


# ---- alignment ---------------------------------------------------------------------------------


def lead_of(b: Build, nodes: Iterable[Node], span: Span) -> TensorType:
    """The running axes of several tensors, time and batch first, then in order of appearance;
    where two tensors share one, the sizes must agree."""
    sizes: dict[str, Size] = {}
    for n in nodes:
        for axis, size in zip(n.type.running, n.type.lead, strict=True):
            if axis in sizes:
                equal(b, sizes[axis], size, span, f"both run over {spoken(axis)}")
            sizes[axis] = lengths.merged(b, sizes.get(axis, size), size)
    return runs(sizes)


def runs(sizes: Mapping[str, Size], example: tuple[Size, ...] = ()) -> TensorType:
    """The type of a tensor with these running axes, put in order."""
    running = tuple(sorted(sizes, key=lambda a: ORDER.get(a, 2)))
    return TensorType((*(sizes[a] for a in running), *example), running)


def equal(b: Build, left: Size, right: Size, span: Span, why: str) -> None:
    """Demand that two sizes agree at a place."""

    def fail(c: Conflict) -> NoReturn:
        left, right = b.sizes.resolve(c.left), b.sizes.resolve(c.right)
        facts = (c.remainder,) if c.remainder else ()
        notes = b.proof_notes(c.left, c.right, skip=span)
        b.fail("E201", f"the sizes {left} and {right} do not agree", span, why, notes, facts=facts)

    b.equate(left, right, span, why, fail)


def spread(b: Build, node: Node, like: TensorType, span: Span) -> Node:
    """A tensor broadcast to a full shape: its running axes go to theirs, its example to the end."""
    found = node.type
    if not found.shape or (found.shape, found.running) == (like.shape, like.running):
        return node
    lead = [like.running.index(a) for a in found.running]
    first = len(like.shape) - len(found.example)
    return placed(b, node, like, (*lead, *range(first, len(like.shape))), span)


def repeated(b: Build, node: Node, like: TensorType, span: Span) -> Node:
    """A tensor broadcast to a full shape, and a single number repeated over it."""
    if not node.type.shape:
        return b.at(span).broadcast(node, like, ())
    return spread(b, node, like, span)


def placed(b: Build, node: Node, like: TensorType, places: Sequence[int], span: Span) -> Node:
    """A tensor broadcast to a full shape, its axes at these places, in any order."""
    node = ordered(b, node, sorted(range(len(places)), key=lambda i: places[i]), span)
    return b.at(span).broadcast(node, like, tuple(sorted(places)))


def ordered(b: Build, node: Node, order: Sequence[int], span: Span) -> Node:
    """A tensor with its axes in another order."""
    if list(order) == sorted(order):
        return node
    return b.at(span)("transpose", node, perm=tuple(order))


def align(
    b: Build, nodes: Sequence[Node], span: Span, spans: Sequence[Span] = (), full: bool = False
) -> list[Node]:
    """Tensors brought to one shape, as a pointwise operation needs them; the single numbers among
    them stay, but for `full` shapes, as where tensors are joined."""
    shaped = [i for i, n in enumerate(nodes) if n.type.example]
    example = nodes[shaped[0]].type.example if shaped else ()
    for i in shaped[1:]:
        n = nodes[i]
        _same_example(b, nodes[shaped[0]], n, span, spans, (shaped[0], i))
        pairs = zip(example, n.type.example, strict=True)
        example = tuple(lengths.merged(b, x, y) for x, y in pairs)
    lead = lead_of(b, nodes, span)
    if not lead.running and not example:
        return list(nodes)
    like = TensorType((*lead.shape, *example), lead.running)
    return [(repeated if full else spread)(b, n, like, span) for n in nodes]


def _same_example(
    b: Build, x: Node, y: Node, span: Span, spans: Sequence[Span], which: tuple[int, int]
) -> None:
    """Two tensors of a pointwise operation have the same shape for one example."""

    def complain(c: Conflict | None) -> NoReturn:
        places = [spans[i] if spans else span for i in which]
        places = [b.blame(n, p) if p == span else p for n, p in zip((x, y), places, strict=True)]
        names = [f"operand {i + 1}" if p == span else short(p.text)
                 for i, p in zip(which, places, strict=True)]  # fmt: skip
        shown = [b.shown(n.type) for n in (x, y)]
        first = [Note(places[0], f"is {shown[0]}")] if places[0] != places[1] else []
        notes = (*first, *b.proof_notes(*x.type.example, *y.type.example, skip=span))
        fact = "only single numbers and equal shapes combine; an index says what is meant"
        facts = (fact,) if len(x.type.example) != len(y.type.example) else ()
        text = f"{' and '.join(names)} have different shapes"
        remedy, at = _product(b, x, y, places), places[1]
        _refuse_column(b, (x, y), text, notes)
        if not remedy and c is not None:
            _refuse_size(b, (x, y), places, text, (*first, Note(places[1], f"is {shown[1]}")))
        if remedy:
            text, at = f"{text}: a sum of products is written @", places[0].to(places[1])
            notes, facts = (Note(places[1], f"is {shown[1]}"), *notes), ()
        label = "" if remedy else f"is {shown[1]}"
        b.fail("E202", text, at, label, notes, remedy, facts, about=(x, y))

    b.same_shape(x.type.example, y.type.example, span, "both sides of one equation", complain)


def _refuse_size(
    b: Build, sides: tuple[Node, Node], places: Sequence[Span], text: str, notes: tuple[Note, ...]
) -> None:
    """Two tensors that differ in one size, where it is plain which says it wrongly: a parameter
    that stands beside what is worked out, and else what does not come from data."""
    sizes = [[*map(b.resolve, n.type.example)] for n in sides]
    unlike = [i for i, (m, n) in enumerate(zip(*sizes, strict=True)) if m != n]
    said = [size_place(b, n, unlike[0]) for n in sides]
    if said.count(None) == 1:
        _refuse_declared(b, sides, unlike[0], places[1], text, notes)
    alone = [is_param(bare(n)) for n in sides]
    which = alone if alone.count(True) == 1 else [at is not None for at in said]
    guilty = which.index(True) if which.count(True) == 1 else beside_result(said, places)
    if len(unlike) == 1 and guilty is None:
        ways = either(b, said, [n.type.example[unlike[0]] for n in sides])
        if ways:
            b.fail("E202", text, places[1], notes[-1].text, notes[:-1], ways=ways, about=sides)
    if len(unlike) != 1 or guilty is None or (at := said[guilty]) is None:
        return
    size, other = sides[1 - guilty].type.example[unlike[0]], said[1 - guilty]
    if remedy := instead(b, at, size, other):
        label = f"makes it {sizes[guilty][unlike[0]]}"
        b.fail("E202", text, at.span, label, notes, remedy, about=sides)


def _refuse_declared(
    b: Build, sides: tuple[Node, Node], axis: int, at: Span, text: str, notes: tuple[Note, ...]
) -> None:
    """Two parameters of one block in another file, which declares them of sizes that differ here:
    the argument that one has its size from need not be wrong."""
    one, other = (declared_place(b, n, axis) for n in sides)
    if one is None or other is None or one[1] is not other[1] or one[0].source is b.source:
        return
    sizes = [b.resolve(n.type.example[axis]) for n in sides]
    declared = [
        Note(said, f"is {n} here") for (said, _), n in zip((one, other), sizes, strict=True)
    ]
    b.fail("E202", text, at, notes[-1].text, (*notes[:-1], *declared))


def _refuse_column(b: Build, sides: tuple[Node, Node], text: str, notes: tuple[Note, ...]) -> None:
    """`b[10, 1]` beside a vector of ten: a vector is no column, and has one axis."""
    for node, other in (sides, sides[::-1]):
        path = bare(node)["path"] if is_param(bare(node)) else ""
        made, sizes = b.owned.owners.get(path), [*map(b.number, node.type.example)]
        plain = [n for n in sizes if n != 1]
        if made is None or plain == sizes or plain != [*map(b.number, other.type.example)]:
            continue
        said = declared_sizes(made, path)
        if len(said) == len(sizes) and said[0].span.source is b.source:
            left = [d.span.text for d, n in zip(said, sizes, strict=True) if n != 1]
            label = f"is {b.shown(node.type)}: a vector has one axis"
            b.fail("E202", text, said[0].span.to(said[-1].span), label, notes, ", ".join(left))


def _weights(b: Build, made: Instance) -> str:
    """The matrix of parameters that an instance has, if there is one."""
    found = [k for k, p in b.owned.params.items() if k.startswith(f"{made.path}.")
             and len(p.node.type.example) == 2]  # fmt: skip
    return found[0].removeprefix(f"{made.path}.") if len(found) == 1 else ""


def _product(b: Build, x: Node, y: Node, places: Sequence[Span]) -> str:
    """`W @ x` for a matrix times a vector, or for two matrices, that were joined by *."""
    first, second = places
    between = first.source.text[first.stop : second.start]
    left, right = ([*map(b.resolve, n.type.example)] for n in (x, y))
    fits = left[-1:] == right[:1] and 3 <= len(left) + len(right) <= 4
    if first.source is not second.source or between.strip() != "*" or not fits:
        return ""
    return f"{whole_text(first.text)} @ {whole_text(second.text)}"
