"""Two products added to one array as one over stacked rows.

Oracles: the evaluator, which adds them one after the other, in double precision; contrastive
divergence in NumPy.
"""

from __future__ import annotations

import numpy as np
import pytest

import dln
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.emit import lower
from dln.compiler.lower.targets import TARGETS
from dln.compiler.plan import Program
from dln.compiler.schema import keys
from dln.compiler.schema.keys import Output
from dln.runtime.device.host import Host
from dln.runtime.execution.executable import Executable

SIDES = {"left": (0, 1), "right": (0, 2), "out": (1, 2)}


def made(case: str, n: int = 2) -> tuple[Graph, Program]:
    graph = Graph()
    m = Make(graph)

    def rows(name: str, size: int) -> Node:
        return m("input", name=name, type=TensorType((BATCH_SIZE, Size(size)), ("batch",)))

    W = m("param", path="W", type=TensorType((Size(300), Size(400))))
    a, d, b, e = rows("a", 300), rows("d", 300), rows("b", 400), rows("e", 400)
    by = m.const(-0.5)
    first = m("accumulate", a, b, W, by, **SIDES)
    last = m.const({"another scale": 0.25, "another sign": 0.5}[case]) if "another" in case else by
    sides = {**SIDES, "left": (1, 0)} if case == "by columns" else SIDES
    if case == "by columns":
        d = m("transpose", d, perm=(1, 0))
    second = m("accumulate", d, e, first, last, **sides)
    graph.outputs = {keys.new_param("W"): second}
    if case == "read in between":
        graph.outputs[keys.value("sum")] = m("sum", first, axes=(0, 1))
    if case == "three":
        graph.outputs = {keys.new_param("W"): m("accumulate", a, e, second, by, **SIDES)}
    return graph, lower("t", graph, TARGETS["numpy"], "float64", n)


@pytest.mark.parametrize(
    ("case", "n", "stacked"),
    [
        ("two", 2, 1), ("three", 2, 1), ("two", 40, 0), ("another scale", 2, 0),
        ("another sign", 2, 1),
        ("read in between", 2, 0), ("by columns", 2, 0),
    ],
)  # fmt: skip
def test_the_sum_is_that_of_the_evaluator(case: str, n: int, stacked: int) -> None:
    graph, program = made(case, n)
    assert len(program.forms) == stacked
    rng = np.random.default_rng(4)
    for count in (1, n):
        W = rng.normal(size=(300, 400))
        executable = Executable(program, Host(), {"W": W.copy()}, {})
        bound = executable.at(count)
        env = {("param", "W"): W}
        for name, array in bound.inputs.items():
            array[...] = rng.normal(size=array.shape)
            env["input", name] = array.copy()
        want = evaluate(graph, env)
        bound.run()
        for key, value in want.items():
            assert isinstance(key, Output)
            found = executable.params if key.place == "param" else bound.values
            np.testing.assert_allclose(found[str(key.key)], value, rtol=1e-11, atol=1e-12)


MACHINE = """
data d = rows(ROWS) {
  x[120]: binary = raw
}
let net = rbm(500)
block rbm(v[n]: binary; m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 0.3), a[n] = 0.1, b[m] = -0.2
  energy = -(a @ v) - (b @ h) - (v @ W @ h)
}
train fit on d batch 1 for 1 update dtype float64 {
  minimize net.free(x) - net.free((1 - x) as binary) over net with sgd(lr = 0.5)
}
"""


def test_a_difference_of_free_energies() -> None:
    x = np.random.default_rng(1).integers(0, 2, (3, 120)).astype(float)
    session = (
        dln.load(MACHINE.replace("ROWS", str(x.astype(int).tolist()))).compile().session(seed=2)
    )
    assert session.plan.programs["step:fit"].forms == ("two products onto [120, 500], stacked",)
    W, a, b = (session.params[f"net.{k}"].copy() for k in "Wab")
    session.step("fit", x=x)

    def hidden(v: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(v @ W + b)))

    up, down = hidden(x), hidden(1 - x)
    step = 0.5 / 3
    np.testing.assert_allclose(
        session.params["net.W"], W + step * (x.T @ up - (1 - x).T @ down), rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(session.params["net.a"], a + step * (2 * x - 1).sum(0), rtol=1e-12)
    np.testing.assert_allclose(session.params["net.b"], b + step * (up - down).sum(0), rtol=1e-12)
