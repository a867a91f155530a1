"""What `over net` and `params(net)` mean, and the warning for what no phase trains.

The oracle is the list of all parameters, counted by hand: each net is all that there is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.ir.graph import ancestors
from dln.compiler.model import Model

HEAD = """
data d = rows([[1, 1], [2, 3]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
fn layer(m) = dense(m, act = tanh)
fn tower(m) = chain([layer(m), layer(m)])
fn made(x) = x -> dense(2)
fn through(x) = first(x)
let first = dense(1)
block wrap(x[n]; inner) -> y[k] {
  y = x -> inner
}
block grid(x[n]; rows) -> y {
  y = sum([for row in rows: sum(x -> chain(row))])
}
block residual(x[n]; f) -> y[n] {
  y = x + f(x)
}
block scaled(x[n]) -> y[n] {
  param w[n] = 1
  y = w * x
}
block gate(x[n]; s) -> y[n] {
  y = s * x
}
block back(x[n]; of) -> y[k] {
  param b = 0.5
  y = of.W' @ x + b
}
"""

# A net, and how many numbers it has: dense(m) on n numbers has n * m + m.
NETS = {
    "chain([chain([first]), dense(1)])": 4,
    "chain([tower(3), dense(1)])": 6 + 12 + 4,
    "chain([tower(3), chain([chain([tower(2)]), dense(1)])])": 6 + 12 + 8 + 6 + 3,
    "wrap(inner = chain([chain([first]), dense(1)]))": 4,
    "wrap(inner = wrap(inner = wrap(inner = tower(1))))": 4,
    "grid(rows = [[dense(3)], [tower(1), first]])": 6 + 2 + 2 + 2,
    "grid(rows = [[chain([chain([dense(3)])])], [first, first]])": 6 + 2,
    "chain([made, dense(1)])": 4 + 3,
    "chain([through, dense(1)])": 2 + 2,
    "chain([scaled, dense(1)])": 1 + 2,
    "wrap(inner = scaled)": 1,
    "wrap(inner = through)": 2,
    "chain([residual(f = tower(1)), chain([residual(f = chain([made, dense(1)])), dense(1)])])":
        4 + 7 + 2,
    "chain([first, gate(s = exp(first.b[0]))])": 2,
    "chain([first, back(of = first)])": 2 + 1,
    "chain([dense(1), back(of = dense(1))])": 2 + 1 + 1,
    "chain([first, dense(1, W = first.W')])": 2 + 1,
}  # fmt: skip


def model(net: str, over: str = "net", more: str = "") -> Model:
    text = f"""{HEAD}
let net = {net}
train fit on d batch 2 for 1 update dtype float64 {{
  minimize sum((net(x) - t)^2) over {over} with sgd(lr = 0.01)
}}
{more}"""
    made: Model = dln.load(text).model
    return made


def numbers(made: Model) -> int:
    shapes = [p.node.type.shape for p in made.params.values()]
    return sum(int(np.prod([s.constant for s in shape])) for shape in shapes)


@pytest.mark.parametrize("net", NETS)
def test_a_net_is_all_that_it_is_made_of(net: str) -> None:
    made = model(net, more='check "c" {\n  expect params(net) == 0\n}\n')
    counted: Any = made.checks[0].expects[0].left["value"]
    assert counted == NETS[net] == numbers(made)
    assert set(made.phases["fit"].updates) == set(made.params) and not made.warnings


def test_what_a_function_of_a_chain_makes_is_the_same_wherever_the_chain_is_applied() -> None:
    more = """
check "c" {
  expect sum(fit.after(net(x))) != sum(fit.before(net(x)))
  expect sum(net([1])) == sum(net([1]))
}
task show() {
  emit net([2])
}
"""
    made = model("chain([made, dense(1)])", more=more)
    assert sorted(made.params) == ["net[0].W", "net[0].b", "net[1].W", "net[1].b"]


def test_two_chains_in_one_equation_are_two() -> None:
    text = f"""{HEAD}
train fit on d batch 2 for 1 update {{
  y = (x -> chain([made])) + (x -> chain([made]))
  minimize sum(y^2) over net with sgd(lr = 0.01)
}}
let net = first
"""
    made = dln.load(text.replace("sum(y^2)", "sum(y^2) + sum(first(x))")).model
    assert len([p for p in made.params if p.endswith(".W")]) == 3


def test_each_place_that_applies_a_chain_draws_for_itself() -> None:
    text = f"""{HEAD}
fn dropped(x) = dropout(x, 0.5)
let net = chain([first, dropped])
train fit on d batch 2 for 1 update {{
  y = net(x)
  z = net(2 * x)
  minimize sum(y + z) over net with sgd(lr = 0.01)
}}
"""
    (line,) = dln.load(text).model.phases["fit"].lines
    assert len({n["site"] for n in ancestors([line.loss]) if n.op == "draw"}) == 2


def test_a_tied_weight_is_a_weight_of_both() -> None:
    tied = "chain([one, two])\nlet one = dense(3)\nlet two = dense(1, W = one.W')"
    assert set(model(tied, "two").phases["fit"].updates) == {"one.W", "two.b"}
    assert set(model(tied, "one").phases["fit"].updates) == {"one.W", "one.b"}


def test_what_a_stop_keeps_is_no_part() -> None:
    text = """
block head(x[n]) -> y[1] {
  param b = 0
  y = stop(first(x)) + b
}
let net0 = head()
"""
    made = model("net0", more=text)
    assert set(made.phases["fit"].updates) == {"net0.b"} and not made.warnings


def test_parameters_alone_are_a_net_too() -> None:
    text = """
block pair() {
  param a = 2, b[3] = 1
}
let p = pair()
train more on d for 1 update {
  minimize p.a^2 over p with sgd(lr = 1)
}
"""
    made = model("dense(1)", more=text)
    assert set(made.phases["more"].updates) == {"p.a", "p.b"}


# ---- the warning ---------------------------------------------------------------------------------

TWO = "chain([first, second])\nlet second = dense(1)"


def test_what_no_phase_trains_is_said_once() -> None:
    (found,) = model(TWO, "second").warnings
    assert str(found).splitlines()[:2] == [
        "warning[W300]: no phase trains first.W, first.b, though fit learns with them",
        "   --> <text>:35:37",
    ]
    assert found.remedy.startswith("over second, first; or, where they stay as they are")
    assert not model(TWO, "second, first").warnings  # the remedy, as it is written


@pytest.mark.parametrize(
    "more",
    [
        "train other on d for 1 epoch {\n  minimize sum(first(x)) over first with sgd(lr = 1)\n}\n",
        "train other on d for 1 epoch {\n  update first.W += 0\n  update first.b += 0\n}\n",
        "train other on d for 1 epoch {\n  start first.W := 1\n  start first.b := 2\n}\n",
    ],
)
def test_what_another_phase_trains_or_is_handed_is_not(more: str) -> None:
    assert not model(TWO, "second", more).warnings


@pytest.mark.parametrize(
    "net", ["chain([kept(), second])", "wrap(inner = quiet)\nfn quiet(x) = second(stop(first(x)))"]
)
def test_what_is_fixed_or_stopped_is_not(net: str) -> None:
    more = "block kept(x[n]) -> y[n] {\n  fixed w[n] = 2\n  y = w * x\n}\n"
    assert not model(f"{net}\nlet second = dense(1)", "second", more).warnings


def test_what_an_update_uses_is_said_too() -> None:
    more = "train other on d for 1 epoch {\n  update first.W += second(x)[0] * first(x)[0]\n}\n"
    found = model("dense(1)\nlet second = dense(1)", more=more).warnings
    texts = ["no phase trains second.W, second.b, first.b, though other learns with them"]
    assert [w.message for w in found] == texts
