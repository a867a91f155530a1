"""Calls from Python that come again and again: a call like one before is as right, and refused as
exactly, as the first; and it costs little.

Lists go the long way each time, so they say what arrays are to give.
"""

import sys
from collections.abc import Callable, Iterator
from itertools import product
from types import FrameType
from typing import Any

import numpy as np
import pytest

import dln
from dln import DlnError
from dln.compiler.plan import FieldSpec
from dln.runtime.readers import quick
from dln.runtime.readers.validation import wrong_value
from dln.runtime.session import Session

TEXT = """data points = rows([[0, 1, 0], [1, 0.5, 1], [0.5, 0.25, 2], [1, 1, 0]]) {
  x[2]: prob = raw[:2]
  label: class(3) = raw[2]
  extra = raw[0]
}
block net(x[2]: prob) -> z[3]: logit {
  param W[3, 2] ~ normal(0, 1) where [[1, 0], [1, 1], [0, 1]], b[3] = 0
  z = W @ x + b
}
let n = net()
train fit on points.all batch 4 for 5 epochs {
  keep[2] ~ bernoulli([0.9, 0.9])
  minimize cross_entropy(n(x * keep as prob), label) over n with sgd(lr = 1 / (1 + update))
}
train wide on points.all batch 4 for 1 epoch dtype float64 {
  minimize cross_entropy(n(x), label) over n with adam(lr = 0.01)
}
"""
PLAN = dln.load(TEXT).compile()
X = np.array([[0.25, 0.5], [1.0, 0.0], [0.125, 1.0]], np.float32)
LABEL = np.array([0, 2, 1])
FORMS: list[Callable[[Any], Any]] = [
    lambda a: a, lambda a: a.astype(np.float64), lambda a: a[::-1][::-1], np.asfortranarray,
    lambda a: a.astype(">f4"), lambda a: a.astype(np.float16), lambda a: np.vstack([a, a]),
]  # fmt: skip


def bits(session: Session) -> dict[str, bytes]:
    return {path: session.params[path].tobytes() for path in session.params}


def test_steps_on_arrays_are_those_on_lists() -> None:
    quick_one, slow_one = PLAN.session(seed=3), PLAN.session(seed=3)
    for form, phase, label in product(
        FORMS, ("fit", "wide", "fit"), (LABEL, LABEL.astype(np.uint8))
    ):
        x = form(X)
        given = {"x": x, "label": np.resize(label, len(x))}
        lists = {name: array.tolist() for name, array in given.items()}
        for more in ({}, {"extra": np.zeros(len(x))}):
            losses = [quick_one.step(phase, **given, **more) for _ in range(3)]
            assert losses == [slow_one.step(phase, **lists, **more) for _ in range(3)]
            assert bits(quick_one) == bits(slow_one)
            found, wanted = quick_one.n(x), slow_one.n(x.tolist())
            assert np.array_equal(found, wanted) and np.array_equal(quick_one.n(x=x), wanted)


def test_a_call_sees_the_parameters_as_they_are() -> None:
    session = PLAN.session()
    first = session.n(X)
    session.params["n.b"] = [1.0, 2.0, 3.0]
    assert session.n(X) == pytest.approx(first + [1, 2, 3])
    session.params["n.W"][...] = 2.0  # dead entries too, which stay 0
    assert session.n(X) == pytest.approx(X @ [[2, 2, 0], [0, 2, 2]] + [1, 2, 3])
    session.step("wide", x=X, label=LABEL)  # another precision: another array
    session.params["n.W"][...] = 0.0
    assert session.n(X) == pytest.approx(np.tile(session.params["n.b"], (3, 1)), rel=1e-6)
    session.train("fit", epochs=1)
    assert np.array_equal(session.n(X), session.n(X.tolist()))


def test_what_a_call_gives_may_be_kept() -> None:
    session = PLAN.session()
    first = session.n(X)
    kept = first.copy()
    second = session.n(X / 2)
    assert np.array_equal(first, kept) and not np.array_equal(first, second)
    assert not np.shares_memory(first, second)


def spoilt(array: Any, value: float) -> Any:
    found = array.copy()
    found.flat[-1] = value
    return found


