"""Convolutions and other sums of products that have to be copied together first.

Oracles: NumPy's einsum over windows made by `sliding_window_view`, and the evaluator.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import dln
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops.contract import subscripts
from dln.compiler.ir.resolving import known
from dln.compiler.ir.sizes import BATCH_SIZE, Reason, Size, Sizes, Var
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.emit import lower
from dln.compiler.lower.schedule import Schedule, schedule
from dln.compiler.lower.targets import TARGETS, Target
from dln.compiler.plan import Program
from dln.compiler.schema import keys
from dln.compiler.schema.keys import Output
from dln.compiler.stages import optimise
from dln.runtime.device.host import Host
from dln.runtime.execution.executable import Bound, Executable

BOTH = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def real(*shape: int | Size, running: tuple[str, ...] = ()) -> TensorType:
    return TensorType(tuple(map(Size.of, shape)), running)


def window(m: Make, x: Node, axis: int, *terms: tuple[int, int], offset: int = 0) -> Node:
    sized = tuple((c, Size(n)) for c, n in terms)
    return m("window", x, axis=axis, terms=sized, offset=offset)


def correlated(m: Make, x: Node, K: Node, stride: int = 1) -> Node:
    """y[b, f, i, j] = sum(c, u, v) K[f, c, u, v] * x[b, c, stride * i + u, stride * j + v], as the
    language builds it: two tensors spread over all indices, their product, a sum."""
    f, c, k, _ = (s.constant for s in K.type.shape)
    size = (x.type.shape[2].constant - k) // stride + 1
    w = window(m, window(m, x, 2, (stride, size), (1, k)), 4, (stride, size), (1, k))
    shape = (BATCH_SIZE, *(Size(s) for s in (f, c, size, k, size, k)))
    full = TensorType(shape, ("batch",))
    product = m.mul(m.broadcast(K, full, (1, 2, 4, 6)), m.broadcast(w, full, (0, 2, 3, 4, 5, 6)))
    return m.sum(product, (2, 4, 6))


def network(
    channels: tuple[int, int, int] = (2, 3, 4), k: int = 3, side: int = 9, stride: int = 1
) -> Graph:
    """Two convolutions, and the derivatives of a sum by both kernels and the image."""
    c, f, g = channels
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=real(BATCH_SIZE, c, side, side, running=("batch",)))
    K, L = m("param", path="K", type=real(f, c, k, k)), m("param", path="L", type=real(g, f, k, k))
    y = correlated(m, m("tanh", correlated(m, x, K)), L, stride)
    loss = m.sum(m("square", m("tanh", y)), (0, 1, 2, 3))
    graph.outputs = {keys.value("y"): y, keys.value("loss"): loss}
    for name, node in (("dK", K), ("dL", L), ("dx", x)):
        graph.outputs[keys.value(name)] = m("grad", loss, node)
    return optimise(graph)


def values(graph_channels: tuple[int, int, int], k: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    c, f, g = graph_channels
    return {"K": rng.normal(size=(f, c, k, k)), "L": rng.normal(size=(g, f, k, k))}


@BOTH
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("capacity", [1, 16])
def test_a_convolution_and_its_gradients_run_as_they_are_evaluated(
    target: Target, stride: int, capacity: int
) -> None:
    graph = network(stride=stride)
    params = values((2, 3, 4), 3)
    executable = Executable(lower("t", graph, target, "float64", capacity), Host(), params, {})
    for n in (1, 3, 16):
        x = np.random.default_rng(n).normal(size=(n, 2, 9, 9))
        env = {("param", path): p for path, p in params.items()}
        want = evaluate(graph, env | {("input", "x"): x})
        bound = executable.at(n)
        bound.inputs["x"][...] = x
        for _ in range(2):
            bound.run()
        for key, value in want.items():
            assert isinstance(key, Output)
            found = bound.values[str(key.key)]
            np.testing.assert_allclose(found, value, rtol=1e-10, atol=1e-11, err_msg=key)


def test_a_convolution_is_the_one_of_numpy() -> None:
    graph = network()
    params, x = values((2, 3, 4), 3), np.random.default_rng(1).normal(size=(2, 2, 9, 9))
    bound = Executable(lower("t", graph, TARGETS["numpy"], "float64", 2), Host(), params, {}).at(2)
    bound.inputs["x"][...] = x
    bound.run()
    y = x
    for K in params.values():
        y = np.tanh(y) if K is params["L"] else y
        y = np.einsum("bcijuv,fcuv->bfij", sliding_window_view(y, (3, 3), (2, 3)), K)
    np.testing.assert_allclose(bound.values["y"], y, rtol=1e-11, atol=1e-12)


def test_a_sum_over_windows_becomes_a_contraction_and_one_copy_serves_two() -> None:
    graph = network((1, 6, 16), 5, 32)
    assert sum(n.op == "contract" for n in graph.topological()) == 7, "and the sum of squares"
    program = lower("t", graph, TARGETS["numpy"], "float32", 64)
    codes = [line.code for line in program.lines]
    assert not any("einsum" in code for code in codes)
    copied = [line.formula for line in program.lines if line.code.startswith("copyto(")]
    gathered = [text for text in copied if text.startswith("window(window(")]
    assert len(gathered) == 2, "one im2col for each layer"


@BOTH
def test_what_is_read_turned_is_read_as_it_lies(target: Target) -> None:
    """The gradient of a projection of a sequence whose steps come first: one matrix product over
    steps and examples, in whichever order both sides have them."""
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=real(BATCH_SIZE, 6, 5, running=("batch",)))
    bar = m("input", name="bar", type=real(BATCH_SIZE, 6, 4, 8, running=("batch",)))
    turned = m("transpose", x, perm=(1, 0, 2))
    slope = m("contract", bar, turned, left=(0, 3, 1, 2), right=(3, 0, 4), out=(1, 2, 4))
    graph.outputs = {keys.value("y"): slope}
    program = lower("t", graph, target, "float64", 16)
    assert not any("einsum" in line.code or "copyto" in line.code for line in program.lines)
    bound, rng = Executable(program, Host(), {}, {}).at(16), np.random.default_rng(2)
    given = {name: rng.normal(size=array.shape) for name, array in bound.inputs.items()}
    for name, array in bound.inputs.items():
        array[...] = given[name]
    bound.run()
    want = np.einsum("bthl,bte->hle", given["bar"], given["x"])
    np.testing.assert_allclose(bound.values["y"], want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("capacity", [1, 8])
def test_no_two_live_arrays_share_memory(
    capacity: int, overlaps: Callable[[Schedule], list[tuple[str, str]]]
) -> None:
    assert overlaps(schedule(network(), TARGETS["numpy"], capacity)) == []


def test_windows_of_open_sizes_are_solved_with_the_others() -> None:
    side = Var("k")
    graph = Graph()
    x = Make(graph)("input", name="x", type=real(6))
    node = window(Make(graph), x, 0, (1, 4), (1, 3))
    open_terms = ((1, Size(7) - Size.of(side)), (1, Size.of(side)))
    loose = Make(graph)("window", x, axis=0, terms=open_terms, offset=0)
    assert loose.type.shape[1] == Size.of(side)
    sizes = Sizes()
    sizes.equate(Size.of(side), 3, Reason(None, "a kernel"))
    assert known(open_terms, sizes) == node["terms"]


def bound_to_ones(program: Program, params: dict[str, np.ndarray], n: int) -> Bound:
    params = {path: p.astype("float32") for path, p in params.items()}
    bound = Executable(program, Host(), params, {}).at(n)
    for array in bound.inputs.values():
        array.fill(0.5)
    return bound


def test_a_step_of_convolutions_allocates_nothing() -> None:
    program = lower("t", network((1, 6, 16), 5, 32), TARGETS["numpy"], "float32", 8)
    bound = bound_to_ones(program, values((1, 6, 16), 5), 8)
    for _ in range(3):
        bound.run()
    usual = np.setbufsize(16)  # some releases cast and broadcast through a scratch of their own
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(10):
            bound.run()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        np.setbufsize(usual)
    assert after - before < 500
    assert peak - before < 3000


def test_the_costs_count_the_products_and_the_copies() -> None:
    n, program = 8, lower("t", network((1, 6, 16), 5, 32), TARGETS["numpy"], "float32", 8)
    first, second = 2 * 6 * 25 * 28 * 28, 2 * 16 * 150 * 24 * 24
    products = 3 * n * (first + second)
    assert products < program.flops(n) < 1.2 * products
    copies = [line for line in program.lines if line.code.startswith("copyto(")]
    sizes = sorted(line.bytes[1] for line in copies)
    assert sizes[-1] >= 2 * 4 * 6 * 25 * 24 * 24


# ---- any contraction ---------------------------------------------------------------------------


def random_contraction(rng: np.random.Generator, graph: Graph) -> tuple[Node, list[Node]]:
    """A contraction with labels in any order, either operand perhaps transposed or a window."""
    m = Make(graph)
    parts = {x: rng.choice(["left", "right", "out"], p=[0.25, 0.25, 0.5]) for x in range(6)}
    kinds = {x: rng.choice(["rows", "cols", "inner", "batch"]) for x in parts}
    kinds |= {0: "inner", 1: "rows", 2: "cols"}
    sizes = {x: int(rng.integers(2, 9)) for x in parts}
    left = [x for x, kind in kinds.items() if kind != "cols"]
    right = [x for x, kind in kinds.items() if kind != "rows"]
    out = [x for x, kind in kinds.items() if kind != "inner"]
    for labels in (left, right, out):
        rng.shuffle(labels)
    inputs, operands = [], []
    for name, labels in (("a", left), ("b", right)):
        node, given = operand(m, rng, name, [sizes[x] for x in labels])
        inputs.append(given)
        operands.append(node)
    made = m("contract", *operands, left=tuple(left), right=tuple(right), out=tuple(out))
    return made, inputs


def operand(m: Make, rng: np.random.Generator, name: str, sizes: list[int]) -> tuple[Node, Node]:
    """An operand of these sizes, and the input that it is or looks at."""
    how = rng.choice(["plain", "turned", "window"])
    if how == "window":
        i, j = sizes[0], sizes[1]
        x = m("input", name=name, type=real(2 * i + j, *sizes[2:]))
        return window(m, x, 0, (2, i), (1, j), offset=1), x
    if how == "turned":
        perm = tuple(int(p) for p in rng.permutation(len(sizes)))
        x = m("input", name=name, type=real(*(sizes[perm.index(k)] for k in range(len(sizes)))))
        x, given = m("transpose", x, perm=tuple(perm.index(k) for k in perm)), x
        inverse = tuple(perm[k] for k in range(len(perm)))
        return m("transpose", given, perm=inverse), given
    x = m("input", name=name, type=real(*sizes))
    return x, x


@BOTH
@pytest.mark.parametrize("seed", range(40))
def test_any_contraction_equals_einsum(seed: int, target: Target) -> None:
    rng, graph = np.random.default_rng(seed), Graph()
    node, inputs = random_contraction(rng, graph)
    graph.outputs = {keys.value("y"): node}
    given = {x["name"]: rng.normal(size=[s.constant for s in x.type.shape]) for x in inputs}
    env = {("input", name): value for name, value in given.items()}
    graph.outputs |= {"l": node.operands[0], "r": node.operands[1]}
    seen = evaluate(graph, env)
    text = subscripts(node["left"], node["right"], node["out"])
    want = np.einsum(text, seen["l"], seen["r"])
    graph.outputs = {keys.value("y"): node}
    bound = Executable(lower("t", graph, target, "float64"), Host(), {}, {}).at(1)
    for name, value in given.items():
        bound.inputs[name][...] = value
    bound.run()
    np.testing.assert_allclose(bound.values["y"], want, rtol=1e-11, atol=1e-11)


OWN = """
block own(x[c, h, w]; k, size) -> y[k, rows, columns] {
  param K[k, c, size, size] ~ normal(0, 1), b[k] = 0
  y[o, i, j] = sum(q, u, v: K[o, q, u, v] * x[q, i + u, j + v]) + b[o]
}
let net = MADE
data d = rows([[1, 2, 3, 4, 5, 6, 7, 8, 9]]) {
  x[1, 27, 27] = [pad([raw[0:3], raw[3:6], raw[6:9]], 12)]
}
train p on d for 1 update {
  minimize sum(net(x)^2) over net with sgd(lr = 0.1)
}
"""


def test_a_convolution_of_one_s_own_gets_the_plan_of_the_library_s() -> None:
    plans = []
    for made in ("own(8, 5)", "conv(8, 5)"):
        plan = dln.load(OWN.replace("MADE", made)).compile().plan
        plans.append([line.code for line in plan.programs["step:p"].lines])
    assert plans[0] == plans[1]
    assert not any("einsum" in code for code in plans[0])
