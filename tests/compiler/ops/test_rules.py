"""The other rules of records: places of axes, bounds, how elements lie in memory.

Oracles: what moves when an operand is changed in one place, the largest of many powers, the flags
of NumPy's own views.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import ANY, OPS, Make
from dln.compiler.ir.ops.common import lies
from dln.compiler.ir.ops.loop import Body, item, slot
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import TensorType

PLACED = [
    pytest.param(name, types, attrs, id=f"{name}-{i}")
    for name, op in OPS.items()
    if op.places and not op.is_("loop")
    for i, (types, attrs) in enumerate(op.examples())
    if types and types[0].kind == "real"
]


def inputs(*types: TensorType) -> tuple[Make, list[Node]]:
    make = Make(Graph())
    return make, [make("input", name=f"x{i}", type=t) for i, t in enumerate(types)]


def numbers(rng: Any, type: TensorType) -> np.ndarray:
    shape = tuple(s.value for s in type.shape)
    if type.kind == "index":
        assert type.domain.size is not None
        return np.asarray(rng.integers(0, type.domain.size.value, shape))
    return np.asarray(rng.uniform(0.3, 1.7, shape))


@pytest.mark.parametrize(("name", "types", "attrs"), PLACED)
def test_where_an_axis_stays_one_place_of_an_operand_is_one_of_the_result(
    name: str, types: tuple[TensorType, ...], attrs: dict[str, Any]
) -> None:
    make, nodes = inputs(*types)
    node, places, rng = make(name, *nodes, **attrs), OPS[name].places, np.random.default_rng(5)
    assert places is not None
    values = [numbers(rng, t) for t in types]

    def result(changed: dict[int, np.ndarray]) -> np.ndarray:
        env = {("input", f"x{i}"): changed.get(i, v) for i, v in enumerate(values)}
        return np.asarray(evaluate({"y": node}, env)["y"])

    before = result({})
    for k, type in enumerate(types):
        for mine, theirs in places(node, k).items() if type.kind == "real" else ():
            moved = values[k].copy()
            np.moveaxis(moved, theirs, 0)[0] += 1.0
            after = result({k: moved})
            one, two = (np.moveaxis(a, mine, 0)[1:] for a in (before, after))
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.summed])
def test_a_sum_goes_to_the_operands(name: str) -> None:
    """Over each choice of axes, where the rule has an answer; with operands that are alike along
    these, too. It has one for some."""
    rng, rule, answers = np.random.default_rng(6), OPS[name].summed, 0
    assert rule is not None
    for types, attrs in OPS[name].examples():
        if not all(t.kind == "real" and all(s.value for s in t.shape) for t in types):
            continue
        make, nodes = inputs(*types)
        env = {("input", f"x{i}"): numbers(rng, t) for i, t in enumerate(types)}
        rank = len(make(name, *nodes, **attrs).type.shape)
        choices = [c for k in range(1, rank + 1) for c in combinations(range(rank), k)]
        for axes, spread in product(choices, range(-1, len(nodes))):
            operands = nodes.copy()
            if spread >= 0 and (shape := types[spread].shape):
                rest = tuple(i for i in range(len(shape)) if i not in axes)
                thin = make("sum", nodes[spread], axes=tuple(set(range(len(shape))) - {*rest}))
                operands[spread] = make("broadcast", thin, axes=rest, shape=shape, running=())
            node = make(name, *operands, **attrs)
            found = rule(make, node, axes, partial(summed, make))
            if found is not None:
                answers += 1
                both = evaluate({"sum": summed(make, node, axes), "found": found}, env)
                assert both["found"].shape == both["sum"].shape
                np.testing.assert_allclose(both["found"], both["sum"], rtol=1e-13)
    assert answers


def summed(make: Make, node: Node, axes: tuple[int, ...]) -> Node:
    return make("sum", node, axes=axes)


@pytest.mark.parametrize(("mixed", "wanted"), [(False, {1: 0}), (True, {})])
def test_what_a_loop_takes_over_all_examples_is_of_none_by_itself(
    mixed: bool, wanted: dict[int, int]
) -> None:
    """h[t] = h[t-1] * x[t], or times the sum of x[t] over the examples."""
    step = TensorType((BATCH_SIZE,), ("batch",))
    make, (x, h0) = inputs(TensorType((Size(3), BATCH_SIZE), ("time", "batch")), step)
    graph = Graph()
    row, held = slot(graph, step, 0, "rows"), slot(graph, step, 1, "carried")
    inner = Make(graph)
    by = inner.broadcast(inner.sum(row, (0,)), step, ()) if mixed else row
    after = inner.mul(held, by)
    loop = make("scan", x, h0, body=Body(graph, (row,), (), (held,), (after,), Size(3)))
    node, places = item(make, loop, after), OPS["item"].places
    assert places is not None and places(node, 0) == wanted
    rows, start = np.arange(1.0, 13.0).reshape(3, 4), np.ones(4)
    moved = rows + np.array([0.0, 0.0, 1.0, 0.0])
    found = [
        evaluate({"y": node}, {("input", "x0"): x, ("input", "x1"): start})["y"]
        for x in (rows, moved)
    ]
    others = [0, 1, 3]
    assert np.array_equal(found[0][:, others], found[1][:, others]) is not mixed


# ---- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, 7.0])
@pytest.mark.parametrize("largest", [0.5, 1.0, 3.0])
def test_a_whole_power_is_no_larger_than_that_of_the_largest(
    exponent: float, largest: float
) -> None:
    make, (x,) = inputs(TensorType((Size(2),)))
    bound, node = OPS["pow"].bound, make("pow", x, make.const(exponent))
    assert bound is not None
    powers = np.abs(np.linspace(-largest, largest, 101) ** exponent)
    found = bound(node, [largest, exponent], False)
    assert powers.max() <= found * (1 + 1e-12)
    assert found == pytest.approx(max(1.0, largest) ** exponent)
    assert bound(node, [ANY, exponent], False) == ANY
    assert bound(make("pow", x, make.const(0.5)), [largest, 0.5], False) == ANY


# ---- memory ------------------------------------------------------------------------------------


def test_elements_lie_as_those_of_numpys_views() -> None:
    make, (x,) = inputs(TensorType((Size(2), Size(3))))
    array = np.zeros((2, 3))
    flat = make("reshape", x, shape=(Size(6),), running=())
    turned = make("transpose", x, perm=(1, 0))
    views = {x: array, flat: array.reshape(6), turned: array.transpose()}
    for node, view in views.items():
        assert (lies(node) == "rows") == view.flags.c_contiguous, node.op
    assert lies(turned) == "turned"
