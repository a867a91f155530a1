"""Dumps and drawings: complete, safe, and the same in every process."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from dln.compiler.ir.graph import Graph
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops.loop import Body, item, slot
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.emit import lower
from dln.compiler.lower.targets import TARGETS
from dln.compiler.schema import keys
from dln.compiler.show import graph_dot, graph_mermaid, graph_text, plan_text


def example(name: str = "W") -> Graph:
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=TensorType((BATCH_SIZE, Size(3)), ("batch",)))
    W = m("param", path=name, type=TensorType((Size(2), Size(3))))
    y = m("tanh", m("contract", x, W, left=(0, 1), right=(2, 1), out=(0, 2)))
    graph.mark(y, name="y")
    graph.outputs = {keys.value("loss"): m.sum(m.mul(y, y), (0, 1))}
    return graph


def test_a_graph_as_text() -> None:
    assert [line.split() for line in graph_text(example()).splitlines()] == [
        line.split()
        for line in """\
n0  input()                                                  [batch, 3]  x
n1  param()                                                  [2, 3]      W
n2  contract(n0, n1; left=(0, 1), out=(0, 2), right=(2, 1))  [batch, 2]
n3  tanh(n2)                                                 [batch, 2]  y
n4  mul(n3, n3)                                              [batch, 2]
n5  sum(n4; axes=(0, 1))                                     []

value:loss = n5""".splitlines()
    ]


def loop() -> Graph:
    """h[t] = h[t-1] + x[t], and the squares of it."""
    graph, inner = Graph(), Graph()
    m, s = Make(graph), Make(inner)
    sequence = TensorType((Size(4), BATCH_SIZE), ("time", "batch"))
    number = TensorType((BATCH_SIZE,), ("batch",))
    x, h0 = m("input", name="x", type=sequence), m("input", name="h0", type=number)
    xt, before = slot(inner, number, 0, "rows"), slot(inner, number, 1, "carried")
    h = s.add(before, xt)
    inner.mark(h, name="h")
    body = Body(inner, (xt,), (), (before,), (h,), Size(4))
    made = m("scan", x, h0, body=body)
    graph.outputs = {"y": m("exp", item(m, made, s("square", h)))}
    return graph


def test_the_step_of_a_loop_stands_below_it() -> None:
    assert [line.split() for line in graph_text(loop()).splitlines()] == [
        line.split()
        for line in """\
n0    input()                  [time=4, batch]  x
n1    input()                  [batch]          h0
n2    scan(n0, n1)             []
n2_0  row(n0)                  [batch]
n2_1  carried(n1; then n2_2)   [batch]
n2_2  add(n2_1, n2_0)          [batch]          h
n2_3  square(n2_2)             [batch]: positive
n3    item(n2; value=n2_3)     [time=4, batch]: positive
n4    exp(n3)                  [time=4, batch]: positive

y = n4""".splitlines()
    ]
    dot, mermaid = graph_dot(loop()), graph_mermaid(loop())
    for edge in ("n0 -> n2_0", "n2_2 -> n2_1", "n2_3 -> n3", "n2_1 -> n2_2"):
        assert f"  {edge} [label=" in dot
        assert re.search(edge.replace("->", r"-->\|\w+\|"), mermaid)
    assert dot.count("subgraph") == mermaid.count("subgraph") == 1


def test_drawings_have_every_node_and_both_edges_of_a_square() -> None:
    dot, mermaid = graph_dot(example()), graph_mermaid(example())
    assert len(re.findall(r"^  n\d+ \[", dot, re.M)) == 6
    assert 'n3 -> n4 [label="0"]' in dot and 'n3 -> n4 [label="1"]' in dot
    assert len(re.findall(r"^  n\d+\[", mermaid, re.M)) == 6
    assert "n3 -->|0| n4" in mermaid and "n3 -->|1| n4" in mermaid


@pytest.mark.parametrize("name", ['"]; evil', 'a"b\\', "x\n  n0 -> n9", "<b>&`#quot;"])
def test_names_cannot_leave_their_labels(name: str) -> None:
    dot, mermaid, text = (
        graph_dot(example(name)),
        graph_mermaid(example(name)),
        graph_text(example(name)),
    )
    assert dot.count("\n") == graph_dot(example()).count("\n")
    assert mermaid.count("\n") == graph_mermaid(example()).count("\n")
    assert text.count("\n") == graph_text(example()).count("\n")
    for line in dot.splitlines():
        assert len(re.findall(r'(?<!\\)(?:\\\\)*"', line)) % 2 == 0
    assert all(line.count('"') in (0, 2) for line in mermaid.splitlines())


def test_a_plan_lists_each_buffer_and_the_totals() -> None:
    program = lower("t", example(), TARGETS["numpy"], capacity=10)
    text = plan_text(program)
    assert program.text.rstrip() in text
    for b in program.buffers:
        assert re.search(rf"^{b.name} +{b.place}", text, re.M)
    assert re.search(r"^parameters +24 bytes$", text, re.M)
    assert re.search(rf"^arithmetic +{program.flops(10):,} operations$", text, re.M)
    assert "10 examples" in text and "1 example\n" in plan_text(program, 1)


SCRIPT = """
import sys; sys.path.insert(0, {folder!r})
import importlib.util
spec = importlib.util.spec_from_file_location("t", {file!r})
t = importlib.util.module_from_spec(spec); spec.loader.exec_module(t)
g = t.example()
print(t.graph_text(g), t.graph_dot(g), t.plan_text(t.lower("t", g, t.TARGETS["numpy"])))
"""


def test_the_hash_seed_changes_nothing() -> None:
    code = SCRIPT.format(folder=os.path.dirname(__file__), file=__file__)
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1 and texts.pop()
