"""The Python door: parameters, steps, gradients, instances, files, and what is said of mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dln.grammar.diagnostics import DlnError
from dln.runtime.device.device import open_device
from dln.runtime.session import Session


def problem(e: Any) -> Any:
    assert len(e.value.problems) == 1
    return e.value.problems[0]


def test_first_values_come_from_the_seed(session: Any) -> None:
    a, b, c = session(seed=1), session(seed=1), session(seed=2)
    np.testing.assert_array_equal(a.params["net.w"], b.params["net.w"])
    assert not np.array_equal(a.params["net.w"], c.params["net.w"])
    assert list(a.params) == ["net.w", "net.b"] and a.params["net.b"] == 0.25
    narrow = session(dtype="float32").params["net.w"]
    np.testing.assert_array_equal(narrow, a.params["net.w"].astype(np.float32))


def test_steps_are_those_of_the_hand(session: Any, table: Any, by_hand: Any) -> None:
    s, d = session(), table()
    x, t = d[:, :2], d[:, 2]
    picks = [np.array(i) for i in ([0], [1, 2, 3, 4, 5, 6, 7], [8, 9], [3])]
    w, losses = by_hand[0](s.params["net.w"], 0.25, x, t, picks, 3)
    got = [s.step("fit", x=x[i], t=t[i].tolist()) for i in picks]
    np.testing.assert_allclose(got, losses, rtol=1e-13)
    np.testing.assert_allclose(s.params["net.w"], w, rtol=1e-13)
    assert s.updates == {"fit": 4}


def test_parameters_are_the_arrays_of_the_programs(session: Any) -> None:
    s = session()
    s.params["net.w"][...] = [2.0, 3.0]
    np.testing.assert_allclose(s.net([[1.0, 10.0]]), [32.25])
    s.params["net.w"] = [1, 0]
    np.testing.assert_allclose(s.net(x=np.eye(2)), [1.25, 0.25])
    np.testing.assert_allclose(s["net"](np.eye(2, dtype=np.float32)), [1.25, 0.25])
    s.train("fit")
    held = s.params["net.w"]
    s.train("noisy")
    assert held is s.params["net.w"]


def test_gradients(session: Any, table: Any) -> None:
    s, d = session(), table()
    x, t = d[:5, :2], d[:5, 2]
    r = x @ s.params["net.w"] + 0.25 - t
    np.testing.assert_allclose(s.grad("fit", "net.w", x=x, t=t), r @ x / 5, rtol=1e-13)
    with pytest.raises(DlnError, match="fit does not minimise anything over net.b") as e:
        s.grad("fit", "net.b", x=x, t=t)
    assert problem(e).code == "E564" and problem(e).remedy == "one of net.w"
    with pytest.raises(DlnError, match="E564"):
        s.grad("noisy", "net.w", x=x, t=t)


def test_wrong_names(session: Any) -> None:
    s = session()
    wrongs: list[tuple[Callable[[], object], str]] = [
        (lambda: s.params["net.v"], "one of net.w, net.b"),
        (lambda: s.step("fti"), "fit"),
        (lambda: s.grad("fit", "net.ww"), "net.w"),
        (lambda: s["nett"], "net"),
        (lambda: s.apply("nte", 1), "net"),
    ]
    for wrong, remedy in wrongs:
        with pytest.raises(DlnError) as e:
            wrong()
        assert (problem(e).code, problem(e).remedy) == ("E560", remedy)
    with pytest.raises(AttributeError, match='nearest is "net"'):
        _ = s.nett
    with pytest.raises(DlnError, match="net\\(x\\) takes 1 arrays, not 2"):
        s.net(1, 2)
    with pytest.raises(DlnError, match="given x twice"):
        s.net(np.eye(2), x=np.eye(2))
    assert not hasattr(s, "_other") and repr(s) == "Session(lin, 3 parameters, numpy)"


def test_wrong_feeds_have_a_place(session: Any) -> None:
    with pytest.raises(DlnError) as e:
        session().step("fit", x=np.zeros((4, 3)), t=np.zeros(4))
    assert str(e.value).splitlines()[:4] == [
        "error[E551]: x: the array has shape (4, 3), expected [2] for each example: (examples, 2)",
        "  --> lin.dln:2:3",
        "   |",
        " 2 |   x[2]: real",
    ]
    with pytest.raises(DlnError, match="x: there are no examples"):
        session().net(np.zeros((0, 2)))


def test_a_field_that_a_phase_does_not_use_may_be_fed(session: Any) -> None:
    s = session()
    s.step("fit", x=np.eye(2), t=[1.0, 2.0], c=[0, 1])
    with pytest.raises(DlnError, match='the phase fit has no field "tt"'):
        s.step("fit", x=np.eye(2), tt=[1.0, 2.0])


def test_a_bad_step_names_the_line_and_the_example(session: Any) -> None:
    with pytest.raises(DlnError) as e:
        session().step("fit", x=[[1.0, 1.0], [1e200, 0.0]], t=[0.0, 0.0])
    assert problem(e).code == "E600" and problem(e).span.line == 4
    assert "phase fit, update 0, example 1" in problem(e).facts


def test_saving_and_loading(session: Any, tmp_path: Path, table: Any) -> None:
    d = table()
    a, path = session(), tmp_path / "lin.safetensors"
    for i in range(3):
        a.step("fit", x=d[i : i + 2, :2], t=d[i : i + 2, 2])
    a.save(path)
    b = session(seed=5)
    held = b.params["net.w"]
    b.load(path)
    assert b.params["net.w"] is held
    for s in (a, b):  # momentum and schedule go on as well
        s.step("fit", x=d[:, :2], t=d[:, 2])
    np.testing.assert_array_equal(a.params["net.w"], b.params["net.w"])
    c = session(dtype="float32", n=20)  # another spec with the same names and shapes
    c.load(path)
    assert c.params["net.w"].dtype == np.float32


def test_loading_what_does_not_fit(session: Any, tmp_path: Path) -> None:
    from dln.runtime.checkpoint import checkpoint

    path = tmp_path / "other.safetensors"
    checkpoint.save(path, {"net.w": np.zeros(3), "net.bb": np.zeros(())}, {})
    with pytest.raises(DlnError) as e:
        session().load(path)
    assert problem(e).code == "E532"
    assert "net.b is missing (nearest: net.bb)" in problem(e).message
    assert "net.w is float64[3], expected float64[2]" in problem(e).message
    with pytest.raises(DlnError, match="E534"):
        session().load(tmp_path / "absent.safetensors")


def test_evaluate_with_other_parameters(session: Any) -> None:
    s = session()
    w = s.params["net.w"].copy()
    other = {"net.w": np.ones(2), "net.b": np.array(1.0)}
    np.testing.assert_allclose(s.evaluate("apply:net", {"x": np.eye(2)}, other)["y"], [2, 2])
    np.testing.assert_array_equal(s.params["net.w"], w)
    np.testing.assert_array_equal(s.evaluate("start:noisy")["net.w"], w / 2)


def test_another_device_gives_the_same(
    session: Any, plan: Any, fake_cupy: Any, tmp_path: Path
) -> None:
    fake_cupy()
    there, here = Session(plan(), open_device("cupy"), 1), session()
    assert type(there.params["net.w"]) is not np.ndarray
    there.params["net.w"][0] = here.params["net.w"][0] = 3.0
    for s in (there, here):
        s.train()
        s.step("fit", x=np.eye(2), t=[0.0, 1.0])
    np.testing.assert_array_equal(np.asarray(there.params["net.w"]), here.params["net.w"])
    assert there.results["fit"].history == here.results["fit"].history
    there.save(tmp_path / "a.safetensors")
    here.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(here.net(np.eye(2)), there.net(np.eye(2)))


def test_what_train_does_not_take_is_refused(session: Any) -> None:
    made = session()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"epoch": 3}, "epochs"),
        ({"callbacks": []}, "one of epochs, limit"),
    ]
    for given, remedy in cases:
        with pytest.raises(DlnError) as caught:
            made.train("fit", **given)
        assert problem(caught).code == "E563" and problem(caught).remedy.startswith(remedy)
    with pytest.raises(DlnError, match="has no method that a run calls"):
        made.train("fit", hooks=[object()])
    with pytest.raises(DlnError, match='there is no clock "epok"'):
        made.evaluate("step:fit", epok=1)
    with pytest.raises(DlnError, match='there is no program "step:fot"') as caught:
        made.evaluate("step:fot")
    assert problem(caught).remedy == "step:fit"


def test_a_masked_value_is_no_number_wherever_it_stands(session: Any) -> None:
    made = session()
    path = next(iter(made.params))
    values = np.ma.array(np.zeros(made.params[path].shape), mask=True)
    before = made.params[path].copy()
    with pytest.raises(DlnError, match="masked value"):
        made.params[path] = values
    assert np.array_equal(made.params[path], before)
    row = np.ma.array([1.0, 2.0], mask=[False, True])
    with pytest.raises(DlnError, match="1 masked value"):
        made.step("fit", x=[row, row.data], t=[0.0, 1.0])
