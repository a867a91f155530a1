"""Linear forms and the solver, also against random systems with a known solution."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dln.compiler.sizes import BATCH_SIZE, Reason, Size, Sizes, Var

WHY = Reason(None, "because")
A, B, C = Var("a"), Var("b"), Var("c")
VARS = (A, B, C)

forms = st.tuples(st.integers(-9, 9), st.lists(st.integers(-3, 3), min_size=3, max_size=3))


def form(parts):
    constant, coefficients = parts
    size = Size(constant)
    for v, c in zip(VARS, coefficients, strict=True):
        size = size + Size.of(v) * c
    return size


def at(size, values):
    return size.constant + sum(c * values[v] for v, c in size.terms)


@given(forms, forms, st.integers(-4, 4), st.lists(st.integers(0, 9), min_size=3, max_size=3))
def test_arithmetic_is_that_of_functions(p, q, k, numbers):
    values = dict(zip(VARS, numbers, strict=True))
    x, y = form(p), form(q)
    assert at(x + y, values) == at(x, values) + at(y, values)
    assert at(x - y, values) == at(x, values) - at(y, values)
    assert at(x * k, values) == k * at(x, values)
    assert at(3 - x, values) == 3 - at(x, values)
    assert all(c for _, c in (x + y).terms)


def test_what_cancels_is_a_number():
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
def test_text(size, text):
    assert str(size) == text


def test_a_variable_is_fixed_once_and_known_everywhere():
    sizes = Sizes()
    assert sizes.equate(Size.of(A) + 1, 5, WHY) is None
    assert sizes.resolve(3 * Size.of(A)).value == 12
    assert sizes.equate(Size.of(A), 4, WHY) is None


def test_chains_resolve_in_any_order():
    sizes = Sizes()
    sizes.equate(Size.of(A), Size.of(B) + 1, WHY)
    sizes.equate(Size.of(B), 2 * Size.of(C), WHY)
    sizes.equate(Size.of(C), 5, WHY)
    assert [sizes.resolve(Size.of(v)).value for v in VARS] == [11, 10, 5]


def test_what_cannot_be_solved_yet_waits():
    sizes = Sizes()
    assert sizes.equate(2 * Size.of(A), 3 * Size.of(B), WHY) is None
    assert sizes.resolve(Size.of(A)).value is None
    assert sizes.equate(Size.of(B), 4, WHY) is None
    assert sizes.resolve(Size.of(A)).value == 6


def test_a_conflict_carries_the_proofs_of_both_sides():
    sizes = Sizes()
    one, two = Reason(None, "x has 3"), Reason(None, "y has 4")
    sizes.equate(Size.of(A), 3, one)
    sizes.equate(Size.of(B), 4, two)
    clash = sizes.equate(Size.of(A), Size.of(B), WHY)
    assert clash is not None
    assert (clash.left_proof, clash.right_proof) == ((one,), (two,))


def test_waiting_equations_clash_when_they_can():
    sizes = Sizes()
    sizes.equate(2 * Size.of(A), 3 * Size.of(B), WHY)
    assert sizes.equate(Size.of(B), 3, WHY) is not None  # 2 a = 9


def test_sizes_are_whole_and_not_negative():
    assert "not a multiple of 2" in Sizes().equate(2 * Size.of(A), 5, WHY).remainder
    assert "would be -2" in Sizes().equate(Size.of(A) + 5, 3, WHY).remainder


def test_running_sizes_are_never_fixed():
    sizes = Sizes()
    assert sizes.equate(BATCH_SIZE, 5, WHY) is not None
    assert sizes.equate(Size.of(A), BATCH_SIZE, WHY) is None
    assert sizes.resolve(Size.of(A)) == BATCH_SIZE


@given(
    st.lists(st.integers(0, 9), min_size=3, max_size=3),
    st.lists(st.tuples(forms, st.integers(1, 3)), min_size=1, max_size=6),
)
def test_systems_with_a_solution_never_clash(numbers, rows):
    """Every equation holds at one point, so none may be called a conflict, and what is fixed
    must hold there."""
    values, sizes = dict(zip(VARS, numbers, strict=True)), Sizes()
    for parts, _ in rows:
        size = form(parts)
        assert sizes.equate(size, at(size, values), WHY) is None
    for v in VARS:
        assert at(sizes.resolve(Size.of(v)), values) == values[v]
