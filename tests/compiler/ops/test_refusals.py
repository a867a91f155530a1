"""What a shape rule refuses, and what the rules of derivatives give where nothing arrives.

The rest of the rules is in `test_ops.py` and `test_curvature.py`. Here stand the branches that no
spec takes, since the front end has refused before, or knows that there is nothing to derive: a
graph that is made by hand may take them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dln.compiler.autodiff.differentiate import differentiate
from dln.compiler.autodiff.gauss_newton import rows
from dln.compiler.autodiff.walks import undo_spread
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import OPS, Make, Stacked
from dln.compiler.ir.ops.accumulate import spell_sum
from dln.compiler.ir.ops.elementwise import sign
from dln.compiler.ir.ops.loop import Body, item, slot
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import BINARY, POSITIVE, PROB, REAL, Domain, TensorType
from dln.grammar.diagnostics import Fault


def real(*shape: Any, running: tuple[str, ...] = (), domain: Domain = REAL) -> TensorType:
    return TensorType(tuple(map(Size.of, shape)), running, "real", domain)


def index(*shape: int, of: int = 4) -> TensorType:
    return TensorType(tuple(map(Size, shape)), (), "index", Domain("class", Size(of)))


def bits(*shape: int) -> TensorType:
    return TensorType(tuple(map(Size, shape)), (), "bool", BINARY)


def given(*types: TensorType) -> tuple[Make, list[Node]]:
    make = Make(Graph())
    return make, [make("input", name=f"x{i}", type=t) for i, t in enumerate(types)]


PART = {"left": (0,), "right": (0,), "out": ()}
WARP = {"shift": 0.0, "scale": 0.0, "squeeze": 0.0, "shear": 0.0}

# What is applied to what, and a part of what is said.
REFUSED: list[tuple[str, list[TensorType], dict[str, Any], str]] = [
    ("add", [real(2)], {}, "add takes 2 operands, found 1"),
    ("add", [index(2), real(2)], {}, "takes numbers, found an index"),
    ("add", [bits(2), real(2)], {}, "takes numbers, found a truth value"),
    ("contract", [real(2, 3), real(2)], PART, "labels (0,) do not fit"),
    ("contract", [real(2, 2), real(2)], {**PART, "left": (0, 0)}, "a label stands twice in (0, 0)"),
    ("where", [bits(2), real(2), index(2)], {}, "of one kind, found real and index"),
    ("asserted", [real(2)], {"domain": Domain("odd")}, "there is no domain odd"),
    ("warp", [real(3, 5), real(3, 5)], {**WARP, "background": 0.0}, "do not go with images"),
    ("warp", [real(3, 4, 4), real(3, 2)], {**WARP, "background": 0.0}, "5 draws for each image"),
    ("pick", [real(3, 4), index(2)], {}, "does not point into the last axis"),
    ("pick", [real(3, 4), index(3, of=5)], {}, "does not point into an axis of size 4"),
    ("gather", [real(), index(3)], {}, "gather takes rows of a table, found a single number"),
    ("scatter_add", [real(3, 2), index(4)], {"size": Size(4)}, "does not index rows"),
    ("lowest", [real()], {"k": 1}, "lowest takes a vector, found a single number"),
    ("lowest", [real(3)], {"k": 4}, "there are no 4 lowest of 3 elements"),
    ("concat", [], {"axis": 0}, "concat takes at least one operand"),
    ("running", [real(3)], {"running": ("batch", "time")}, "has no 2 axes to be running"),
    ("draw", [], {"kind": "odd", "site": "a", "shape": (), "running": ()}, "found odd"),
    ("at", [real(3)], {}, "does not run over time first"),
    ("turned", [real(3, 2), index(3)], {}, "[3] are no lengths of [3, 2]"),
    ("accumulate", [real(2, 3), real(3), real(2), real(2)],
     {"left": (0, 1), "right": (1,), "out": (0,)}, "a product is scaled by a number"),
    ("accumulate_sum", [real(2, 3), real(3), real(2)], {"axes": (0,)},
     "a sum is scaled by a number"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "types", "attrs", "said"), REFUSED)
def test_a_rule_refuses_what_does_not_go_together(
    name: str, types: list[TensorType], attrs: dict[str, Any], said: str
) -> None:
    make, nodes = given(*types)
    with pytest.raises(Fault) as caught:
        make(name, *nodes, **attrs)
    assert said in caught.value.message


def loop(wrong: TensorType | None = None) -> Body:
    """h + x, step by step; with a type, what is carried becomes another one."""
    graph = Graph()
    row, held = slot(graph, real(2), 0, "rows"), slot(graph, real(2), 1, "carried")
    after = Make(graph).add(held, row)
    if wrong is not None:
        after = graph.add("input", (), wrong, name="y", type=wrong)
    return Body(graph, (row,), (), (held,), (after,), Size(3))


@pytest.mark.parametrize(
    ("types", "body", "said"),
    [
        ([real(3, 4, running=("time",)), real(2)], loop(), "does not fit the slot"),
        ([real(4, 2, running=("time",)), real(2)], loop(), "4 rows for 3 steps"),
        ([real(3, 2, running=("time",)), real(2)], loop(real(5)), "what is carried changes"),
        ([real(3, 2, running=("time",))], loop(), "scan takes 2 operands, found 1"),
    ],
)
def test_a_loop_refuses_what_does_not_fit(types: list[TensorType], body: Body, said: str) -> None:
    make, nodes = given(*types)
    with pytest.raises(Fault) as caught:
        make("scan", *nodes, body=body)
    assert said in caught.value.message
    assert repr(loop()) == "<3 steps, 3 operations>"
    assert repr(replace(loop(), reverse=True)) == "<3 steps, 3 operations, backwards>"


def test_a_derivative_that_needs_a_size_says_so() -> None:
    make, (x, bar) = given(real(BATCH_SIZE, 2), real(1, 2))
    cut = make("slice", x, axis=0, start=0, stop=1)
    with pytest.raises(Fault, match="the derivative of a slice needs a fixed size"):
        OPS["slice"].gradient(make, cut, bar)


def test_an_image_stays_a_probability_on_a_ground_that_is_one() -> None:
    """Between values in [0, 1] lie values in [0, 1]."""
    make, (image, u) = given(real(3, 4, 4, domain=PROB), real(3, 5))
    assert make("warp", image, u, **WARP, background=0.5).type.domain == PROB
    assert make("warp", image, u, **WARP, background=2.0).type.domain == POSITIVE
    assert make("warp", image, u, **WARP, background=-1.0).type.domain == REAL


def test_what_may_be_no_class_stays_so_whatever_is_said_of_it() -> None:
    known = Domain("class", Size(4))
    perhaps = TensorType((Size(2),), (), "index", replace(known, partial=True))
    make, (some, all_of_them) = given(perhaps, index(2))
    assert make("asserted", some, domain=known).type.domain == replace(known, partial=True)
    assert make("asserted", all_of_them, domain=known).type.domain == known


def test_a_sum_that_is_scaled_by_1_is_added_as_it_is() -> None:
    make, (a, c) = given(real(2, 3), real(2))
    made = make("accumulate_sum", a, c, make.const(1.0), axes=(1,))
    scaled = make("accumulate_sum", a, c, make.const(2.0), axes=(1,))
    assert [len(spell_sum(n).calls) for n in (made, scaled)] == [2, 3]


# ---- derivatives -------------------------------------------------------------------------------


def test_a_choice_among_indices_has_no_slope() -> None:
    make, (test, a, b, bar) = given(bits(2), index(2), index(2), real(2))
    assert OPS["where"].gradient(make, make("where", test, a, b), bar) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "attrs"),
    [("max", {"axes": (0,)}), ("softmax", {"axes": (0,)}), ("log", {}), ("flip", {"axis": 0})],
)
def test_what_nothing_bends_bends_nothing(name: str, attrs: dict[str, Any]) -> None:
    """A slope that arrives gives second derivatives of the operation itself only where it has any
    to give: these have none, or none is kept (squashing functions)."""
    make, (x, bar) = given(real(3), real(3))
    bar = make.sum(bar, (0,)) if name == "max" else bar
    arrives = None if name == "log" else bar  # a slope bends a logarithm, and here is none
    assert rows(make, make(name, x, **attrs), arrives, None) == (None,)


def test_squares_that_are_summed_and_turned() -> None:
    """x^2 with its axes exchanged: (2 x)^2 bend + 2 bar, where each stands."""
    make, (x, bar, bend) = given(real(3, 2), real(2, 3), real(2, 3))
    turned = make("contract", x, x, left=(0, 1), right=(0, 1), out=(1, 0))
    (found, _) = rows(make, turned, bar, bend)
    assert found is not None
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape) for shape in ((3, 2), (2, 3), (2, 3))]
    env = {("input", f"x{i}"): v for i, v in enumerate(values)}
    wanted = 4 * values[0] ** 2 * values[2].T + 2 * values[1].T
    np.testing.assert_allclose(evaluate({"y": found}, env)["y"], wanted, rtol=1e-14)


def test_a_number_stands_for_a_whole_tensor() -> None:
    make, (part,) = given(real())
    found = undo_spread(make, part, real(2, 3))
    np.testing.assert_array_equal(
        evaluate({"y": found}, {("input", "x0"): 2.5})["y"], np.full((2, 3), 2.5)
    )


def test_a_derivative_of_what_all_examples_share_is_of_none_by_itself() -> None:
    make, (x,) = given(real(BATCH_SIZE, 2, running=("batch",)))
    slopes = make("grad", make.sum(x, (0, 1)), x)
    places = OPS["grad"].places
    assert places is not None and places(slopes, 0) == {}


def test_a_first_value_that_nothing_asks_for_has_no_slope() -> None:
    """Of two values that are carried side by side only one is asked for: by the other's first value
    the derivative is 0."""
    make, (a, b) = given(real(2), real(2))
    graph = Graph()
    one, two = (slot(graph, real(2), i, "carried") for i in (0, 1))
    inner = Make(graph)
    nexts = (inner("tanh", one), inner.mul(two, two))
    body = Body(graph, (), (), (one, two), nexts, Size(3))
    total = make.sum(item(make, make("scan", a, b, body=body), nexts[0]), (0, 1))
    make.graph.outputs |= {"a": make("grad", total, a), "b": make("grad", total, b)}
    env = {("input", "x0"): np.array([0.1, 0.2]), ("input", "x1"): np.ones(2)}
    found = evaluate(differentiate(make.graph), env)
    h, slope, wanted = np.array([0.1, 0.2]), np.ones(2), np.zeros(2)
    for _ in range(3):
        h = np.tanh(h)
        slope = slope * (1 - h * h)
        wanted = wanted + slope
    np.testing.assert_allclose(found["a"], wanted, rtol=1e-14)
    np.testing.assert_array_equal(found["b"], np.zeros(2))


# ---- steps of loops ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "attrs"), [("transpose", {"perm": (1, 0)}), ("running", {"running": ("batch",)})]
)
def test_a_move_of_every_step_is_one_behind_an_axis_for_time(
    name: str, attrs: dict[str, Any]
) -> None:
    make, (x, all_of_x) = given(real(3, 2), real(4, 3, 2, running=("time",)))
    vmap = OPS[name].vmap
    assert vmap is not None
    found = vmap(make, make(name, x, **attrs), Stacked([all_of_x], [True], Size(4)))
    steps = np.random.default_rng(0).normal(size=(4, 3, 2))
    wanted = np.stack([s.T for s in steps]) if name == "transpose" else steps
    value = evaluate({"y": found}, {("input", "x1"): steps})["y"]
    np.testing.assert_array_equal(value, wanted)


def test_a_step_of_another_shape_than_was_said_is_not_worked_out() -> None:
    body = loop()
    wrong = body.graph.add("neg", (body.carried[0],), real(5))
    make, (rows, first) = given(real(3, 2, running=("time",)), real(2))
    made = item(make, make("scan", rows, first, body=body), wrong)
    env = {("input", "x0"): np.ones((3, 2)), ("input", "x1"): np.ones(2)}
    with pytest.raises(Fault, match="its value has"):
        evaluate({"y": made}, env)


def test_the_sign_of_a_plain_number() -> None:
    assert [sign(x) for x in (-3.5, 0.0, 2.0)] == [-1.0, 0.0, 1.0]
