"""Products with one-hot rows as rows of a table.

Oracle: the evaluator, which multiplies, in double precision.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import Domain, TensorType
from dln.compiler.lower.emit import lower
from dln.compiler.lower.forms.lookups import ENOUGH
from dln.compiler.lower.targets import TARGETS
from dln.compiler.plan import Program
from dln.compiler.schema import keys
from dln.compiler.schema.keys import Output
from dln.runtime.device.host import Host
from dln.runtime.execution.executable import Executable

T = Size(8)
Maker = Callable[[Make, Node], Node]


def param(m: Make, name: str, *sizes: Size | int) -> Node:
    return m("param", path=name, type=TensorType(tuple(map(Size.of, sizes))))


def layer(m: Make, hot: Node, **changed: tuple[int, ...]) -> Node:
    sides = {"left": (3, 4, 2), "right": (0, 1, 2), "out": (0, 1, 3, 4), **changed}
    return m("contract", param(m, "W", 3, 5, 7), hot, **sides)


def spread(m: Make, like: Node, axes: tuple[int, ...], *sizes: Size | int) -> Node:
    return m.broadcast(param(m, "b", *sizes), like.type, axes)


def biased(m: Make, hot: Node, axes: tuple[int, ...], *sizes: Size | int) -> Node:
    y = layer(m, hot)
    return m.add(y, spread(m, y, axes, *sizes))


def twice(m: Make, hot: Node) -> Node:
    y = layer(m, hot)
    return m.add(m.add(spread(m, y, (2, 3), 3, 5), y), m("tanh", y))


def classes_first(m: Make, hot: Node) -> Node:
    return m("contract", hot, param(m, "W", 7, 5), left=(0, 1, 2), right=(2, 3), out=(0, 1, 3))


CASES: dict[str, tuple[Maker, int, int]] = {
    # the rows of tables, and how often a table is copied turned
    "classes last": (layer, 1, 1),
    "classes first": (classes_first, 1, 0),
    "the result turned": (lambda m, hot: layer(m, hot, out=(1, 3, 0, 4)), 1, 1),
    "a bias of all its rows": (lambda m, hot: biased(m, hot, (2, 3), 3, 5), 1, 1),
    "a bias of a part of them": (lambda m, hot: biased(m, hot, (3,), 5), 1, 1),
    "a bias for each step": (lambda m, hot: biased(m, hot, (1, 3), 8, 5), 1, 1),
    "read twice": (twice, 1, 1),
    "a product over examples": (
        lambda m, hot: m("contract", hot, hot, left=(0, 1, 2), right=(0, 1, 3), out=(2, 3)),
        0,
        0,
    ),
    "one-hot on both sides": (
        lambda m, hot: m("contract", hot, hot, left=(0, 1, 2), right=(0, 3, 2), out=(0, 1, 3)),
        0,
        0,
    ),
}


def made(maker: Maker, capacity: int = 5, k: int = 7) -> tuple[Graph, Program]:
    graph = Graph()
    m = Make(graph)
    kind = TensorType((BATCH_SIZE, T), ("batch",), "index", Domain("class", Size(k)))
    hot = m("onehot", m("input", name="c", type=kind), size=Size(k))
    graph.outputs = {keys.value("y"): maker(m, hot)}
    return graph, lower("t", graph, TARGETS["numpy"], "float64", capacity)


def params(graph: Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    found = [n for n in graph.topological() if n.op == "param"]
    return {n["path"]: rng.normal(size=[s.constant for s in n.type.shape]) for n in found}


@pytest.mark.parametrize("name", CASES)
def test_what_is_looked_up_is_the_product(name: str) -> None:
    maker, count, copies = CASES[name]
    graph, program = made(maker)
    assert len(program.forms) == count
    assert sum(line.op == "contract" for line in program.lines) == 1 - count
    turned = [line for line in program.lines if line.op == "copy" and line.formula == "W"]
    assert len(turned) == copies
    held = params(graph)
    executable = Executable(program, Host(), held, {})
    for n in (1, 5):
        c = np.random.default_rng(n).integers(0, 7, (n, 8))
        env = {("param", k): v for k, v in held.items()} | {("input", "c"): c}
        [(key, want)] = evaluate(graph, env).items()
        assert isinstance(key, Output)
        bound = executable.at(n)
        bound.inputs["c"][...] = c
        bound.run()
        np.testing.assert_allclose(bound.values["y"], want, rtol=1e-13, atol=1e-14)


def test_a_bias_is_added_to_the_table_where_it_is_the_same_for_all_rows() -> None:
    for name, rows in (
        ("a bias of all its rows", 7),
        ("a bias for each step", 5),
        ("read twice", 5),
    ):
        _, program = made(CASES[name][0])
        buffers = {b.name: b for b in program.buffers}
        first = next(line for line in program.lines if line.op == "add")
        assert buffers[first.writes].shape_at(5)[0] == rows


def test_few_rows_stay_a_product() -> None:
    assert ENOUGH // 8 == 4
    assert not made(layer, 3)[1].forms and made(layer, 4)[1].forms
    assert not lower("t", made(layer)[0], TARGETS["cupy"], "float64", 5).forms


def test_what_is_not_looked_up_is_not_read() -> None:
    graph, program = made(classes_first)
    held = params(graph)
    held["W"][3] = np.inf
    bound = Executable(program, Host(), held, {}).at(5)
    bound.inputs["c"][...] = np.arange(40).reshape(5, 8) % 3
    bound.run()
    assert np.isfinite(bound.values["y"]).all()


# ---- sums by class -------------------------------------------------------------------------------

WIDE = 400
SUMS: dict[str, Maker] = {
    "classes last": lambda m, hot: summed(m, hot, (3, 4, 2)),
    "classes first": lambda m, hot: summed(m, hot, (2, 3, 4)),
    "added to what is there": lambda m, hot: m(
        "accumulate", *factors(m, hot), param(m, "W", 60, 2, WIDE), m.const(-0.5),
        left=(0, 1, 2), right=(0, 1, 3, 4), out=(2, 3, 4),
    ),
}  # fmt: skip


def factors(m: Make, hot: Node) -> tuple[Node, Node]:
    kind = TensorType((BATCH_SIZE, T, Size(2), Size(WIDE)), ("batch",))
    return hot, m("input", name="d", type=kind)


def summed(m: Make, hot: Node, out: tuple[int, ...]) -> Node:
    hot, d = factors(m, hot)
    return m("contract", d, hot, left=(0, 1, 3, 4), right=(0, 1, 2), out=out)


@pytest.mark.parametrize("name", SUMS)
def test_what_is_added_up_by_class_is_the_product(name: str) -> None:
    graph, program = made(SUMS[name], 200, 60)
    assert len(program.forms) == 1 and not any(line.op == "onehot" for line in program.lines)
    held = params(graph)
    executable = Executable(program, Host(), held, {})
    for n in (1, 30):
        rng = np.random.default_rng(n)
        given = {"c": rng.integers(0, 59, (n, 8)), "d": rng.normal(size=(n, 8, 2, WIDE))}
        env = {("param", k): v for k, v in held.items()} | {
            ("input", k): v for k, v in given.items()
        }
        [(key, want)] = evaluate(graph, env).items()
        assert isinstance(key, Output)
        bound = executable.at(n)
        for k, v in given.items():
            bound.inputs[k][...] = v
        bound.run()
        np.testing.assert_allclose(bound.values["y"], want, rtol=1e-12, atol=1e-13)


def test_few_or_short_rows_stay_a_product() -> None:
    maker = SUMS["classes last"]
    assert not made(maker, 200, 7)[1].forms and not made(maker, 1, 60)[1].forms
    assert not lower("t", made(maker, 200, 60)[0], TARGETS["cupy"], "float64", 200).forms
