"""Schedules: sound memory, updates in place, short lifetimes. The oracle is the evaluator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.sizes import BATCH, BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.emit import lower
from dln.compiler.lower.schedule import Schedule, schedule
from dln.compiler.lower.targets import TARGETS, Target
from dln.compiler.schema import keys
from dln.runtime.device.host import Host
from dln.runtime.execution.executable import Executable

NUMPY = TARGETS["numpy"]
BOTH = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def real(*shape: int | Size, running: tuple[str, ...] = ()) -> TensorType:
    return TensorType(tuple(map(Size.of, shape)), running)


def batch(size: int) -> TensorType:
    return real(BATCH_SIZE, size, running=("batch",))


def param(m: Make, path: str, *shape: int) -> Node:
    return m("param", path=path, type=real(*shape))


def transposed(m: Make, a: Node) -> Node:
    return m("transpose", a, perm=(1, 0))


def run(
    graph: Graph, target: Target, n: int, capacity: int, clock: float = 3.0, steps: int = 2
) -> tuple[Any, ...]:
    """What the program leaves after some steps, and what the evaluator says it should."""
    program = lower("t", graph, target, "float64", capacity)
    rng = np.random.default_rng(n)
    held: dict[str, dict[str, np.ndarray]] = {"param": {}, "state": {}}
    for b in program.buffers:
        if b.place in held:
            held[b.place][b.key] = rng.uniform(0.2, 0.8, b.shape_at(n))
    env = {(place, key): a.copy() for place, arrays in held.items() for key, a in arrays.items()}
    executable = Executable(program, Host(), held["param"], held["state"])
    bound = executable.at(n)
    for name, array in bound.inputs.items():
        array[...] = rng.uniform(0.2, 0.8, array.shape)
        env["input", name] = array.copy()
    for name in ("epoch", "update"):
        env["clock", name] = np.array(clock)
    want = {}
    for _ in range(steps):
        bound.run(*[clock for _ in program.clocks])
        want = evaluate(graph, env, sizes={BATCH: n})
        for key, value in want.items():
            assert isinstance(key, keys.Output)
            if key.place != "value":
                env[key.place, str(key.key)] = value
    got = {keys.value(k): a for k, a in bound.values.items()}
    got |= {keys.Output(place, k): a for place, arrays in held.items() for k, a in arrays.items()}
    return got, want


def agree(
    graph: Graph, target: Target, sizes: tuple[int, ...] = (1, 3, 4, 6), capacity: int = 4
) -> None:
    """The program does what the graph means, for fewer and for more examples than planned."""
    for n in sizes:
        got, want = run(graph, target, n, capacity)
        for key in want:
            np.testing.assert_allclose(got[key], want[key], rtol=1e-11, atol=1e-12, err_msg=key)


def ops_writing(made: Schedule, place: str) -> list[str]:
    return [s.node.op for s in made.steps if made.buffers[s.out].place == place]


# ---- updates in place --------------------------------------------------------------------------


def descent(m: Make) -> None:
    W = param(m, "W", 3, 5)
    x = m("input", name="x", type=batch(5))
    y = m("contract", x, W, left=(0, 1), right=(2, 1), out=(0, 2))
    bar = m("contract", y, x, left=(0, 1), right=(0, 2), out=(1, 2))
    m.graph.outputs = {keys.new_param("W"): m.sub(W, bar), keys.value("loss"): m.sum(y, (0, 1))}


def momentum(m: Make) -> None:
    W, v = param(m, "W", 3, 5), m("state", path="v", type=real(3, 5))
    fast = m.sub(m.scale(v, 0.9), m.scale(W, 0.1))
    m.graph.outputs = {keys.new_state("v"): fast, keys.new_param("W"): m.add(W, fast)}


def test_plain_descent_writes_the_weights_in_place() -> None:
    graph = Graph()
    descent(Make(graph))
    made = schedule(graph, NUMPY)
    assert ops_writing(made, "param") == ["sub"]
    agree(graph, NUMPY)


def test_momentum_needs_one_array_beside_its_own() -> None:
    graph = Graph()
    momentum(Make(graph))
    made = schedule(graph, NUMPY)
    assert ops_writing(made, "state") == ["mul", "sub"]
    assert made.slots == [(60, 0)]
    assert "copy" not in [s.node.op for s in made.steps]
    agree(graph, NUMPY)


@BOTH
def test_parameters_that_change_places(target: Target) -> None:
    graph = Graph()
    m = Make(graph)
    a, b = param(m, "a", 3), param(m, "b", 3)
    graph.outputs = {keys.new_param("a"): b, keys.new_param("b"): a}
    agree(graph, target)


@BOTH
def test_a_ring_of_updates_reads_old_values_only(target: Target) -> None:
    graph = Graph()
    m = Make(graph)
    a, b, c = (param(m, p, 4) for p in "abc")
    graph.outputs = {
        keys.new_param("a"): m.add(a, b),
        keys.new_param("b"): m.add(b, c),
        keys.new_param("c"): m.add(c, a),
    }
    agree(graph, target)


@BOTH
def test_an_operand_seen_through_a_view_is_not_overwritten(target: Target) -> None:
    graph = Graph()
    m = Make(graph)
    a = param(m, "a", 3, 3)
    late = m("exp", m.scale(a, 0.5))
    graph.outputs = {
        keys.new_param("a"): m.sub(a, transposed(m, a)),
        keys.value("y"): m.sub(late, transposed(m, late)),
    }
    agree(graph, target)


@BOTH
def test_an_output_that_is_a_source_a_view_or_another_output(target: Target) -> None:
    graph = Graph()
    m = Make(graph)
    a, x = param(m, "a", 2, 3), m("input", name="x", type=batch(3))
    y, half = m("exp", x), m.scale(a, 0.5)
    graph.outputs = {
        keys.value("old"): a,
        keys.new_param("a"): half,
        keys.value("again"): half,
        keys.value("turned"): transposed(m, a),
        keys.value("x"): x,
        keys.value("y"): y,
        keys.value("also"): y,
        keys.value("number"): m.const(2.5),
        keys.value("batch"): m.mul(m.size(BATCH_SIZE), m("clock", name="epoch")),
    }
    agree(graph, target)


@BOTH
def test_a_parameter_that_keeps_its_value_costs_nothing(target: Target) -> None:
    graph = Graph()
    m = Make(graph)
    a = param(m, "a", 3)
    graph.outputs = {keys.new_param("a"): a}
    assert schedule(graph, target).steps == []


@BOTH
def test_new_values_feed_each_other(target: Target) -> None:
    graph = Graph()
    m = Make(graph)
    a, b = param(m, "a", 4), m("state", path="b", type=real(4))
    new = m.add(m.scale(b, 0.9), m("square", a))
    graph.outputs = {
        keys.new_state("b"): new,
        keys.new_param("a"): m.sub(a, m.div(new, m("sqrt", new))),
    }
    agree(graph, target)


# ---- memory ------------------------------------------------------------------------------------


def chain(length: int) -> Graph:
    graph = Graph()
    m = Make(graph)
    y = m("input", name="x", type=batch(7))
    for _ in range(length):
        y = m("tanh", y)
    graph.outputs = {keys.value("y"): y}
    return graph


def test_a_chain_lives_in_one_slot() -> None:
    assert schedule(chain(9), NUMPY).slots == [(0, 28)]


def test_arrays_are_apart_for_any_number_of_examples() -> None:
    """One that is larger for few examples and one that is larger for many begin at one place."""
    graph = Graph()
    m = Make(graph)
    x, W = m("input", name="x", type=batch(3)), param(m, "W", 5, 5)
    wide = m.sum(m("exp", m("exp", W)), (0, 1))
    long = m.sum(m("exp", m("exp", x)), (0, 1))
    graph.outputs = {keys.value("y"): m.add(wide, long)}
    made = schedule(graph, NUMPY, capacity=2)
    wider, longer = made.slots.index((100, 0)), made.slots.index((0, 12))
    assert not {wider, longer} & {*made.below[wider], *made.below[longer]}
    agree(graph, NUMPY, sizes=(1, 2, 50), capacity=2)


def test_the_order_keeps_few_arrays_alive() -> None:
    """Branches are finished one after another, though the graph was built level by level."""
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=batch(100))
    level = [m("tanh", m.scale(x, float(k))) for k in range(1, 9)]
    level = [m("exp", y) for y in level]
    sums = [m.sum(y, (1,)) for y in level]
    total = sums[0]
    for s in sums[1:]:
        total = m.add(total, s)
    graph.outputs = {keys.value("y"): total}
    made = schedule(graph, NUMPY, capacity=10)
    large = [slot for slot in made.slots if slot[1] >= 400]
    assert len(large) == 1


def test_the_check_finds_a_planted_overlap(
    overlaps: Callable[[Schedule], list[tuple[str, str]]],
) -> None:
    graph = Graph()
    m = Make(graph)
    x = m("input", name="x", type=batch(3))
    a = m("exp", x)
    graph.outputs = {keys.value("y"): m.add(m("tanh", a), m.sum(m("square", a), (0, 1)))}
    made = schedule(graph, NUMPY)
    assert overlaps(made) == []
    for name, b in made.buffers.items():
        if b.place == "arena":
            object.__setattr__(b, "slot", 0)
        made.buffers[name] = b
    assert overlaps(made)


def test_the_schedule_does_not_depend_on_the_run() -> None:
    texts = {lower("t", chain(5), NUMPY).text for _ in range(3)}
    assert len(texts) == 1


# ---- at random ---------------------------------------------------------------------------------

UNARY = ["exp", "tanh", "square", "sigmoid", "softplus", "neg", "abs"]
BINARY = ["add", "sub", "mul", "maximum"]


def tame(m: Make, a: Node) -> Node:
    return m("tanh", a)


def random_graph(seed: int) -> Graph:
    """Square matrices combined at random, with views, sums, products and updates."""
    rng = np.random.default_rng(seed)
    graph = Graph()
    m = Make(graph)
    square = [param(m, f"p{i}", 4, 4) for i in range(3)]
    square += [m("state", path=f"s{i}", type=real(4, 4)) for i in range(2)]
    rows = [m("input", name="x", type=batch(4))]
    numbers = [m.const(0.7), m("clock", name="epoch"), m.size(BATCH_SIZE)]

    def pick(pool: list[Node]) -> Node:
        return pool[int(rng.integers(max(0, len(pool) - 7), len(pool)))]

    for _ in range(int(rng.integers(8, 40))):
        pool = square if rng.random() < 0.6 else rows
        a, b, kind = pick(pool), pick(pool), rng.integers(9)
        if kind <= 1:
            made = m(str(rng.choice(UNARY)), a)
        elif kind <= 3:
            made = m(str(rng.choice(BINARY)), a, b)
        elif kind == 4:
            made = m.mul(pick(numbers), a)
        elif kind == 5:
            made = m("contract", a, pick(square), left=(0, 1), right=(1, 2), out=(0, 2))
        elif kind == 6:
            made = m("flip", a, axis=1) if pool is rows else transposed(m, a)
        elif kind == 7:
            made = m("where", m("gt", a, b), b, a)
        else:
            numbers.append(m("tanh", m.sum(m("tanh", a), (0, 1))))
            made = m("sub", pick(numbers), a)
        pool.append(tame(m, made) if rng.random() < 0.5 else made)
    square.append(m("contract", rows[-1], rows[-1], left=(0, 1), right=(0, 2), out=(1, 2)))
    for key in (*map(keys.new_param, ("p0", "p1", "p2")), *map(keys.new_state, ("s0", "s1"))):
        if rng.random() < 0.8:
            graph.outputs[key] = tame(m, pick(square)) if rng.random() < 0.7 else pick(square)
    graph.outputs |= {
        keys.value("a"): pick(square),
        keys.value("b"): pick(rows),
        keys.value("c"): pick(numbers),
    }
    return graph


@BOTH
@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_run_as_they_are_evaluated(seed: int, target: Target) -> None:
    agree(random_graph(seed), target, sizes=(1, 3), capacity=2)
