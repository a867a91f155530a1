"""Fields of whole parts in the graph and in programs, and the lowest of a vector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dln.spec as specs
from dln.compiler.ir.graph import ancestors
from dln.compiler.plan import Program, memory
from dln.grammar.diagnostics import DlnError, Source

DATA = """
data d = npz("a.npz") {
  x[40]: prob = raw.x
  c: class(10) = raw.c
  split fit 20000
}
"""
SQUARES = """
train look on d batch 10 for 0 epochs {
  e[j] = sum(i: (x[i] - d.x[j, i])^2)
  f[j] = sum(i: abs(x[i] - d.x[j, i]))
  watch one = d.c[argmin(e)] != c
  watch all = d.c[argmin(e)] != c on d.fit
  watch other = d.c[argmin(f)] != c on d.fit
}
"""
ROWS = 30_000


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., specs.Spec]:
    folder: Path = tmp_path_factory.mktemp("wholes")
    rng = np.random.default_rng(0)
    np.savez(folder / "a.npz", x=rng.random((ROWS, 40)), c=rng.integers(0, 10, ROWS))

    def make(text: str, limit: int | None = None) -> specs.Spec:
        return specs.from_source(Source(str(folder / "net.dln"), DATA + text), "net", limit=limit)

    return make


def wholes(spec: specs.Spec) -> dict[str, str]:
    """The whole fields of a spec, with their types."""
    nodes = spec.model.graph.topological()
    return {str(n["name"]): str(n.type) for n in nodes if n.op == "whole"}


def test_shape_and_domain_are_those_of_the_field(load: Callable[..., specs.Spec]) -> None:
    text = "let a = d.fit.x\nlet b = d.c\nlet e = d.all.c\n"
    known = {"d.fit.x": "[20000, 40]: prob", "d.all.c": "[30000]: class(10)"}
    assert wholes(load(text)) == known
    fewer = {"d.fit.x": "[25, 40]: prob", "d.all.c": "[25]: class(10)"}
    assert wholes(load(text, limit=25)) == fewer
    assert wholes(load(text, limit=25_000))["d.fit.x"] == "[20000, 40]: prob"


def test_it_is_no_field_of_the_minibatch(load: Callable[..., specs.Spec]) -> None:
    spec = load(SQUARES)
    assert spec.model.phases["look"].fields == ("x", "c")
    plan = spec.compile().plan
    assert tuple(map(str, plan.wholes)) == ("d.all.c", "d.all.x")
    program = plan.programs["step:look"]
    assert {b.key: b.shape_at(7) for b in program.buffers if b.place == "whole"} == {
        "d.all.c": (ROWS,),
        "d.all.x": (ROWS, 40),
    }
    assert memory(program, 1)["whole"] == ROWS * (40 * 4 + 8)
    assert "whole data" in spec.compile().text("step:look")


def test_squared_distances_are_products(load: Callable[..., specs.Spec]) -> None:
    program = load(SQUARES).compile().plan.programs["step:look"]
    assert largest(program, 10) == 10 * ROWS
    assert any(line.code.startswith(("dot(", "gemm")) for line in program.lines)


def test_so_many_examples_at_a_time_as_memory_bears(load: Callable[..., specs.Spec]) -> None:
    plan = load(SQUARES).compile().plan
    assert plan.programs["watch:look.all"].capacity == (1 << 24) // ROWS
    assert plan.programs["watch:look.other"].capacity == (1 << 24) // (ROWS * 40)


def largest(program: Program, n: int) -> int:
    """The elements of the largest array that a program makes."""
    return max(int(np.prod(b.shape_at(n))) for b in program.buffers if b.place == "arena")


def test_no_gradient_comes_from_it(load: Callable[..., specs.Spec]) -> None:
    """A loss over whole data alone has no minibatch and no parameter."""
    with pytest.raises(DlnError) as caught:
        load('let z = [1, 2]\ncheck "a" {\n  expect grad(sum(i: d.x[0, i]), z) == [0, 0]\n}\n')
    assert [p.code for p in caught.value.problems] == ["E345"]


# ---- the lowest --------------------------------------------------------------------------------


def test_the_lowest_are_places(load: Callable[..., specs.Spec]) -> None:
    text = """
let z = [3, 1, 2, 1]
check "places" {
  expect z[lowest(z, 3)] == [1, 1, 2]
  expect lowest(z, 3)[0] == argmin(z)
  expect mean(j: onehot(lowest(z, 2))[j, 3]) == 0.5
}
"""
    from dln.running.expectations import verdicts

    spec = load(text)
    assert [v.status for v in verdicts(spec.model)] == ["passed"] * 3
    left = spec.model.checks[0].expects[0].left
    [places] = [n for n in ancestors([left]) if n.op == "lowest"]
    assert str(places.type) == "[3]: class(4)"


def test_the_lowest_of_each_example(load: Callable[..., specs.Spec]) -> None:
    text = """
block b(x[6]) -> y[3] {
  near = lowest(x, 3)
  y[j] = x[near][j] + x[near[j]]
}
let net = b()
let z = net([0, 0, 0, 0, 0, 0])
"""
    x = np.random.default_rng(2).normal(size=(8, 6))
    found = load(text).compile(dtype="float64").session().net(x)
    np.testing.assert_allclose(found, 2 * np.sort(x, axis=1)[:, :3], rtol=1e-14)
