"""Activations of the standard library that rest on an operation of their own: against numbers of
PyTorch 2 in double precision, worked out apart."""

from __future__ import annotations

import numpy as np
import pytest

import dln
from dln.running.expectations import verdicts

X = (-3.0, -1.5, -0.75, -0.1, 0.0, 0.3, 1.0, 2.5, 4.0)
GELU = (
    *(-0.00404969409489031, -0.10021080190328704, -0.16997051428265111, -0.0460172162722971),
    *(0.0, 0.1853734266566858, 0.841344746068543, 2.4844758366855597, 3.9998733150326675),
)
SLOPE = (
    *(-0.01194564720418392, -0.1274691922299796, 0.0007742782607648158, 0.4204769079752698, 0.5),
    *(0.7323277668271099, 1.0833154705876864, 1.037611085908145, 1.0005036496612265),
)
BEND = (
    *(-0.031022938883566054, -0.03237939891647296, 0.43288505872253136, 0.7899355694792535),
    *(0.7978845608028654, 0.728450727529601, 0.24197072451914337, -0.07449527709766628),
    -0.0018736231607083952,
)
SPEC = """
block act(x[n]) -> y[n] {
  y = gelu(x)
}
block slope(x[n]) -> y[n] {
  y = grad(sum(gelu(x)), x)
}
block bend(x[n]) -> y[n] {
  y = grad(sum(grad(sum(gelu(x)), x)), x)
}
let f = act()
let g = slope()
let h = bend()
let z = [1, 2, 3, 4, 5, 6, 7, 8, 9] + 0
check "applied" {
  expect f(z) + g(z) + h(z) == h(z) + g(z) + f(z) within 1e-12
}
"""


@pytest.mark.parametrize(("name", "wanted"), [("f", GELU), ("g", SLOPE), ("h", BEND)])
@pytest.mark.parametrize(("dtype", "off"), [("float64", 1e-15), ("float32", 5e-7)])
def test_gelu_as_pytorch_has_it(
    name: str, wanted: tuple[float, ...], dtype: str, off: float
) -> None:
    session = dln.load(SPEC).compile(dtype=dtype).session()
    found = getattr(session, name)(np.array([X]))
    assert np.abs(found[0] - wanted).max() <= off


def test_erf_of_a_number_is_worked_out_while_the_spec_is_read() -> None:
    done = dln.load('check "a number" {\n  expect erf(0.5) == 0.5204998778130465\n}\n')
    assert [v.status for v in verdicts(done.model)] == ["passed"]
