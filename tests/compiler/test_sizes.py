"""Linear forms and the solver, also against random systems with a known solution."""

from __future__ import annotations

from typing import Any, Never

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dln.compiler.ir.sizes import BATCH_SIZE, Conflict, Reason, Size, Sizes, Var

WHY = Reason(None, "because")
A, B, C = Var("a"), Var("b"), Var("c")
VARS = (A, B, C)

forms = st.tuples(st.integers(-9, 9), st.lists(st.integers(-3, 3), min_size=3, max_size=3))


def form(parts: tuple[Any, ...]) -> Size:
    constant, coefficients = parts
    size = Size(constant)
    for v, c in zip(VARS, coefficients, strict=True):
        size = size + Size.of(v) * c
    return size


def at(size: Size, values: dict[Any, Any]) -> int:
    return size.constant + sum(c * values[v] for v, c in size.terms)


@settings(deadline=None)
@given(forms, forms, st.integers(-4, 4), st.lists(st.integers(0, 9), min_size=3, max_size=3))
def test_arithmetic_is_that_of_functions(p: Any, q: Any, k: Any, numbers: Any) -> None:
    values = dict(zip(VARS, numbers, strict=True))
    x, y = form(p), form(q)
    assert at(x + y, values) == at(x, values) + at(y, values)
    assert at(x - y, values) == at(x, values) - at(y, values)
    assert at(x * k, values) == k * at(x, values)
    assert at(3 - x, values) == 3 - at(x, values)
    assert all(c for _, c in (x + y).terms)


def test_what_cancels_is_a_number() -> None:
    h = Size.of(A)
    assert (h + 3 - h).value == 3
    assert (h - h).terms == ()
    assert h.value is None


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (Size(7), "7"),
        (Size.of(A), "a"),
        (2 * Size.of(A) - 1, "2*a - 1"),
        (Size.of(A) - Size.of(B), "a - b"),
        (-Size.of(A), "-a"),
        (Size(0), "0"),
    ],
)
def test_text(size: Size, text: str) -> None:
    assert str(size) == text


def test_a_variable_is_fixed_once_and_known_everywhere() -> None:
    sizes = Sizes()
    assert sizes.equate(Size.of(A) + 1, 5, WHY) is None
    assert sizes.resolve(3 * Size.of(A)).value == 12
    assert sizes.equate(Size.of(A), 4, WHY) is None


def test_chains_resolve_in_any_order() -> None:
    sizes = Sizes()
    sizes.equate(Size.of(A), Size.of(B) + 1, WHY)
    sizes.equate(Size.of(B), 2 * Size.of(C), WHY)
    sizes.equate(Size.of(C), 5, WHY)
    assert [sizes.resolve(Size.of(v)).value for v in VARS] == [11, 10, 5]


def test_what_cannot_be_solved_yet_waits() -> None:
    sizes = Sizes()
    assert sizes.equate(2 * Size.of(A), 3 * Size.of(B), WHY) is None
    assert sizes.resolve(Size.of(A)).value is None
    assert sizes.equate(Size.of(B), 4, WHY) is None
    assert sizes.resolve(Size.of(A)).value == 6


def test_the_reasons_of_a_conflict_are_those_of_its_sides() -> None:
    sizes = Sizes()
    one, two = Reason(None, "x has 3"), Reason(None, "y has 4")
    sizes.equate(Size.of(A), 3, one)
    sizes.equate(Size.of(B), 4, two)
    clash = sizes.equate(Size.of(A), Size.of(B), WHY)
    assert clash is not None
    assert (sizes.proof(clash.left), sizes.proof(clash.right)) == ((one,), (two,))


def test_waiting_equations_clash_when_they_can() -> None:
    sizes = Sizes()
    sizes.equate(2 * Size.of(A), 3 * Size.of(B), WHY)
    assert sizes.equate(Size.of(B), 3, WHY) is not None  # 2 a = 9


def test_sizes_are_whole_and_not_negative() -> None:
    for left, right, said in [
        (2 * Size.of(A), 5, "not a multiple of 2"),
        (Size.of(A) + 5, 3, "would be -2"),
    ]:
        clash = Sizes().equate(left, right, WHY)
        assert clash is not None and said in clash.remainder


