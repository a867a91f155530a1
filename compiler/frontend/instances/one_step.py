"""The one-step forms of an instance with a scan: `lm.step(x)` and `lm.read(xs)`.

`step` takes what comes next and moves every scan inside the instance on by one step; what they
carry is remembered from call to call. `read` takes a sequence from its beginning, all but its last
element, and gives that element back: it is what the first `step` takes.
"""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.frontend.context import broadcasting, lengths, standing, time_axis
from dln.compiler.frontend.context.build_context import Build, Instance, Value
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.values import InstanceVerb, Results
from dln.compiler.frontend.instances import application
from dln.compiler.ir.graph import Node
from dln.compiler.ir.tensor_type import TIME
from dln.grammar.diagnostics import Span


def call(b: Build, target: InstanceVerb, given: Sequence[tuple[Value, Span]], span: Span) -> Value:
    """`lm.step(x)` or `lm.read(xs)`."""
    made = target.instance
    if target.verb == "step":
        inner = replace(b, time=replace(b.time, stepping=True, in_step=False, entered=made))
        entries = entering(inner, made, given, span)
        return stepped(inner, application.apply_instance(inner, made, entries, span), span)
    if len(given) != 1:
        b.fail("E322", f"{made.path}.read takes one sequence, not {len(given)}", span)
    if b.time.loop is not None:  # what it leaves would be carried on, and not begin anew
        name, t = made.path.rpartition(".")[2], b.time.loop.index
        text = f"{name}.read begins anew, where {name} goes on from step to step"
        b.fail("E319", text, span, f"is done at each {t}", remedy="put it above the scan")
    value, at = given[0]
    sequence = _sequence(b, made, value, at)
    if (length := b.number(sequence.type.shape[0])) is None:
        b.fail("E209", "the length of this sequence is not known", at)
    if length > 1:
        before = b.at(span)("slice", sequence, axis=0, start=0, stop=length - 1)
        found = lengths.extent(b, sequence.type.shape[0])
        if found is not None:
            before = lengths.ended(b, before, 0, lengths.longer(b, found, -1))
        time = replace(b.time, reading=True, loop=None, stepping=False, in_step=False)
        application.apply_instance(replace(b, time=time), made, [(before, at)], span)
    return b.mark(time_axis.final(b, sequence, span), at)


def entering(
    b: Build, made: Instance, given: Sequence[tuple[Value, Span]], span: Span
) -> list[tuple[Value, Span]]:
    """What a one-step form is given: for a port that takes a sequence, a step of one."""
    entries: list[tuple[Value, Span]] = []
    for i, (value, at) in enumerate(given):
        if i < len(made.ports) and TIME in made.ports[i].running:
            node = broadcasting.as_tensor(b, value, at)
            if standing.runs(b, node):
                text = f"{made.path}.step takes one element of a sequence"
                whole = broadcasting.whole_text(span.text).replace(".step(", "(", 1)
                b.fail("E214", text, at, "is a whole sequence", remedy=whole)
            value = standing.marked(b, node, "input", at)
        entries.append((value, at))
    return entries


def stepped(b: Build, value: Value, span: Span) -> Value:
    """What a one-step form gives: the element at hand, which no longer stands for a sequence."""
    results = value.values.values() if isinstance(value, Results) else [value]
    if any(TIME in broadcasting.as_tensor(b, v, span).type.running for v in results):
        standing.refuse(b, span, "gives a whole sequence at each step")
    return standing.given(b, value, "value", span)


def _sequence(b: Build, made: Instance, value: Value, at: Span) -> Node:
    """What is read: a tensor that runs over time, a text, or a list of elements."""
    if isinstance(value, str):
        return _written(b, made, value, at)
    node = broadcasting.as_tensor(b, value, at)
    if TIME in node.type.running:
        return time_axis.time_first(b, node, at)
    if standing.is_sequence(b, node):
        standing.refuse(b, at, "is a sequence, of which it has one step")
    if not node.type.example:
        b.fail("E302", "a sequence is read", at, f"is {b.shown(node.type)}")
    return b.at(at)("running", node, running=(TIME, *node.type.running))


def _written(b: Build, made: Instance, text: str, at: Span) -> Node:
    """A text as the classes that its characters are in the alphabet of a text data set."""
    _, _, domain = made.ports[0]
    if domain is None or domain.name != "class":
        b.fail("E302", f"{made.name} reads no text", at, "is a text")
    size = b.number(domain.size)
    found = b.data.alphabets(size)
    if len(found) != 1:
        why = "no text data set has" if not found else "several text data sets have"
        many = "the block's alphabet" if size is None else f"an alphabet of {size} characters"
        b.fail("E388", f"{why} {many}", at, "is a text")
    letters = next(iter(found))
    strange = [c for c in text if c not in letters]
    if strange or not text:
        label = f"{strange[0]!r} is not in it" if strange else "is empty"
        b.fail("E388", "a text is read in the alphabet of the data", at, label)
    make = b.at(at)
    value = make.const(tuple(letters.index(c) for c in text), "index")
    return make("running", make("asserted", value, domain=domain), running=(TIME,))