WRONG: list[dict[str, Any]] = [
    *({"x": spoilt(X, value)} for value in (np.nan, np.inf, -np.inf, 1.5, -0.5, 255)),
    *({"x": spoilt(X.astype(float), value)} for value in (np.nan, 1 + 1e-12, -1e-300, 1e300)),
    *({"label": spoilt(LABEL, value)} for value in (3, -1, 2**62)),
    {"label": LABEL.astype(float) + 0.5}, {"label": np.array([2**63, 0, 0], "u8")},
    {"label": np.eye(3)}, {"x": X[0]}, {"x": X[:2]}, {"x": X[:0]}, {"x": X.T}, {"x": X[:, :1]},
    {"x": np.ma.masked_array(X, X > 0.9)}, {"x": X.astype(complex)}, {"x": X.astype("U")},
    {"x": None}, {"y": X}, {"length": LABEL},
]  # fmt: skip


def said(call: Callable[[], Any]) -> str:
    with pytest.raises(DlnError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_refused_as_at_first(wrong: dict[str, Any]) -> None:
    used = PLAN.session()
    used.step("fit", x=X, label=LABEL)
    used.step("fit", x=X.astype(float), label=LABEL)
    used.n(X)
    before = bits(used)
    given = {"x": X, "label": LABEL, **wrong}
    wanted = said(lambda: PLAN.session().step("fit", **given))
    assert said(lambda: used.step("fit", **given)) == wanted
    if "x" in wrong and np.shape(wrong["x"]) != (2, 2):
        wanted = said(lambda: PLAN.session().n(wrong["x"]))
        assert said(lambda: used.n(wrong["x"])) == wanted
    assert bits(used) == before and used.updates == {"fit": 2}


def test_numbers_that_fail_are_told_as_at_first() -> None:
    def failing(session: Session) -> str:
        session.params["n.W"][...] = 3.4e38
        return said(lambda: session.n(X))

    used = PLAN.session()
    used.n(X)
    wanted = failing(PLAN.session())
    assert failing(used) == wanted and "E600" in wanted and "W @ x" in wanted
    used.params["n.W"][...] = 1.0
    assert np.isfinite(used.n(X)).all()


def arrays() -> Iterator[np.ndarray[Any, Any]]:
    """Arrays with one odd number among plain ones, few and many."""
    for count, dtype in product((1, 3, 70), ("f4", "f8")):
        top = float(np.finfo(dtype).max)
        for odd in (
            0,
            1,
            -0.0,
            0.5,
            -1,
            1 + 1e-6,
            2,
            1e-40,
            1e30,
            top,
            -top,
            np.inf,
            -np.inf,
            np.nan,
        ):
            yield np.array([1] * (count - 1) + [odd], dtype)
    for count, dtype in product((1, 3, 70), ("i1", "u1", "i4", "u4", "i8", "u8")):
        for odd in (0, 1, 2, 3, 9, 10, 127, -1, -128):
            yield np.array([1] * (count - 1) + [odd]).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_quick_yes_is_a_yes(dtype: str) -> None:
    fields = [
        FieldSpec("x", (), "real", d) for d in ("real", "prob", "positive", "binary", "logit")
    ]
    fields += [FieldSpec("c", (), "index", "class", classes) for classes in (3, 10, 300)]
    fields += [FieldSpec("l", (), "index", "length", 4), FieldSpec("i", (), "index")]
    yes = no = 0
    for field, array in product(fields, arrays()):
        question = quick.question(field, array, dtype)
        with np.errstate(all="ignore"):
            found = question is not None and question(array)()
        if found:
            assert wrong_value(field, array, 0, dtype=dtype) is None, (field, array)
        plain = (array >= 0).all() and (array <= 1).all() and not np.signbit(array).any()
        if question is not None and plain and field.domain != "binary":
            assert found, (field, array)
        yes, no = yes + found, no + (not found)
    assert yes > 200 and no > 200


def test_a_call_like_one_before_does_little() -> None:
    """Counted, as times are not to be relied on: functions of Python called by each."""
    session = PLAN.session()
    calls = list[str]()

    def count(frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        own = not path.endswith(("kernels.py", "openblas.py"))  # what the program itself calls
        if event == "call" and "/runtime/" in path and own:
            calls.append(frame.f_code.co_qualname)

    for call in (lambda: session.n(X), lambda: session.step("fit", x=X, label=LABEL)):
        for _ in range(2):
            call()
        calls.clear()
        sys.setprofile(count)
        call()
        sys.setprofile(None)
        assert 5 < len(calls) <= 30, "\n".join(calls)
