"""A step that is worked out, closed: as a loop in the graph, or as one step of a one-step form."""

from __future__ import annotations

from dln.compiler.frontend.context import broadcasting, lengths, standing, time_axis
from dln.compiler.frontend.context.frame import Remembered
from dln.compiler.frontend.context.static_values import positive
from dln.compiler.frontend.scan import equations
from dln.compiler.frontend.scan.body_builder import BodyMaker
from dln.compiler.frontend.scan.scan_step import Attempt, remember
from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.loop import Body, item, row_type
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TIME
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note

# ---- a loop ------------------------------------------------------------------------------------


def closed(attempt: Attempt) -> tuple[Node, dict[str, Node]]:
    """The loop in the graph, and the sequence of each name."""
    b, scan = attempt.b, attempt.scan
    wanted = {name: attempt.current(b, name) for name in scan.lines}
    carried, nexts, firsts = _carried(attempt)
    maker = BodyMaker(b, attempt.loop.number, carried)
    inside = [maker.inner(n) for n in (*nexts, *wanted.values())]
    body = maker.body(tuple(inside[: len(nexts)]), number_of_steps(attempt))
    make = b.at(scan.st.span)
    if scan.st.backwards and attempt.places is not None:
        _count_down(attempt, maker, body.length)
    loop = make("scan", *maker.rows.values(), *maker.fixed.values(), *firsts, body=body)
    _leave(attempt, loop, body)
    out = {}
    for (name, node), value in zip(wanted.items(), inside[len(nexts) :], strict=True):
        span = scan.lines[name].span
        left = item(make, loop, value)
        made = lengths.of_each(b, left, span)
        if scan.st.backwards:
            made = time_axis.backwards(b, made, span)
        if made.type.domain != node.type.domain:
            made = b.at(span)("asserted", made, domain=node.type.domain)
        if scan.st.backwards or made.type.running != left.type.running:
            b.facts.sequences[made] = left, scan.st.backwards
        out[name] = b.mark(made, span, scan.scope.named(name))
    return loop, out


def _carried(attempt: Attempt) -> tuple[list[Node], list[Node], list[Node]]:
    """The slots, what they hold after a step, and what before the first."""
    slots, nexts, firsts = [], [], []
    loop = attempt.loop
    for (name, lag), held in loop.slots.items():
        slots.append(held)
        nexts.append(attempt.filled(_next(attempt, name, lag), held.type))
        firsts.append(attempt.begun(name, lag, held.type))
    for key, (held, first) in loop.memory.items():
        slots.append(held)
        nexts.append(attempt.filled(loop.now[key], held.type))
        firsts.append(first)
    return slots, nexts, firsts


def _next(attempt: Attempt, name: str, lag: int) -> Node:
    """What `name` will have been `lag` steps ago, in the step to come."""
    return attempt.current(attempt.b, name) if lag == 1 else attempt.loop.slots[name, lag - 1]


def _leave(attempt: Attempt, loop: Node, body: Body) -> None:
    """What the loop has carried at its end, for who goes on from there."""
    b, scan, memory = attempt.b, attempt.scan, attempt.loop.memory
    keys = [Remembered(scan.scope.path, n, lag) for n, lag in attempt.loop.slots]
    keys += list(memory)
    carry, make = b.frame.carry, b.at(scan.st.span)
    if not (b.time.reading or memory or carry):
        return
    for key, value in zip(keys, body.nexts, strict=True):
        if scan.inside and key not in memory:
            continue  # it begins anew in each step around it
        whole = lengths.of_each(b, item(make, loop, value), scan.st.span)
        last = time_axis.final(b, whole, scan.st.span)
        if b.time.reading or key in memory:
            remember(b, key, last)
        if carry is not None and key not in memory:
            carry.end(make, str(key), last)
    if attempt.counted is not None and not scan.inside:
        _leave_count(attempt, body.length)
    if b.time.reading and not scan.inside:
        for key, node in attempt.looked.items():  # the last element but lag - 1 of what was read
            at = b.sizes.resolve(node.type.shape[0]).constant - key.lag
            none = attempt.nothing(row_type(node.type)) if at < 0 else None
            remember(b, key, none or time_axis.element(b, node, at, scan.st.span))


