"""Fusing: what is fused, what is refused and why, and that no bit of the result changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dln.compiler.ops  # noqa: F401  fills the table of operations
from dln.compiler.evaluate import evaluate
from dln.compiler.graph import Graph, Node, ancestors
from dln.compiler.lower import lower
from dln.compiler.op import Make
from dln.compiler.passes.fuse import fuse, registers
from dln.compiler.sizes import BATCH_SIZE, Size
from dln.compiler.targets import TARGETS
from dln.compiler.tensor import TensorType
from dln.compiler.verify import verify
from dln.grammar.diagnostics import Source, Span
from dln.runtime.executable import Executable
from dln.runtime.host import Host

FUSING = replace(TARGETS["numpy"], fuses=True)


def batch(size: int) -> TensorType:
    return TensorType((BATCH_SIZE, Size(size)), ("batch",))


def ops(graph: Graph) -> list[str]:
    return [n.op for n in ancestors(graph.outputs.values())]


def start() -> tuple[Make, Node, Node]:
    m = Make(Graph())
    return m, m("input", name="x", type=batch(3)), m("input", name="y", type=batch(3))


def both(graph: Graph, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    """The value of a graph unfused and fused, from programs on the same numbers."""
    found = []
    for g in (graph, fuse(graph, FUSING)):
        bound = Executable(lower("t", g, FUSING, dtype, 5), Host(), {}, {}).at(5)
        rng = np.random.default_rng(0)
        for name in ("x", "y"):
            if name in bound.inputs:
                bound.inputs[name][...] = rng.normal(size=(5, 3))
        bound.run()
        found.append(bound.values["out"].copy())
    return found[0], found[1]


def test_a_chain_becomes_one_node():
    m, x, y = start()
    m.graph.outputs = {"value:out": m("tanh", m.add(m.mul(x, y), m.scale(y, 0.5)))}
    assert ops(fuse(m.graph, FUSING)) == ["input", "input", "const", "fused"]


def test_a_target_that_does_not_fuse_keeps_the_graph():
    m, x, _ = start()
    m.graph.outputs = {"value:out": m("tanh", m("exp", x))}
    assert fuse(m.graph, replace(FUSING, fuses=False)) is m.graph


def test_what_is_read_outside_stays_outside():
    m, x, _ = start()
    shared = m("exp", x)
    m.graph.outputs = {"value:out": m("tanh", m("neg", shared)), "value:sum": m.sum(shared, (0, 1))}
    log: list = []
    graph = fuse(m.graph, FUSING, log)
    assert sorted(ops(graph)) == ["exp", "fused", "input", "sum"]
    assert [(f.rule, f.after) for f in log if f.rule != "region"] == [
        ("kept apart", "it is read outside the region too")
    ]


def test_an_output_is_not_swallowed():
    m, x, _ = start()
    inner = m("exp", x)
    m.graph.outputs = {"value:inner": inner, "value:out": m("tanh", inner)}
    assert "fused" not in ops(fuse(m.graph, FUSING))


def test_too_many_values_in_between_are_refused_with_the_reason():
    m, x, y = start()
    leaves = [m(op, z) for op in ("exp", "tanh", "square", "neg") for z in (x, y)]
    while len(leaves) > 1:
        leaves = [m.add(a, b) for a, b in zip(leaves[::2], leaves[1::2], strict=True)]
    m.graph.outputs = {"value:out": leaves[0]}
    log: list = []
    graph = fuse(m.graph, FUSING, log)
    assert any("would be needed in between, 2 are allowed" in f.after for f in log)
    assert ops(graph).count("fused") >= 1
    np.testing.assert_array_equal(*both(m.graph))


def test_registers_are_counted_as_a_person_would():
    m, x, y = start()
    a, b = m("exp", x), m("tanh", y)
    c = m.add(a, b)
    assert registers([a, m("neg", a)]) == 0
    assert registers([a, b, c]) == 1


def test_the_log_tells_gain_and_place():
    source = Source("t.dln", "y = tanh(exp(x))")
    m, x, _ = start()
    m.spans = (Span(source, 4, 16),)
    m.graph.outputs = {"value:out": m("tanh", m("exp", x))}
    log: list = []
    fuse(m.graph, FUSING, log)
    (entry,) = log
    assert entry.before == "tanh(exp(x))"
    assert entry.after == "2 operations in one: 3*batch elements less to write and read"
    assert entry.spans == m.spans and entry.exact


def test_lines_keep_their_places_and_names_through_a_region():
    source = Source("t.dln", "h = exp(x)\nz = tanh(h)")
    m, x, _ = start()
    m.spans = (Span(source, 4, 10),)
    h = m("exp", x)
    m.graph.mark(h, name="h")
    m.spans = (Span(source, 15, 22),)
    m.graph.outputs = {"value:out": m("tanh", h)}
    program = lower("t", fuse(m.graph, FUSING), FUSING)
    assert [(line.place.line, line.formula) for line in program.lines] == [
        (1, "exp(x)"),
        (2, "tanh(h)"),
    ]


UNARY = ["exp", "tanh", "square", "sigmoid", "softplus", "neg", "abs", "sign"]


def random_graph(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    m, x, y = start()
    pool = [x, y]
    for _ in range(25):
        a, b = (pool[int(rng.integers(max(0, len(pool) - 5), len(pool)))] for _ in "ab")
        kind = rng.integers(5)
        if kind == 0:
            made = m("tanh", m(str(rng.choice(UNARY)), a))
        elif kind == 1:
            made = m("where", m("lt", a, b), a, m.scale(b, 0.3))
        elif kind == 2:
            made = m.sub(m("tanh", m.sum(a, (0, 1))), b)
        else:
            made = m(str(rng.choice(["add", "sub", "mul", "maximum"])), a, b)
        pool.append(m("tanh", made))
    m.graph.outputs = {"value:out": pool[-1]}
    return m.graph


@pytest.mark.parametrize("seed", range(30))
def test_fusing_changes_no_bit(seed: int):
    graph = random_graph(seed)
    fused = fuse(graph, FUSING)
    verify(fused)
    rng = np.random.default_rng(seed)
    env = {("input", k): rng.normal(size=(5, 3)) for k in "xy"}
    np.testing.assert_array_equal(
        evaluate(graph, env)["value:out"], evaluate(fused, env)["value:out"]
    )
    np.testing.assert_array_equal(*both(graph))
