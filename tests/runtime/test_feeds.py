"""What may be fed, and every way in which it may be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dln.compiler.plan import FieldSpec
from dln.grammar.diagnostics import DlnError
from dln.runtime.readers.validation import check_field, check_fields

X = FieldSpec("x", (2, 3), "real", "prob")
T = FieldSpec("t", (), "real")
C = FieldSpec("label", (), "index", "class", 10)


def problems(specs: list[FieldSpec], fed: dict[str, Any]) -> list[tuple[str, str, str]]:
    with pytest.raises(DlnError) as e:
        check_fields(specs, fed, "the phase sse")
    return [(p.code, p.message, p.remedy) for p in e.value.problems]


def test_what_is_right_comes_through_uncopied() -> None:
    x = np.full((4, 2, 3), 0.5, np.float32)
    found = check_fields([X, C], {"x": x, "label": [0, 9, 1, 2]}, "the phase sse")
    assert found["x"] is x and found["label"].dtype.kind == "i"


def test_dlpack_and_cupy_have_ways_in() -> None:
    class Packed:
        def __init__(self, a: Any) -> None:
            self.a = a

        def __dlpack__(self, **options: Any) -> Any:
            return self.a.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return self.a.__dlpack_device__()

    held = np.arange(3.0)
    assert np.shares_memory(check_field(T, Packed(held)), held)
    there: Any = type("ndarray", (), {"__module__": "cupy", "get": lambda self: held})()
    assert check_field(T, there) is held


def test_masked_values_are_not_taken_for_numbers() -> None:
    held = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
    remedy = "give the examples of which all numbers are known"
    assert problems([T], {"t": held}) == [("E552", "t: has 1 masked value", remedy)]
    assert check_field(T, np.ma.array([1.0, 2.0], mask=False)).tolist() == [1, 2]


def test_names() -> None:
    fed = {"x": np.zeros((1, 2, 3)), "lable": [1]}
    assert problems([X, C], fed) == [("E550", 'the phase sse has no field "lable"', "label")]
    assert problems([X, C], {"x": np.zeros((1, 2, 3))}) == [
        ("E550", "the phase sse lacks label", "feed x, label")
    ]
    assert problems([X], {"x": np.zeros((1, 2, 3)), "qqq": 1}) == [
        ("E550", 'the phase sse has no field "qqq"', "the phase sse takes x")
    ]


@pytest.mark.parametrize(
    ("spec", "fed", "code", "said", "remedy"),
    [
        (X, np.zeros((2, 3)), "E551", "shape (2, 3), expected [2, 3] for each", "x[None] ("),
        (X, np.zeros((5, 6)), "E551", "(examples, 2, 3)", "x.reshape(5, 2, 3)"),
        (X, np.zeros((5, 7)), "E551", "x: the array has shape (5, 7)", ""),
        (T, np.zeros((5, 1)), "E551", "one number for each example: (examples,)", "t[:, 0]"),
        (T, 3.0, "E551", "the array has shape ()", "t[None] ("),
        (T, ["a"], "E552", "t: is text, expected real numbers", ""),
        (T, np.zeros(2, complex), "E552", "t: is complex128, expected real", "t.real"),
        (T, [[1], [1, 2]], "E552", "t: is no array of numbers", "pass a NumPy array"),
        (C, ["a"], "E552", "is text, expected whole", "numpy.unique(label, return_inverse=True)"),
        (C, np.eye(10), "E551", "is one-hot, 10 numbers for each class", "label.argmax(axis=-1)"),
        (C, np.eye(10, dtype=int)[:3], "E551", "expected the class", "label.argmax(axis=-1)"),
        (C, [0.5, 1], "E554", "label: example 0 has 0.5, expected a class, 0 to 9", ""),
        (C, [1, 0.99999999], "E554", "example 1 has 0.99999999, expected a class", ""),
        (C, np.array([2, 1.7], np.float32), "E554", "example 1 has 1.7, expected a class", ""),
        (C, [-0.4], "E554", "example 0 has -0.4", ""),
        (C, [2, np.inf], "E554", "example 1 has inf, expected a class", ""),
        (C, [np.nan], "E554", "example 0 has nan, expected a class", ""),
        (C, np.array([1, 255], np.uint8), "E554", "example 1 has 255, expected a class", ""),
        (C, np.array([1, 2**64 - 1], np.uint64), "E554", "example 1 has 18446744073709551615", ""),
        (C, np.arange(1, 11), "E554", "example 9 has 10", "label - 1, if"),
        (T, [2**53, -(2**60)], "E554", "1 has -1152921504606846976, expected a number that", ""),
        (T, [0, np.nan], "E553", "t: example 1 has nan, expected a finite number", ""),
        (T, [-np.inf], "E553", "t: example 0 has -inf", ""),
        (C, [3, 10], "E554", "label: example 1 has 10, expected a class, 0 to 9", ""),
        (C, [-1], "E554", "example 0 has -1", ""),
        (X, np.full((1, 2, 3), 255), "E554", "0 has 255 at [0, 0], expected a probab", "x / 255"),
        (X, np.full((1, 2, 3), -0.5), "E554", "x: example 0 has -0.5 at [0, 0]", ""),
        (X, np.zeros((0, 2, 3)), "E556", "x: there are no examples", ""),
    ],
)  # fmt: skip
def test_one_wrong_field(spec: FieldSpec, fed: Any, code: str, said: str, remedy: str) -> None:
    ((found, message, hint),) = problems([spec], {spec.name: fed})
    assert found == code and said in message and hint.startswith(remedy)


def test_domains() -> None:
    binary, positive = FieldSpec("b", (), "real", "binary"), FieldSpec("p", (), "real", "positive")
    check_field(binary, np.array([True, False]))
    check_field(binary, [0.0, 1.0])
    check_field(positive, [0, 3])
    check_field(T, np.array([True, False]))
    for spec, fed in [(binary, [0, 0.5]), (binary, [2]), (positive, [-1e-9])]:
        with pytest.raises(DlnError, match="E554"):
            check_field(spec, fed)


def test_several_problems_at_once_and_the_number_of_examples() -> None:
    fed = {"x": np.zeros((3, 2, 3)), "label": [1, 2]}
    assert problems([X, C], fed)[0][:2] == (
        "E555",
        "the numbers of examples differ: x 3, label 2",
    )
    codes = [p[0] for p in problems([X, C], {"x": np.ones((3, 7)), "label": [1.5]})]
    assert codes == ["E551", "E554"]


def test_the_example_is_numbered_as_in_the_file() -> None:
    with pytest.raises(DlnError, match="example 1002 has 11"):
        check_field(C, np.array([1, 2, 11]), first=1000)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20))
def test_the_quick_check_finds_what_the_slow_one_finds(values: list[float]) -> None:
    spec = FieldSpec("p", (), "real", "prob")
    wrong = [i for i, v in enumerate(values) if not 0 <= v <= 1]
    if not wrong:
        check_field(spec, values)
        return
    with pytest.raises(DlnError) as e:
        check_field(spec, values)
    first = next((i for i, v in enumerate(values) if not np.isfinite(v)), wrong[0])
    assert f"example {first} has" in e.value.problems[0].message


STEPS = FieldSpec("c", (5,), "index", "class", 10)
LENGTH = FieldSpec("length", (), "index", "length", 5)


def test_lengths_are_full_unless_given() -> None:
    c = np.zeros((3, 5), int)
    found = check_fields([STEPS, LENGTH], {"c": c}, "the phase sse")
    assert found["length"].tolist() == [5, 5, 5]
    found = check_fields([STEPS, LENGTH], {"length": [1, 5, 2], "c": c}, "the phase sse")
    assert found["length"].tolist() == [1, 5, 2]
    assert problems([STEPS, LENGTH], {"c": 3})[0][0] == "E551"
    assert problems([STEPS, LENGTH], {})[0][1] == "the phase sse lacks c"


@pytest.mark.parametrize("wrong", [0, 6, -1])
def test_lengths_lie_within_the_steps(wrong: int) -> None:
    fed = {"c": np.zeros((2, 5), int), "length": [3, wrong]}
    said = f"length: example 1 has {wrong}, expected a length, 1 to 5 steps"
    assert problems([STEPS, LENGTH], fed) == [("E554", said, "")]


def test_lengths_are_whole_numbers() -> None:
    fed = {"c": np.zeros((2, 5), int), "length": [3.0, 2.5]}
    said = "length: example 1 has 2.5, expected a length, 1 to 5 steps"
    assert problems([STEPS, LENGTH], fed) == [("E554", said, "")]


@pytest.mark.parametrize(
    "given", [[3.0, 0.0], np.array([3, 0], np.float32), np.array([3, 0], "f2")]
)
def test_whole_numbers_are_classes_however_they_are_written(given: Any) -> None:
    found = check_field(C, given)
    assert found.dtype == np.int64 and found.tolist() == [3, 0]


def test_truth_values_are_classes() -> None:
    found = check_field(FieldSpec("label", (), "index", "class", 2), np.array([True, False]))
    assert found.dtype == np.int64 and found.tolist() == [1, 0]


def test_the_rounding_of_a_division_is_no_fraction() -> None:
    given = 0.1 * np.arange(10) / 0.1
    assert (given != np.arange(10)).any() and check_field(C, given).tolist() == list(range(10))


def test_numbers_that_the_precision_does_not_have() -> None:
    check_field(T, [1e300])
    check_field(T, [3e38], dtype="float32")
    with pytest.raises(
        DlnError, match="example 1 has 1e\\+300, expected a number that float32 has"
    ):
        check_field(T, [0.0, 1e300], dtype="float32")