def _count_down(attempt: Attempt, maker: BodyMaker, length: Size) -> None:
    """The numbers of the steps of a scan that runs backwards, from the last one of each example."""
    b, span = attempt.b, attempt.scan.st.span
    for slot, places in maker.rows.items():
        if places is attempt.places:
            known = lengths.resized(b, places, {0: length})
            maker.rows[slot] = time_axis.backwards(b, known, span)


def _leave_count(attempt: Attempt, length: Size) -> None:
    """How many steps there have been, for who counts on."""
    b, span, key = attempt.b, attempt.scan.st.span, attempt.count_key
    make, found = b.at(span), lengths.extent(b, length)
    steps = make.size(length) if found is None else make("cast", found.count, kind="real")
    if b.time.reading:
        remember(b, key, attempt.filled(steps, b.frame.number))
    if attempt.before is not None and b.frame.carry is not None:
        carried = attempt.before, attempt.filled(steps, attempt.before.type)
        b.frame.carry.end(make, str(key), make.add(*carried))


def number_of_steps(attempt: Attempt) -> Size:
    """The number of steps: of the sequences it runs along, or as the scan says."""
    b, st, scope = attempt.b, attempt.scan.st, attempt.scan.scope
    length: Size | None = None
    if st.range is not None and _of_its_own(st):
        text = "a scan has at least one step"
        length = Size.of(positive(b, st.range, scope, "the number of steps", text))
    for size, span in attempt.lengths:
        if length is None:
            length = size
        else:
            said = b.number(length), b.number(size)
            if st.range is not None and _of_its_own(st) and None not in said and said[0] != said[1]:
                text = f"this scan has {said[0]} steps, and {span.text} has {said[1]}"
                notes = (Note(span, f"has {said[1]} steps"),)
                b.fail("E201", text, st.range.span, f"says {said[0]}", notes, "time")
            broadcasting.equal(b, length, size, span, "both run over time")
            length = lengths.merged(b, length, size)
    owner = equations.owner_of(scope)
    if length is None and owner is not None and lengths.in_step(owner):
        length = owner.steps  # as many steps as come in, though none is looked at
    if length is None:
        text, remedy = "how many steps does this scan have?", f"scan {st.name} in 100 {{ ... }}"
        b.fail("E338", text, st.span, "nothing in it runs over time", remedy=remedy)
    if attempt.counted is not None:
        broadcasting.equal(b, attempt.counted, length, st.span, "counts the steps")
    return length if lengths.extent(b, length) is not None else b.sizes.resolve(length)


def _of_its_own(st: s.Scan) -> bool:
    """Whether a scan says how many steps it has."""
    return st.range is not None and not (isinstance(st.range, s.Name) and st.range.id == TIME)


# ---- one step only -----------------------------------------------------------------------------


def stepped(attempt: Attempt) -> dict[str, Node]:
    """The values of one step; what is carried comes from the frame's memory, and is left there."""
    b, scan, lines = attempt.b, attempt.scan, attempt.scan.lines
    step = {name: attempt.current(b, name) for name in lines}
    _refuse_own_steps(attempt)
    for name, lag in sorted(attempt.loop.slots, key=lambda k: -k[1]):
        value = _next(attempt, name, lag)
        standing.refuse_end(b, value, lines[name].span, name)
        remember(
            b, Remembered(scan.scope.path, name, lag), attempt.filled(value, attempt.types[name])
        )
    for key, node in attempt.looked.items():
        standing.refuse_end(b, node, scan.st.span, key.name)
        remember(b, key, node)
    return {k: standing.marked(b, v, "sequence", lines[k].span) for k, v in step.items()}


def _refuse_own_steps(attempt: Attempt) -> None:
    """A scan that has a number of steps of its own and runs along no sequence does not move on
    with those that do."""
    b, st, entered = attempt.b, attempt.scan.st, attempt.b.time.entered
    assert entered is not None
    owner = equations.owner_of(attempt.scan.scope)
    if _of_its_own(st) and not attempt.along and (entered.timed or owner is not entered):
        text = "a scan along no sequence does not move on with a single step"
        standing.refuse(b, st.span, "has steps of its own", text)
