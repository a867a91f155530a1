"""The targets' tables, and whole program texts that a person has read.

Write the texts anew with `DLN_GOLDEN=write pytest tests/compiler/targets`, and read what changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import OPS, Make
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.spelling import Statements
from dln.compiler.ir.tensor_type import Domain, TensorType
from dln.compiler.lower.emit import lower
from dln.compiler.lower.targets import TARGETS, Target, spelling
from dln.compiler.schema import keys
from dln.grammar.diagnostics import Fault, Source, Span
from dln.runtime.device.kernels import KERNELS

GOLDEN = Path(__file__).parent / "golden"

SPEC = """\
param W [3, 4]
state v [3, 4]
logits = W @ x
loss = mean(log_sum_exp(logits) - logits[label])
keep = uniform() < 0.5
v = 0.9 * v - (0.1 / epoch) * grad(loss, W)
W = W + v
"""


def real(*shape: int | Size, running: tuple[str, ...] = ()) -> TensorType:
    return TensorType(tuple(map(Size.of, shape)), running)


def classifier() -> Graph:
    """Softmax regression with momentum and a mask of random numbers on its input."""
    source = Source("specs/softmax.dln", SPEC)
    graph = Graph()
    m = Make(graph)

    def at(line: int) -> None:
        start = source.starts[line - 1]
        m.spans = (Span(source, start, start + len(source.line(line))),)

    def named(name: str, node: Node) -> Node:
        graph.mark(node, name=name)
        return node

    at(1)
    W = m("param", path="W", type=real(3, 4))
    at(2)
    v = m("state", path="v", type=real(3, 4))
    x = m("input", name="x", type=real(BATCH_SIZE, 4, running=("batch",)))
    classes = TensorType((BATCH_SIZE,), ("batch",), "index", Domain("class", Size(3)))
    label = m("input", name="label", type=classes)
    at(5)
    noise = m("draw", kind="uniform", site="keep", shape=(BATCH_SIZE, Size(4)), running=("batch",))
    keep = m("where", m("lt", noise, m.const(0.5)), x, m.const(0.0))
    at(3)
    logits = named("logits", m("contract", keep, W, left=(0, 1), right=(2, 1), out=(0, 2)))
    at(4)
    each = m.sub(m("log_sum_exp", logits, axes=(1,)), m("pick", logits, label))
    loss = named("loss", m.div(m.sum(each, (0,)), m.size(BATCH_SIZE)))
    at(6)
    target = m("cast", m("onehot", label, size=Size(3)), kind="real")
    bar = m.sub(m("softmax", logits, axes=(1,)), target)
    slope = m("contract", bar, keep, left=(0, 1), right=(0, 2), out=(1, 2))
    rate = m.div(m.const(0.1), m("clock", name="epoch"))
    fast = named("v'", m.sub(m.scale(v, 0.9), m.mul(rate, slope)))
    at(7)
    graph.outputs = {
        keys.new_state("v"): fast,
        keys.new_param("W"): m.add(W, fast),
        keys.value("loss"): loss,
    }
    return graph


@pytest.mark.parametrize("name", TARGETS)
def test_the_program_reads_as_it_did(name: str) -> None:
    text = lower("softmax", classifier(), TARGETS[name], capacity=8).text
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("DLN_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_both_targets_do_the_same_steps() -> None:
    numpy, cupy = (lower("t", classifier(), t, capacity=8) for t in TARGETS.values())
    formulas = [[line.formula for line in p.lines if line.flops[1]] for p in (numpy, cupy)]
    assert formulas[0] == formulas[1]


def test_an_operation_without_a_spelling_is_a_fault() -> None:
    stray = Node("magic", (), {}, real())
    with pytest.raises(Fault, match="magic cannot be run with cupy"):
        spelling(TARGETS["cupy"], stray)


def spelled(target: Target) -> Iterator[Statements]:
    """The statements of all examples of all operations."""
    for op in OPS.values():
        for types, attrs in op.examples() if op.spell else ():
            m = Make(Graph())
            inputs = [m("input", name=f"x{i}", type=t) for i, t in enumerate(types)]
            found = spelling(target, m(op.name, *inputs, **attrs))
            if isinstance(found, Statements):
                yield found


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_is_called_is_there(target: Target) -> None:
    """A function of the array module, or a kernel; and each call writes."""
    for call in (c for s in spelled(target) for c in s.calls):
        functions = re.findall(r"\{xp\[(.*?)\]\}", target.form(call))
        assert all(callable(attrgetter(f)(np)) for f in functions)
        assert not call.kernel or call.function in KERNELS
        assert "{out}" in target.form(call)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_spellings_hold_no_text_of_a_program(target: Target) -> None:
    """Words are names of functions, and einsum's letters alone."""
    for call in (c for s in spelled(target) for c in s.calls):
        assert call.function.isidentifier()
        words = [v for v in (*call.args, *dict(call.named).values()) if isinstance(v, str)]
        assert words == [] or call.function == "einsum"


def test_the_keys_of_a_table_are_its_names() -> None:
    assert all(key == target.name for key, target in TARGETS.items())


def test_what_cupy_lacks_is_not_called() -> None:
    """CuPy's ufuncs reduce by add and multiply only; its einsum and take know fewer options."""
    for op in OPS.values():
        for types, attrs in () if op.is_("symbolic") else op.examples():
            graph = Graph()
            m = Make(graph)
            inputs = [m("input", name=f"x{i}", type=t) for i, t in enumerate(types)]
            graph.outputs = {keys.value("out"): m(op.name, *inputs, **attrs)}
            for line in lower("t", graph, TARGETS["cupy"]).lines:
                assert ".reduce(" not in line.code and "mode=" not in line.code
                assert not line.code.startswith("einsum(")
