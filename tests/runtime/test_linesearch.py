"""The line search: the conditions it promises, on functions made to be hard for one.

The first three are those of Moré and Thuente, "Line search algorithms with guaranteed sufficient
decrease" (1994): a minimum beyond a flat stretch, one at a corner's edge, one among ripples.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, inf, log, pi, sin

import pytest

from dln.compiler.plan import DescentSpec
from dln.runtime.training.linesearch import LineSearch, Trial, between, cubic

Curve = Callable[[float], tuple[float, float]]
RULES = DescentSpec(history=1, c1=1e-4, c2=0.1, trials=40, grad_tol=0.0, change_tol=0.0, params=())


def far(a: float) -> tuple[float, float]:
    return -a / (a * a + 2), (a * a - 2) / (a * a + 2) ** 2


def steep(a: float) -> tuple[float, float]:
    b = a + 0.004
    return b**5 - 2 * b**4, 5 * b**4 - 8 * b**3


def ripples(a: float) -> tuple[float, float]:
    beta, n = 0.01, 39
    if a <= 1 - beta:
        base, slope = 1 - a, -1.0
    elif a >= 1 + beta:
        base, slope = a - 1, 1.0
    else:
        base, slope = (a - 1) ** 2 / (2 * beta) + beta / 2, (a - 1) / beta
    k = n * pi / 2
    return base + 2 * (1 - beta) / (n * pi) * sin(k * a), slope + (1 - beta) * cos(k * a)


def barrier(a: float) -> tuple[float, float]:
    """-log(1 - a) - 5 a: no numbers from 1 on."""
    return (-log(1 - a) - 5 * a, 1 / (1 - a) - 5) if a < 1 else (inf, inf)


def asked(curve: Curve, seen: list[float]) -> Callable[[float], Trial]:
    def look(step: float) -> Trial:
        seen.append(step)
        return Trial(step, *curve(step))

    return look


def lowest(curve: Curve, first: float, rules: DescentSpec = RULES) -> Trial | None:
    seen: list[float] = []
    found = LineSearch(asked(curve, seen), Trial(0.0, *curve(0.0)), rules, 2.2e-16).run(first)
    assert len(seen) <= rules.trials
    return found


def search(curve: Curve, first: float, rules: DescentSpec = RULES) -> Trial:
    found = lowest(curve, first, rules)
    assert found is not None
    return found


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("curve", [far, steep, ripples, barrier])
def test_the_strong_wolfe_conditions_hold(curve: Curve, first: float) -> None:
    found = search(curve, first)
    (loss, slope), (f0, s0) = curve(found.step), curve(0.0)
    assert (found.loss, found.slope) == (loss, slope)
    assert loss <= f0 + RULES.c1 * found.step * s0
    assert abs(slope) <= RULES.c2 * abs(s0)


def test_a_parabola_takes_two_looks() -> None:
    """Its cubic is the parabola itself, so that the second step is the minimum."""
    seen: list[float] = []

    def curve(a: float) -> tuple[float, float]:
        return (a - 3) ** 2, 2 * (a - 3)

    found = LineSearch(asked(curve, seen), Trial(0.0, *curve(0.0)), RULES, 0.0).run(1.0)
    assert seen == [1.0, 3.0] and found == Trial(3.0, 0.0, 0.0)


def test_nothing_lower_is_nothing() -> None:
    """A slope that does not belong to its loss."""
    assert lowest(lambda a: (a, -1.0 if a == 0 else 1.0), 1.0) is None


def test_out_of_looks_the_lowest_is_taken() -> None:
    """It goes down for ever; and a bracket that is not narrow enough yet."""
    few = RULES.changed(trials=3)
    assert search(lambda a: (-a, -1.0), 1.0, few).step > 1
    found = search(ripples, 10.0, RULES.changed(c2=1e-9, trials=6))
    assert found.loss < ripples(0.0)[0]


def test_rounding_does_not_stop_it() -> None:
    """Losses that are all alike in their digits: the slopes show the way."""

    def curve(a: float) -> tuple[float, float]:
        return 1.0, 1e-6 * (a - 2)

    found = LineSearch(asked(curve, []), Trial(0.0, *curve(0.0)), RULES, 1e-7).run(1.0)
    assert found is not None and abs(found.slope) <= 2e-7


def test_the_cubic_goes_through_its_ends() -> None:
    """(a - 1)^2 (a + 2) has its low point at 1, and nowhere between where it only rises."""

    def made(a: float) -> Trial:
        return Trial(a, (a - 1) ** 2 * (a + 2), 3 * (a * a - 1))

    for low, high in [(0.0, 2.0), (2.0, 0.0), (-0.5, 1.5), (0.0, 0.9)]:
        assert cubic(made(low), made(high), 9.0) == pytest.approx(1.0)
    assert cubic(Trial(0.0, 0.0, -1.0), Trial(1.0, inf, inf), 7.0) == 7.0
    assert cubic(Trial(0.0, 0.0, 1.0), Trial(1.0, 1.0, 1.0), 7.0) == 7.0


def test_a_bracket_keeps_from_its_ends() -> None:
    near = between(Trial(0.0, 0.0, -1e-9), Trial(1.0, 1.0, 2.0))
    assert near == pytest.approx(0.1)
    assert between(Trial(0.0, 0.0, -1.0), Trial(1.0, inf, inf)) == 0.5