def test_running_sizes_are_never_fixed() -> None:
    sizes = Sizes()
    assert sizes.equate(BATCH_SIZE, 5, WHY) is not None
    assert sizes.equate(Size.of(A), BATCH_SIZE, WHY) is None
    assert sizes.resolve(Size.of(A)) == BATCH_SIZE


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=3, max_size=3),
    st.lists(st.tuples(forms, st.integers(1, 3)), min_size=1, max_size=6),
)
def test_systems_with_a_solution_never_clash(numbers: Any, rows: Any) -> None:
    """Every equation holds at one point, so none may be called a conflict, and what is fixed
    must hold there."""
    values, sizes = dict(zip(VARS, numbers, strict=True)), Sizes()
    for parts, _ in rows:
        size = form(parts)
        assert sizes.equate(size, at(size, values), WHY) is None
    for v in VARS:
        assert at(sizes.resolve(Size.of(v)), values) == values[v]


# ---- what is left at the end -------------------------------------------------------------------

rows = st.tuples(st.lists(st.integers(-3, 4), min_size=3, max_size=3), st.integers(-4, 14))
BOX = np.indices((40, 40, 40)).reshape(3, -1)


@settings(deadline=None)
@given(st.lists(rows, min_size=1, max_size=4))
def test_at_the_end_a_system_is_solved_refused_or_open(system: Any) -> None:
    """Against every point with whole numbers below 40: none is refused that has a solution there,
    what is fixed is so in all of them, and the only one is found."""
    sizes, clash = Sizes(), None
    holds = np.ones(BOX.shape[1], bool)
    for factors, number in system:
        holds &= np.array(factors) @ BOX == number
        clash = clash or sizes.equate(form((0, factors)), number, WHY)
    clash = clash or next(iter(sizes.settle()), None)
    points = BOX[:, holds]
    if clash is not None:
        assert not points.size
        return
    values = [sizes.resolve(Size.of(v)).value for v in VARS]
    for value, found in zip(values, points, strict=True):
        assert value is None or value >= 40 or (found == value).all()
    if all(value is not None and value < 40 for value in values):
        assert points.shape[1] == 1


@pytest.mark.parametrize(
    ("equations", "remainder"),
    [
        ([((0, [2, 2, 0]), 7)], "2*a + 2*b is a multiple of 2, 7 is not"),
        ([((0, [3, 5, 0]), 7)], "no whole a, b make 3*a + 5*b = 7"),
        ([((0, [1, 1, 0]), 4), ((0, [0, 1, 0]), 7)], "a would be -3"),
        ([((0, [2, 3, 0]), 12), ((0, [2, 5, 0]), 13)], "1 is not a multiple of 2"),
        ([((0, [1, 1, 0]), 4), ((0, [0, 1, -1]), 6)], "no whole b, c make b - c = 6"),
    ],
)
def test_what_no_whole_numbers_solve(equations: list[Any], remainder: str) -> None:
    sizes, found = Sizes(), []
    for parts, number in equations:
        clash = sizes.equate(form(parts), number, WHY)
        found += [clash] if clash else []
    found += sizes.settle()
    assert [c.remainder for c in found] == [remainder]


def test_what_one_choice_of_whole_numbers_solves_is_solved() -> None:
    sizes = Sizes()
    assert sizes.equate(2 * Size.of(A) + 3 * Size.of(B), 5, WHY) is None
    assert sizes.equate(4 * Size.of(C), 2 * Size.of(A) + 2, WHY) is None
    assert sizes.settle() == []
    assert [sizes.resolve(Size.of(v)).value for v in VARS] == [1, 1, 1]


def test_what_many_solve_stays_open() -> None:
    sizes = Sizes()
    assert sizes.equate(2 * Size.of(A) + 2 * Size.of(B), 8, WHY) is None
    assert sizes.settle() == []
    assert sizes.resolve(Size.of(A)).value is None


def test_a_conflict_found_late_is_said_by_its_own_equation() -> None:
    sizes = Sizes()

    class Said(Exception):
        pass

    def say(clash: Conflict) -> Never:
        raise Said(clash)

    assert sizes.equate(2 * Size.of(A), 3 * Size.of(B), WHY, say) is None
    clash = sizes.equate(Size.of(B), 3, WHY)
    assert clash is not None and clash.left == 2 * Size.of(A)
    assert clash.said is not None
    with pytest.raises(Said) as said:
        clash.said(clash)
    assert said.value.args == (clash,)
