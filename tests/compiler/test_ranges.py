"""Between which numbers a value lies, and what a comparison of it says: against all values that may
come of numbers tried by hand, and as it is told of a phase."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable

import pytest

import dln
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import Make
from dln.compiler.ir.ranges import EVERY, between, decided
from dln.compiler.schema.keys import WatchReport
from dln.compiler.schema.tables import COMPARISONS

TRIED = [-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]
REPORTS = WatchReport("a"), WatchReport("b")
Known = dict[WatchReport, tuple[float, float]]
ENDS = [(-1.0, 1.0), (0.0, 0.5), (0.0, math.inf), (-math.inf, 2.0), (-3.0, -0.5), EVERY]
MADE: dict[str, tuple[Callable[[Make, Node, Node], Node], Callable[[float, float], float]]] = {
    "difference": (lambda m, a, b: m.sub(a, b), operator.sub),
    "product": (lambda m, a, b: m.mul(a, b), operator.mul),
    "quotient": (lambda m, a, b: m.div(a, b), operator.truediv),
    "square": (lambda m, a, b: m("square", m.sub(a, b)), lambda a, b: (a - b) ** 2),
    "size": (lambda m, a, b: m("abs", m.mul(a, b)), lambda a, b: abs(a * b)),
    "exponential": (lambda m, a, b: m("exp", m.add(a, b)), lambda a, b: math.exp(a + b)),
    "logarithm": (lambda m, a, b: m("log", m("exp", a)), lambda a, b: a),
    "share": (lambda m, a, b: m("sigmoid", m.sub(a, b)), lambda a, b: 1 / (1 + math.exp(b - a))),
    "whole": (lambda m, a, b: m("floor", m("tanh", m.mul(a, b))), lambda a, b: math.floor(
        math.tanh(a * b))),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_what_is_worked_out_lies_between(name: str) -> None:
    build, value = MADE[name]
    m = Make(Graph())
    a, b = (m("clock", name=k) for k in REPORTS)
    node = build(m, a, b)
    for of in itertools.product(ENDS, ENDS):
        known = dict(zip(REPORTS, of, strict=True))

        def clock(node: Node, known: Known = known) -> tuple[float, float]:
            return known[node["name"]]

        low, high = between(node, clock)
        for x, y in itertools.product(TRIED, TRIED):
            if of[0][0] <= x <= of[0][1] and of[1][0] <= y <= of[1][1]:
                if not (name == "quotient" and y == 0):
                    assert low - 1e-12 <= value(x, y) <= high + 1e-12, (of, x, y)


def test_a_comparison_is_decided_only_where_all_values_agree() -> None:
    ends = [(-1.0, 1.0), (0.0, 0.5), (1.0, 2.0), (2.0, 2.0), (0.5, 0.5), (0.0, math.inf)]
    for left, right in itertools.product(ends, ends):
        for sign, holds in COMPARISONS.values():
            found = decided(sign, left, right)
            pairs = itertools.product(
                *([x for x in TRIED if a <= x <= b] for a, b in (left, right))
            )
            if found is not None:
                assert {holds(x, y) for x, y in pairs} == {found}, (sign, left, right)


PHASE = """data d = rows([[1, 2, 0], [3, 4, 1], [5, 6, 1]]) {
  x[2]: positive = raw[:2]
  label: class(2) = raw[2]
}
let net = dense(2)
train fit on d batch 1 for 9 epochs {
  z = net(x)
  minimize cross_entropy(z, label) over net with sgd(lr = 0.01)
  watch share   = argmax(z) == label every 1 epoch
  watch percent = 100 * (argmax(z) != label) every 1 epoch
  watch right   = 1 - (argmax(z) != label) / 2 every 1 epoch
  watch likely  = nll(softmax(z), label) every 1 epoch
  watch squares = sum((z - onehot(label))^2) every 1 epoch
  watch any     = z[0] every 1 epoch
  watch total wrong = argmax(z) != label every 1 epoch
  watch each    = onehot(label) every 1 epoch
"""
SAID = {
    "share > 95": "never",
    "share < 2": "always",
    "share >= 1": "",
    "share == 94.81 within 0.8": "never",
    "share > 0.95": "",
    "percent > 95": "",
    "percent < -1": "never",
    "100 * share > 95": "",
    "1 - share > 0.1": "",
    "right < 0.4": "never",
    "right > 0.3": "always",
    "likely < 0": "never",
    "likely < 0.1": "",
    "squares < -0.5": "never",
    "any < -5": "",
    "wrong < 3": "",
    "wrong >= 0": "",
    "wrong + 1 < 0": "never",
    "share - share[-1] > 0.01": "",
    "share - share[0] > 1.5": "never",
    "epochs >= 3": "",
    "min(each) > 2": "",
}


def test_what_is_told_of_reports() -> None:
    text = PHASE + "".join(f"  expect {line}\n" for line in SAID) + "}\n"
    warned = {w.span.line: w.message for w in dln.load(text).model.warnings if w.span}
    first = PHASE.count("\n") + 1
    words = {"never": "can never hold", "always": "holds whatever"}
    found = {
        line: next((k for k, said in words.items() if said in warned.get(first + n, "")), "")
        for n, line in enumerate(SAID)
    }
    assert found == SAID
