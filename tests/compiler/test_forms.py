"""Products of few rows by a large matrix, computed turned.

Oracle: the evaluator, which knows one form of a product, in double precision.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import dln
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.emit import lower
from dln.compiler.lower.forms.turned import few_by_large
from dln.compiler.lower.targets import TARGETS
from dln.compiler.plan import Program
from dln.compiler.schema import keys
from dln.compiler.schema.keys import Output
from dln.compiler.show import totals
from dln.runtime.device.host import Host
from dln.runtime.execution.executable import Executable

Maker = Callable[[Make, Node, Node], Node]


def product(m: Make, x: Node, W: Node, **sides: tuple[int, ...]) -> Node:
    return m("contract", x, W, **{"left": (0, 1), "right": (2, 1), "out": (0, 2), **sides})


def several(m: Make, x: Node, W: Node) -> Node:
    y = product(m, x, W)
    return m.add(m("exp", y), m("square", y))


def of_two_axes(m: Make, x: Node, W: Node) -> Node:
    """Rows, columns and what is summed have two axes each."""
    x = m("reshape", x, shape=(BATCH_SIZE, Size(12), Size(16)), running=("batch",))
    W = m("reshape", W, shape=(Size(8), Size(16), Size(12), Size(16)), running=())
    y = m("contract", x, W, left=(0, 1, 2), right=(3, 4, 1, 2), out=(0, 3, 4))
    return m("tanh", y)


READERS: dict[str, tuple[Maker, int]] = {
    "nobody": (product, 1),
    "one, element by element": (lambda m, x, W: m("tanh", product(m, x, W)), 1),
    "two": (several, 1),
    "a sum": (lambda m, x, W: m("sum", product(m, x, W), axes=(0,)), 1),
    "a product": (
        lambda m, x, W: m("contract", product(m, x, W), W, left=(0, 2), right=(2, 1), out=(0, 1)),
        1,
    ),
    "a view": (lambda m, x, W: m("slice", product(m, x, W), axis=1, start=3, stop=70), 1),
    "the sides changed": (
        lambda m, x, W: m("contract", W, x, left=(2, 1), right=(0, 1), out=(0, 2)),
        1,
    ),
    "of two axes each": (of_two_axes, 1),
    "columns first already": (lambda m, x, W: product(m, x, W, out=(2, 0)), 0),
}


def made(reader: Maker, capacity: int = 16) -> tuple[Graph, Program]:
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=TensorType((BATCH_SIZE, Size(192)), ("batch",)))
    W = m("param", path="W", type=TensorType((Size(128), Size(192))))
    graph.outputs = {keys.value("y"): reader(m, x, W)}
    return graph, lower("t", graph, TARGETS["numpy"], "float64", capacity)


@pytest.mark.parametrize("name", READERS)
def test_whoever_reads_a_turned_product_gets_its_numbers(name: str) -> None:
    reader, count = READERS[name]
    graph, program = made(reader)
    assert len(program.forms) == count
    rng = np.random.default_rng(3)
    W = rng.normal(size=(128, 192)) / 9
    executable = Executable(program, Host(), {"W": W}, {})
    for n in (1, 5, 16):
        x = rng.normal(size=(n, 192))
        [(key, want)] = evaluate(graph, {("param", "W"): W, ("input", "x"): x}).items()
        assert isinstance(key, Output)
        bound = executable.at(n)
        bound.inputs["x"][...] = x
        bound.run()
        np.testing.assert_allclose(bound.values["y"], want, rtol=1e-11, atol=1e-12)


def test_the_plan_says_which_products_are_turned() -> None:
    _, program = made(product)
    assert "16 rows by a matrix of 128 x 192" in totals(program, 16)
    assert not lower("t", made(product)[0], TARGETS["cupy"], "float64", 16).forms


SIZES = [
    # rows, columns, summed, and whether such a product is turned
    (20, 300, 784, True), (100, 300, 784, True), (129, 3000, 784, False), (1, 3000, 784, False),
    (20, 10, 3000, False), (20, 3000, 10, False), (64, 128, 128, False), (8, 128, 128, False),
]  # fmt: skip


@pytest.mark.parametrize(("n", "o", "k", "turned"), SIZES)
def test_sizes_decide(n: int, o: int, k: int, turned: bool) -> None:
    m = Make(Graph())
    x = m("input", name="x", type=TensorType((BATCH_SIZE, Size(k)), ("batch",)))
    W = m("param", path="W", type=TensorType((Size(o), Size(k))))
    node = product(m, x, W)
    assert (few_by_large(node, n) is not None) is turned
    assert few_by_large(product(m, W, x, left=(2, 1), right=(0, 1)), n) == few_by_large(node, n)
    turned_already = m("param", path="V", type=TensorType((Size(k), Size(o))))
    assert few_by_large(product(m, x, turned_already, right=(1, 2)), n) is None


LOOP = """
data d = rows(ROWS) {
  x[3] = raw
}
block f(x[n]) -> y {
  param V[192, n] ~ normal(0, 1), U[192, 192] ~ normal(0, 0.1)
  h[-1] = V @ x
  scan t in 3 {
    h[t] = tanh(U @ h[t-1])
  }
  y = sum(h[2]^2)
}
let m = f()
train fit on d batch 8 for 1 update dtype float64 {
  minimize m(x) over m with sgd(lr = 0.1)
}
"""


def test_in_a_loop() -> None:
    x = np.random.default_rng(2).normal(size=(8, 3)).round(2)
    session = dln.load(LOOP.replace("ROWS", str(x.tolist()))).compile().session(seed=1)
    assert session.plan.programs["step:fit"].forms == ("8 rows by a matrix of 192 x 192, turned",)
    V, U = (session.params[f"m.{k}"].copy() for k in "VU")
    h = np.einsum("ik,nk->ni", V, x)
    for _ in range(3):
        h = np.tanh(np.einsum("ij,nj->ni", U, h))
    np.testing.assert_allclose(session.step("fit", x=x), (h**2).sum() / 8, rtol=1e-12)


CELL = """
data d = synthetic("adding", 50, 40) {
  x[time, 2] = raw.x
}
block cell(x[time, n]) -> y {
  param W[192, n] ~ normal(0, 1), U[192, 192] ~ normal(0, 0.1), b[192] = 0.1
  scan t in time {
    h[t] = tanh(W @ x[t] + U @ h[t-1] + b)
  }
  y = sum(last(h)^2)
}
let m = cell()
train fit on d batch 8 for 1 update dtype float64 {
  minimize m(x) over m with sgd(lr = 0.1)
}
"""
GATED = """
block cell(x[time, n]) -> y {
  param W[2, 192, n] ~ normal(0, 1), U[2, 192, 192] ~ normal(0, 0.1), b[2, 192] = 0.1
  scan t in time {
    a    = W @ x[t] + U @ h[t-1] + b
    h[t] = sigmoid(a[0]) * tanh(a[1])
  }
  y = sum(last(h)^2)
}
"""


@pytest.mark.parametrize("gated", [False, True])
def test_a_matrix_of_a_loop_is_turned_once(gated: bool) -> None:
    """The loss, and the update against differences of it; by hand, step by step."""
    text = CELL
    if gated:
        start, stop = CELL.index("block"), CELL.index("let")
        text = CELL[:start] + GATED.strip() + "\n" + CELL[stop:]
    shape = "[2, 192, 192]" if gated else "[192, 192]"
    n = 16 if gated else 32
    spec = text.replace("batch 8", f"batch {n}")
    session = dln.load(spec).compile().session(seed=1)
    assert session.plan.programs["step:fit"].forms == (f"{shape} turned once for 50 steps",)
    rng = np.random.default_rng(6)
    x = rng.random((n, 50, 2))
    W, U, b = (session.params[f"m.{k}"].copy() for k in "WUb")

    def loss(U: np.ndarray) -> complex:
        h = np.zeros((n, 192), complex)
        for t in range(50):
            a = np.einsum("...k,nk->n...", W, x[:, t]) + np.einsum("...k,nk->n...", U, h) + b
            h = np.tanh(a[:, 1]) / (1 + np.exp(-a[:, 0])) if gated else np.tanh(a)
        return complex((h**2).sum() / n)

    np.testing.assert_allclose(session.step("fit", x=x), loss(U).real, rtol=1e-12)
    towards = rng.normal(size=U.shape)
    slope = loss(U + 1e-30j * towards).imag / 1e-30
    moved = ((U - session.params["m.U"]) / 0.1 * towards).sum()
    np.testing.assert_allclose(moved, slope, rtol=1e-9)
