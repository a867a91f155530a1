"""Lists as tensors: what stands in one is brought to one shape, and one is indexed, taken together
and handed on as the tensor it becomes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.running.expectations import verdicts

ROWS = np.array([[1.0, 2.0, 0.5, -1.0], [3.0, 5.0, 2.0, 0.25]])


def session(body: str, watched: str = "sum(net(x))", head: str = "") -> Any:
    """One phase over two examples with the block `net(x[4]) -> y`, whose equations are given."""
    text = (
        f"{head}data d = rows({ROWS.tolist()}) {{\n  x[4] = raw\n}}\n"
        f"block model(x[4]) -> y {{\n  param w = 2\n{body}\n}}\nlet net = model()\n"
        "train t on d batch 2 for 1 update dtype float64 {\n"
        f"  minimize {watched} over net with sgd(lr = 0.1)\n}}\n"
    )
    return dln.load(text).compile(dtype="float64").session(seed=0)


@pytest.mark.parametrize(
    ("value", "expected", "slope"),
    [
        ("[0, x[0]] @ [1, w]", lambda x: 2 * x[0], lambda x: x[0]),
        ("[x[0], 3] @ [w, w]", lambda x: 2 * x[0] + 6, lambda x: x[0] + 3),
        ("[[0, x[0]], [w, 1]] @ [1, 1] @ [1, 2]", lambda x: x[0] + 6, lambda x: 2),
        ("w * sum([x[0] > 2, x[1]])", lambda x: 2 * ((x[0] > 2) + x[1]),
         lambda x: (x[0] > 2) + x[1]),
        ("w * sum(concat([1, x[0]], x[:2]))", lambda x: 2 * (1 + x[0] + x[:2].sum()),
         lambda x: 1 + x[0] + x[:2].sum()),
        ("[w * x, x[:4]][0, 1]", lambda x: 2 * x[1], lambda x: x[1]),
        ("sum([w * x, x + 1][:, 2])", lambda x: 3 * x[2] + 1, lambda x: x[2]),
        ("w * sum([[1, 2], [3, 4]][:, 0])", lambda x: 8, lambda x: 4),
        ("w * sum([[1, 2], [3, 4]])", lambda x: 20, lambda x: 10),
    ],
)  # fmt: skip
def test_lists_of_numbers_and_tensors(value: str, expected: Any, slope: Any) -> None:
    s = session(f"  y = {value}")
    np.testing.assert_allclose(s.net(ROWS), [expected(x) for x in ROWS], rtol=1e-12)
    got = s.grad("t", "net.w", x=ROWS)
    np.testing.assert_allclose(got, np.mean([slope(x) for x in ROWS]), rtol=1e-12)


def test_a_list_in_a_scan_beside_a_batch() -> None:
    s = session("  a[-1] = x[:2]\n  scan t in 3 {\n    a[t] = [0, x[0]] * a[t-1]\n  }\n"
                "  y = w * sum(last(a))")  # fmt: skip
    np.testing.assert_allclose(s.net(ROWS), 2 * ROWS[:, 0] ** 3 * ROWS[:, 1], rtol=1e-12)


def test_a_list_of_sequences_is_one_where_it_is_handed_on() -> None:
    """Each step of it goes into the block: the largest of two at each step, added up."""
    head = "block top(p[2]) -> r {\n  r = max(p)\n}\nfn most(p[2]) = max(p)\n"
    scan = "  scan t in 4 {\n    a[t] = x[1] - a[t-1]\n  }\n"
    for made in ("let f = top()\n  z = f([a, w * a])", "z = most([a, w * a])"):
        s = session(f"{scan}  {made}\n  y = sum(z)", head=head)
        # a is x1, 0, x1, 0
        np.testing.assert_allclose(s.net(ROWS), 4 * ROWS[:, 1], rtol=1e-12)


def test_what_a_sequence_begins_with_is_taken_together() -> None:
    """h[-1] is the same for all examples, h[-2] is not, so h is not; and only h[-2] may be said."""
    scan = "  scan t in 3 {\n    h[t] = h[t-2] + h[t-1]\n  }\n  y = w * sum(last(h))"
    two = session("  h[-1] = [1, 2]\n  h[-2] = x[:2]\n" + scan)
    first = np.array([1, 2]) + ROWS[:, :2]
    second = first + np.array([1, 2])
    np.testing.assert_allclose(two.net(ROWS), 2 * (first + second).sum(1), rtol=1e-12)
    one = session("  h[-2] = x[:2]\n" + scan)
    np.testing.assert_allclose(one.net(ROWS), 4 * ROWS[:, :2].sum(1), rtol=1e-12)


def test_lists_in_checks() -> None:
    text = (
        'let M = [[1, 2], [3, 4]]\nlet a = [5, 6]\ncheck "m" {\n'
        "  expect M[:, 0] == [1, 3]\n  expect M[1, :] == [3, 4]\n  expect (M')[:, 0] == [1, 2]\n"
        "  expect M[:1, 1:] == [[2]]\n  expect [a + 0, a * 2][1, 0] == 10\n"
        "  expect [a + 0, a * 2][:, 1] == [6, 12]\n  expect mean(M) == 2.5\n"
        "  expect max([a + 0, a * 2]) == [10, 12]\n}\n"
    )
    assert {v.status for v in verdicts(dln.load(text).model)} == {"passed"}
