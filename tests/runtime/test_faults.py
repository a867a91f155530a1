"""What E600 says: the operand that left the numbers, its value and place, and a remedy that helps.

Each case is a formula and what is wrong in it, by hand. With the remedy in its place the spec runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.plan import ProgramKind

SPEC = """\
data d = rows({rows}) {{
  x[2] = raw
}}
fn part(p) = sum(p * log(p))
block f(x[n]) -> y {{
  param w[n] = 1
  {body}
}}
let m = f()
train one on d batch all for 1 update dtype {dtype} {{
  minimize m(x) over m with sgd(lr = 0.1)
}}
"""
LOOP = "h[-1] = w[0] * x[0]\n  scan t in 5 {{\n    h[t] = {}\n  }}\n  y = last(h)"

CASES = [
    # the formula, the second example, w, what happened, what was found, the remedy
    (
        "y = sum(log(w * x))", [3, 0], [1, 1], "log of 0", "w * x is 0 at [1]",
        "a choice: log(w * x) if w * x > 0 else 0; or a least value: log(max(w * x, 1e-8))",
    ),
    (
        "y = sum(w * log(1 - x))", [3e-1, 1], [1, 1], "log of 0", "1 - x is 0 at [1]",
        "a choice: log(1 - x) if 1 - x > 0 else 0; or a least value: log(max(1 - x, 1e-8))",
    ),
    ("y = part(w * x)", [3, -0.5], [1, 1], "log of -0.5", "p is -0.5 at [1]", "log(max(p, 1e-8))"),
    (
        "y = sum(w) / sum(x)", [3, -3], [1, 1], "a division by 0", "sum(x) is 0",
        "a choice: sum(w) / sum(x) if sum(x) != 0 else 0; or a small number added: sum(x) + 1e-8",
    ),
    (
        "y = sum(x / norm(x) * w)", [0, 0], [1, 1], "0 / 0", "norm(x) is 0 at [0]",
        "x / norm(x) if norm(x) != 0 else 0",
    ),
    (
        "y = sqrt(sum(w * x))", [3, -4], [1, 1], "sqrt of -1", "sum(w * x) is -1",
        "sqrt(max(sum(w * x), 0)); or a choice: sqrt(sum(w * x)) if sum(w * x) > 0 else 0",
    ),
    (
        "y = sqrt(sum((w * x)^2))", [0, 0], [1, 1],
        "sqrt(sum((w * x)^2)) has no slope where it is 0", "m.y is 0",
        "norm(w * x), which has slope 0 there; or sqrt(sum((w * x)^2) + 1e-8)",
    ),
    (
        "y = sum(x^w)", [0, -1], [1, -0.3], "-1 to the power -0.3", "x is -1 at [1]",
        "max(x, 0), or abs(x)",
    ),
    (
        "y = sum(w^0.3)", [1, 1], [0, 1], "0 to the power -0.7", "m.w is 0 at [0]",
        "w^0.3 if m.w > 0 else 0",
    ),
    (
        "y = sum(exp(x * w))", [0, 1000], [1, 1], "exp of 1000, more than 709",
        "x * w is 1000 at [1]", "exp(min(x * w, 701))",
    ),
    (
        "y = sum(x * exp(w) + w * 1e200 * x)", [0, 1e200], [1, 1], "overflow in a sum of multiples",
        "e+200", "smaller first values",
    ),
    (
        LOOP.format("log(h[t-1])"), [1, 1], [1, 1], "log of -0.693147", "h[t-1] is -0.693147",
        "log(max(h[t-1], 1e-8))",
    ),
    (
        "y = w[0] * exp(1000)", [1, 1], [1, 1], "exp of 1000", "phase one, update 0",
        "min(x, 701)",
    ),
]  # fmt: skip


def trained(body: str, row: list[Any], w: list[Any], dtype: Any = "float64") -> None:
    text = SPEC.format(rows=[[0.5, 0.25], row], body=body, dtype=dtype)
    session = dln.load(text).compile(dtype=dtype).session()
    session.params["m.w"][...] = w
    session.train("one")


# In single precision exp overflows much earlier, and a large number is written otherwise.
SINGLE = [case for case in CASES if "e+" not in case[4] and "709" not in case[3]]
BOTH = [(case, "float64") for case in CASES] + [(case, "float32") for case in SINGLE]


@pytest.mark.parametrize(("case", "dtype"), BOTH)
def test_the_operand_its_value_and_a_remedy(case: tuple[Any, ...], dtype: str) -> None:
    body, row, w, what, found, remedy = case
    with pytest.raises(dln.DlnError) as e:
        trained(body, row, w, dtype)
    (problem,) = e.value.problems
    assert problem.code == "E600" and problem.span is not None
    assert problem.message.startswith(f"the computation left the numbers: {what}")
    assert any(found in fact for fact in problem.facts)
    assert remedy in problem.remedy.replace("min(x, 80)", "min(x, 701)")


@pytest.mark.parametrize(
    ("body", "row", "better"),
    [
        ("y = sum(log(w * x))", [3, 0], "y = sum(log(w * x) if w * x > 0 else 0)"),
        ("y = sum(log(w * x))", [3, 0], "y = sum(log(max(w * x, 1e-8)))"),
        ("y = sum(w) / sum(x)", [3, -3], "y = sum(w) / sum(x) if sum(x) != 0 else 0"),
        ("y = sqrt(sum((w * x)^2))", [0, 0], "y = norm(w * x)"),
        ("y = sqrt(sum((w * x)^2))", [0, 0], "y = sqrt(sum((w * x)^2) + 1e-8)"),
        ("y = sqrt(sum(w * x))", [3, -4], "y = sqrt(sum(w * x)) if sum(w * x) > 0 else 0"),
    ],
)
def test_the_remedy_helps(body: str, row: list[Any], better: str) -> None:
    with pytest.raises(dln.DlnError):
        trained(body, row, [1, 1])
    trained(better, row, [1, 1])


@pytest.mark.parametrize(
    ("body", "row"),
    [
        ("y = sum(w * x)", [1e300, 1]),  # products with the examples
        ("param b = 0\n  y = sum(w * x) + 1e200 * b", [1e300, 1]),  # and sums of them
    ],
)
def test_an_update_that_leaves_the_numbers_is_told_of(body: str, row: list[Any]) -> None:
    """Products that are added in place as well; what they left stands in no parameter unseen."""
    text = SPEC.format(rows=[row, row], body=body, dtype="float64").replace("0.1", "1e200")
    with pytest.raises(dln.DlnError) as e:
        dln.load(text).compile(dtype="float64").session().train("one")
    (problem,) = e.value.problems
    assert problem.code == "E600" and "overflow" in problem.message
    assert problem.span is not None and "smaller first values" in problem.remedy


def test_the_example_and_the_step_are_named() -> None:
    with pytest.raises(dln.DlnError) as e:
        trained(LOOP.format("log(h[t-1])"), [0.5, 1], [2, 1])
    assert "phase one, update 0, epoch 0, example 0 of d.all, step 1" in e.value.problems[0].facts


def test_what_python_asks_is_told_alike() -> None:
    text = SPEC.format(rows=[[1, 2]], body="y = sum(w * log(x))", dtype="float64")
    session = dln.load(text).compile(dtype="float64").session()
    x = np.array([[1, 2], [3, 0], [1, 0]])
    for call in (
        lambda: session.step("one", x=x),
        lambda: session.m(x),
        lambda: session.grad("one", "m.w", x=x),
    ):
        with pytest.raises(dln.DlnError) as e:
            call()
        (problem,) = e.value.problems
        assert "log of 0" in problem.message
        assert problem.facts[0] == "x is 0 at [1]" and problem.facts[1].endswith("example 1")
    assert session.params["m.w"].tolist() == [1, 1]


WATCHED = """\
optimiser plain(p, g; lr) {{
  p := p - lr * g{}
}}
block f(x[n]) -> y {{
  param w[n] ~ normal(0, 1) / {}
  y = sum(w * x)
}}
data d = rows([[0, 0], [0, 2]]) {{
  x[2] = raw
}}
let m = f()
train one on d batch all for 2 updates {{
  minimize m(x)^2 over m with plain(lr = 0.1)
  watch a = sum({})
}}
task t() {{
  emit {}
}}
"""


@pytest.mark.parametrize(
    ("parts", "what", "found", "where"),
    [
        # what the optimiser has changed already keeps the step from being run once more
        (("", 2, "1 / x", 1), "a division by 0", "x is 0 at [0]", "update 0"),
        ((" / sqrt(g^2)", 2, "x", 1), "0 / 0", "sqrt(g^2) is 0 at [0]", "update 0"),
        (("", "(n - 2)", "x", 1), "a division by 0", None, "the first values"),
        (("", 2, "x", "log([1, 0])"), "log of 0", "[1, 0] is 0 at [1]", "task t"),
    ],
)
def test_optimisers_watches_first_values_and_tasks(
    parts: tuple[Any, ...], what: str, found: str | None, where: str
) -> None:
    text = WATCHED.format(*parts)
    with pytest.raises(dln.DlnError) as e:
        session = dln.load(text).compile(dtype="float64").session()
        session.train("one")
        session.programs.run(ProgramKind.TASK.of("t"))
    (problem,) = e.value.problems
    assert problem.message == f"the computation left the numbers: {what}"
    assert found is None or problem.facts[0] == found
    assert where in problem.facts[-1] and "example" not in problem.facts[-1].replace(
        "example 0 of", ""
    )
    assert "learning rate" not in problem.remedy


GROWING = """\
data d = rows([[1, 2], [3, 1]]) {
  x[2] = raw
}
let m = dense(2)
train one on d batch all for 100 updates dtype float32 {
  y = m(x)
  z = 3 * y
  minimize sum(z^2) over m with sgd(lr = 50)
}
"""


def fault(text: str) -> Any:
    with pytest.raises(dln.DlnError) as e:
        dln.load(text).compile().session().train("one")
    (problem,) = e.value.problems
    return problem


def test_it_is_said_what_lines_the_operands_came_from() -> None:
    found = fault(GROWING)
    assert found.span.line in (7, 8)
    notes = {n.span.line: n.span.text for n in found.notes}
    assert notes[6] == "m(x)" and found.span.line not in notes
    assert any("e+" in fact for fact in found.facts)


def test_the_learning_rate_is_to_blame_after_an_update_alone() -> None:
    late, soon = fault(GROWING), fault(GROWING.replace("3 * y", "1e30 * y"))
    assert "update 0" not in "".join(late.facts) and "a smaller learning rate" in late.remedy
    assert "update 0" in "".join(soon.facts) and "learning rate" not in soon.remedy


def test_a_logarithm_of_one_element_is_said_as_it_is_written() -> None:
    text = GROWING.replace("sum(z^2)", "-log(z[1] * 0)")
    found = fault(text)
    assert "log of " in found.message and "z[1] * 0" in found.remedy
