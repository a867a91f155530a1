"""Formulas in the user's words."""

from __future__ import annotations

import pytest

from dln.compiler.ir.formula import formula, label
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops.loop import Body, item, slot
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import TensorType


@pytest.fixture
def m() -> Make:
    return Make(Graph())


def real(*shape: int | Size, running: tuple[str, ...] = ()) -> TensorType:
    return TensorType(tuple(map(Size.of, shape)), running)


def vector(m: Make, name: str) -> Node:
    return m("input", name=name, type=real(3))


def test_brackets_stand_where_they_are_needed(m: Make) -> None:
    a, b, c = (vector(m, k) for k in "abc")
    cases = {
        "a + b * c": m.add(a, m.mul(b, c)),
        "(a + b) * c": m.mul(m.add(a, b), c),
        "a - (b - c)": m.sub(a, m.sub(b, c)),
        "a - b - c": m.sub(m.sub(a, b), c),
        "a / (b * c)": m.div(a, m.mul(b, c)),
        "-(a + b)": m.neg(m.add(a, b)),
        "(a + b)^2": m("square", m.add(a, b)),
        "exp(a + b)": m("exp", m.add(a, b)),
        "a > b": m("gt", a, b),
        "max(a, b + c)": m("maximum", a, m.add(b, c)),
        "2 * a": m.scale(a, 2.0),
    }
    assert [formula(m.graph, node) for node in cases.values()] == list(cases)


def test_products_read_as_for_one_example(m: Make) -> None:
    W = m("param", path="W", type=real(2, 3))
    x = m("input", name="x", type=real(BATCH_SIZE, 3, running=("batch",)))
    d = m("input", name="d", type=real(BATCH_SIZE, 2, running=("batch",)))
    forward = m("contract", x, W, left=(0, 1), right=(2, 1), out=(0, 2))
    backward = m("contract", d, W, left=(0, 2), right=(2, 1), out=(0, 1))
    slope = m("contract", d, x, left=(0, 1), right=(0, 2), out=(1, 2))
    turned = m("contract", x, d, left=(0, 2), right=(0, 1), out=(1, 2))
    inner = m("contract", x, x, left=(0, 1), right=(0, 1), out=(0,))
    texts = [formula(m.graph, n) for n in (forward, backward, slope, turned, inner)]
    assert texts == ["W @ x", "W.T @ d", "outer(d, x)", "outer(d, x)", "dot(x, x)"]


def test_it_stops_at_names_and_at_the_depth(m: Make) -> None:
    a = vector(m, "a")
    h = m("exp", a)
    m.graph.mark(h, name="h")
    y = m("tanh", h)
    assert formula(m.graph, y) == "tanh(h)"
    assert formula(m.graph, h) == "exp(a)"
    assert formula(m.graph, m("abs", m("neg", m("tanh", y))), 2) == "abs(-...)"


def test_a_sequence_reads_like_the_value_of_a_step(m: Make) -> None:
    inner = Make(Graph())
    x = vector(m, "x")
    start = m("input", name="h0", type=real())
    row = slot(inner.graph, real(), 0, "rows")
    before = slot(inner.graph, real(), 1, "carried")
    inner.graph.mark(row, name="a - b")
    inner.graph.mark(before, name="h before")
    h = inner.mul(before, row)
    body = Body(inner.graph, (row,), (), (before,), (h,), Size(3))
    sequence = m("running", x, running=("time",))
    values = item(m, m("scan", sequence, start, body=body), h)
    assert formula(m.graph, m("exp", values)) == "exp(h before * (a - b))"


def test_layout_is_not_mentioned(m: Make) -> None:
    b = vector(m, "b")
    spread = m("broadcast", b, axes=(1,), shape=(BATCH_SIZE, Size(3)), running=("batch",))
    assert formula(m.graph, m("tanh", spread)) == "tanh(b)"


def test_labels(m: Make) -> None:
    a = vector(m, "a")
    y = m("exp", a)
    assert [label(m.graph, n) for n in (a, y, m.const(0.1))] == ["a", "exp", "0.1"]
    m.graph.mark(y, name="y")
    assert label(m.graph, y) == "y"
