"""Where a build is, is a value: what is made or told at a place does not depend on who asks."""

import pytest

import dln
import dln.spec as spec
from dln.compiler.frontend.context.build_context import Build, Built, Naming
from dln.compiler.frontend.context.frame import Frame
from dln.compiler.frontend.context.outside import Outside
from dln.compiler.frontend.context.place import replace
from dln.grammar.diagnostics import DlnError, Source, Span

SOURCE = Source("net.dln", "a = 1\nb = 2\n")
LIBRARY = Source("std.dln", "f = 3\n")
A, B, F = Span(SOURCE, 0, 5), Span(SOURCE, 6, 11), Span(LIBRARY, 0, 5)


def place() -> Build:
    """The beginning of an empty build."""
    outside = Outside(load=spec.load_used, probe=spec.header)
    built = Built(source=SOURCE, outside=outside, rules={}, binders={})
    return Build(built=built, frame=Frame(0), naming=Naming())


def test_a_place_is_not_changed() -> None:
    b = place()
    with pytest.raises(AttributeError, match="frozen"):
        for name in ("frame", "time", "naming"):
            setattr(b, name, getattr(b, name))
    inner = replace(b, time=replace(b.time, stepping=True))
    assert inner.time.stepping and not b.time.stepping
    assert inner.built is b.built and inner.frame is b.frame


def test_a_maker_keeps_its_place() -> None:
    b = place()
    first, second = b.at(A), b.at(B)
    one, two = first.const(1.0), second.const(2.0)
    three = first.add(one, two)
    assert b.graph.spans[three] == (A,)


def test_calls_lead_to_the_line_of_the_user() -> None:
    b = place()
    with b.call(A, "f") as inner:
        assert inner.places(F) == (A, F)
        with pytest.raises(DlnError) as caught:
            inner.fail("E302", "no", F)
    problem = caught.value.problems[0]
    assert problem.span is A and problem.label == "in f, called here"
    assert b.places(F) == (F,)


def test_what_a_stream_begins_with_stands_at_its_phase() -> None:
    model = dln.load("char_rnn").model
    phase = model.phases["short"]
    lines = {model.graph.spans[phase.state_init[path]][0].line for path in phase.carried}
    assert lines == {phase.span.line}
