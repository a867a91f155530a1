"""Values of another kind than is meant at their place: kinds by places, and sizes changed by one.

Each cell is a small spec with a value where it does not fit. It is refused; the first place that is
shown is the value itself; it is said what stands there, and below stands how to go on.
"""

import re
from itertools import product

import pytest

import dln
from dln.grammar.diagnostics import DlnError, Problem

SPEC = """block layer(x[n]; m, act = tanh) -> y[m] {
  param W[m, n] ~ glorot(n, m), b[m] = 0
  y = act(W @ x + b)
}
let net = layer(@m)
data d = rows([[1, 2, 0], [3, 4, 1], [5, 6, 2]]) {
  x[2] = raw[:2]
  label: class(3) = raw[2]
  split fit 2, valid 1
}
train fit on @on batch @batch for 1 epoch {
  z = net(x)
  minimize @loss over @over with sgd(lr = @lr)
  watch error = argmax(z) != label on d.valid every 1 epoch
@line
}
check "c" {
  expect @expect
}
"""
RIGHT = {"m": "3", "on": "d.fit", "batch": "2", "loss": "cross_entropy(z, label)", "over": "net",
         "lr": "0.1", "line": "", "expect": "fit.error < 2"}  # fmt: skip
KINDS = {
    "2.5": r"2\.5|whole|number|positive", '"a"': "text", "[1, 2]": r"list|\[2\]|number",
    "layer": "block layer",
    "net": "instance", "tanh": "function", "sgd": "optimiser", "d": "data set|d ",
    "layer()": "m", "qqq": "qqq",
}  # fmt: skip
PLACES = {
    "size": ("m", "@", ()), "option": ("m", "3, act = @", ("tanh", "layer", "net")),
    "on": ("on", "@", ("d",)), "batch": ("batch", "@", ()), "over": ("over", "@", ("net",)),
    "rate": ("lr", "@", ("2.5",)), "a side": ("loss", "cross_entropy(z, label) + @", ("2.5",)),
    "a class": ("loss", "cross_entropy(z, @)", ()),
    "a port": ("loss", "cross_entropy(net(@), label)", ("[1, 2]",)),
    "until": ("line", "  until error < @", ("2.5",)),
    "state": ("line", "  state a = @\n", ("2.5", "[1, 2]")),
    "expected": ("expect", "1 == @", ("2.5", "[1, 2]")), "alone": ("expect", "@", ()),
    "tolerance": ("expect", "1 == 1 within @", ("2.5", "[1, 2]")),
}  # fmt: skip
CELLS = [(p, k) for i, (p, k) in enumerate(product(PLACES, KINDS)) if k not in PLACES[p][2]]


def refused(text: str) -> Problem:
    """The first problem of a spec."""
    with pytest.raises(DlnError) as caught:
        dln.load(text)
    return caught.value.problems[0]


def spec(**parts: str) -> str:
    return re.sub(r"@(\w+)", lambda m: {**RIGHT, **parts}[m[1]], SPEC)


@pytest.mark.parametrize(("where", "value"), CELLS[::3])
def test_a_value_of_another_kind(where: str, value: str) -> None:
    part, text, _ = PLACES[where]
    before, after = spec(**{part: text.replace("@", "\0")}).split("\0")
    found = refused(before + value + after)
    assert found.span is not None
    start, stop = found.span.start, found.span.stop
    inside = len(before) <= start and stop <= len(before) + len(value)
    around = start <= len(before) and len(before) + len(value) <= stop
    assert inside or around
    said = " ".join([found.message, found.label, *found.below, *(n.text for n in found.notes)])
    assert re.search(KINDS[value], said) or value in said
    assert found.below or found.remedy
    assert " object at " not in said


CHANGED = (
    ("W[m, n]", "W[n, m]"), ("W[m, n]", "W[m]"), ("W @ x", "W' @ x"), ("W @ x", "x @ W"),
    ("W @ x", "W * x"), ("b[m] = 0", "b[n] = 0"), ("raw[:2]", "raw[:1]"), ("x[2]", "x[3]"),
    ("class(3)", "class(4)"), ("x[n]", "x[3]"), ("-> y[m]", "-> y[4]"), ("-> y[m]", "-> y"),
    ("net(x)", "net(x[0])"),
)  # fmt: skip


@pytest.mark.parametrize(("old", "new"), CHANGED)
def test_a_size_an_axis_or_an_index_that_is_another(old: str, new: str) -> None:
    """What was changed is shown, at the first place or beside it, and how to go on."""
    right = spec()
    wrong = right.replace(old, new, 1)
    line = right.count("\n", 0, right.index(old)) + 1
    found = refused(wrong)
    places = [found.span, *(n.span for n in found.notes)]
    assert line in [p.line for p in places if p is not None and p.source.text == wrong]
    assert found.below or found.remedy
