"""Training against loops written by hand: orders, schedules, watches, checkpoints, faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

import dln
from dln.compiler.plan import KeepSpec, On, ProgramKind, ProgramTable, site_number
from dln.grammar.diagnostics import DlnError
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.readers import sampling_order
from dln.runtime.session import Interrupted
from dln.runtime.training.callbacks import Hook, Progress, Report


def batches(n: int, size: int, epochs: int, seed: int, phase: str, **how: Any) -> list[np.ndarray]:
    found = []
    for epoch in range(epochs):
        key = site_number(f"{phase}.order")
        if how.get("order") == "replacement":
            drawn = sampling_order.replacement(n, n, seed, key, epoch)
        elif how.get("order") == "file":
            drawn = sampling_order.file_order(n)
        else:
            drawn = sampling_order.permutation(n, seed, key, epoch)
        found += [drawn[i : i + size] for i in range(0, n, size)]
    return found


def test_a_run_equals_the_loop_written_by_hand(session: Any, table: Any, by_hand: Any) -> None:
    fit, noisy = by_hand
    s, d = session(), table()
    x, t = d[:, :2], d[:, 2]
    w, losses = fit(s.params["net.w"], 0.25, x, t, batches(8, 3, 4, 1, "fit"), 3)
    first = s.train("fit")
    np.testing.assert_allclose(s.params["net.w"], w, rtol=1e-13)
    assert (first.epochs, first.updates, first.complete, first.shortened) == (4, 12, True, False)
    w = noisy(w * 0.5, 0.25, x, t, batches(11, 4, 4, 9, "noisy", order="replacement"))
    s.train("noisy")
    np.testing.assert_allclose(s.params["net.w"], w, rtol=1e-13)
    assert list(s.results) == ["fit", "noisy"]


def test_watches_are_taken_when_they_are_due(session: Any, table: Any, by_hand: Any) -> None:
    s, d = session(), table()
    x, t = d[:, :2], d[:, 2]
    w0, indices = s.params["net.w"].copy(), batches(8, 3, 4, 1, "fit")
    weights = [by_hand[0](w0, 0.25, x, t, indices[:k], 3)[0] for k in range(13)]
    _, losses = by_hand[0](w0, 0.25, x, t, indices, 3)
    history = s.train("fit").history
    assert [(u, e) for u, e, _ in history["error"]] == [(3, 1), (6, 2), (9, 3), (12, 4)]
    sums = [2 * loss * len(i) for loss, i in zip(losses, indices, strict=True)]
    want = [sum(sums[k : k + 3]) / 8 for k in (0, 3, 6, 9)]
    np.testing.assert_allclose([v for _, _, v in history["error"]], want, rtol=1e-12)
    assert [u for u, _, _ in history["size"]] == [0, 2, 4, 6, 8, 10]
    sizes = [weights[u] @ weights[u] for u in range(0, 12, 2)]
    np.testing.assert_allclose([v for _, _, v in history["size"]], sizes, rtol=1e-12)
    assert [u for u, _, _ in history["rms"]] == [3, 6, 9, 12]
    want = [np.mean((x[8:] @ weights[u] + 0.25 - t[8:]) ** 2) for u in (3, 6, 9, 12)]
    np.testing.assert_allclose([v for _, _, v in history["rms"]], want, rtol=1e-11)


def test_a_whole_phase_is_one_report(session: Any) -> None:
    rows = session().train()["noisy"].history["error"]
    assert [(u, e) for u, e, _ in rows] == [(12, 4)]


@pytest.mark.parametrize(
    ("every", "over", "updates"),
    [((1, "epoch"), None, [12]), (None, None, [12]), ((7, "update"), ("d", "valid"), [7])],
)
def test_watches_at_the_end(
    session: Any, watched: Any, every: Any, over: Any, updates: Any
) -> None:
    """A partial epoch is reported if nothing else was; updates past the last multiple are not."""
    program = None if over is None else ProgramKind.WATCH.of("fit", "rms")
    on = None if over is None else On(*over)
    watch = watched("error", every, ("x", "t"), program, on, per_example=True)
    on = On("d", "all" if every else "fit")
    changes = {"duration": (12, "update"), "batch": 1, "on": on}
    got = session(n=50, watches=(watch,), **changes).train("fit")
    assert [u for u, _, _ in got.history["error"]] == updates


def test_durations(session: Any) -> None:
    assert session(duration=(7, "update")).train("fit").updates == 7
    assert session(duration=(0, "epoch"), watches=()).train("fit").updates == 0
    one = session(duration=(1, "second")).train("fit")
    assert one.updates > 100 and one.seconds >= 1
    short = session().train("fit", epochs=1)
    assert (short.updates, short.shortened) == (3, True)
    few = session().train("fit", limit=4)
    assert (few.updates, few.shortened) == (8, True)
    assert session().train("fit", epochs=6).epochs == 6
    assert session(duration=(5, "update")).train("fit", epochs=6).updates == 5


@pytest.mark.parametrize("how", ["file", "shuffled", "replacement", "balanced"])
def test_orders(session: Any, table: Any, by_hand: Any, how: str) -> None:
    s, d = session(order=how, balanced="c"), table()
    want = batches(8, 3, 4, 1, "fit", order=how)
    if how == "balanced":
        key = site_number("fit.order")
        drawn = [sampling_order.balanced(d[:8, 3].astype(int), 1, key, e) for e in range(4)]
        want = [o[i : i + 3] for o in drawn for i in range(0, 8, 3)]
    w, _ = by_hand[0](s.params["net.w"], 0.25, d[:, :2], d[:, 2], want, 3)
    s.train("fit")
    np.testing.assert_allclose(s.params["net.w"], w, rtol=1e-13)


def test_until_ends_the_phase_at_a_report(session: Any) -> None:
    s = session(duration=(1000, "epoch"), until=(ProgramKind.UNTIL.of("fit"),), rate=0.9)
    got = s.train("fit")
    assert got.updates < 3000 and got.complete and not got.shortened
    values = [v for _, _, v in got.history["rms"]]
    assert values[-1] < 1e-9 <= min(values[:-1])
    np.testing.assert_allclose(s.params["net.w"], [2, -1], atol=1e-3)


def test_until_and_best_over_a_watch_on_the_minibatch(
    session: Any, plan: Any, watched: Any, tmp_path: Path
) -> None:
    """Such a watch is taken before an update: the phase ends without making it."""
    program = ProgramKind.WATCH.of("fit", "rms")
    rms = watched("rms", (2, "update"), ("x", "t"), program, per_example=True)
    changes = {
        "watches": (rms,),
        "until": (ProgramKind.UNTIL.of("fit"),),
        "duration": (1000, "epoch"),
        "rate": 0.9,
    }
    keeps = (KeepSpec(None, ProgramKind.BEST.of("fit", 0)),)
    straight = session(**changes, keeps=keeps)
    run = RunDirectory.create("lin", str(tmp_path / "run"))
    saved: list[Any] = []

    class Collect:
        def checkpoint(self, path: Path, best: bool) -> None:
            saved.append((best, run.newest()))

    got = straight.train("fit", rundir=run, hooks=[Collect()])
    history = got.history["rms"]
    assert [u for u, _, _ in history] == list(range(0, got.updates + 1, 2))
    assert history[-1][2] < 1e-9 <= min(v for _, _, v in history[:-1])
    assert sum(best for best, _ in saved) > 3
    for _, restored in saved[-3:]:
        again = session(**changes, keeps=keeps)
        again.train("fit", resume=restored)
        assert again.results["fit"].history == got.history
        np.testing.assert_array_equal(again.params["net.w"], straight.params["net.w"])


def test_precision_is_that_of_the_phase(session: Any) -> None:
    s = session(dtype="float32")
    assert s.params["net.w"].dtype == np.float32
    s.train("fit")
    exact = session()
    assert exact.params["net.w"].dtype == np.float64
    exact.train("fit")
    np.testing.assert_allclose(s.params["net.w"], exact.params["net.w"], rtol=1e-5)


def test_hooks_are_told(session: Any) -> None:
    class Spy(Hook):
        def __init__(self) -> None:
            self.seen: list[str] = []
            self.reports: list[Report] = []

        def phase_start(self, event: Any) -> None:
            self.seen.append(f"start {event.phase} {event.updates}")

        def report(self, event: Report) -> None:
            self.reports.append(event)

        def phase_end(self, result: Any) -> None:
            self.seen.append(f"end {result.name} {result.updates}")

    class Rest:
        def progress(self, event: Progress) -> None:
            self.last = event

    spy, rest = Spy(), Rest()
    session(duration=(1, "second")).train("fit", hooks=[rest])
    assert 0 < rest.last.fraction <= 1 and rest.last.rate > 0 and rest.last.loss >= 0
    session().train(hooks=[spy, rest])
    assert spy.seen == ["start fit 12", "end fit 12", "start noisy 12", "end noisy 12"]
    assert spy.reports[1].values == {"size": pytest.approx(spy.reports[1].values["size"])}


def test_checkpoints_and_the_log(session: Any, tmp_path: Path) -> None:
    keeps = (KeepSpec((5, "update"), None), KeepSpec(None, ProgramKind.BEST.of("fit", 0)))
    run = RunDirectory.create("lin", str(tmp_path / "run"))
    s = session(keeps=keeps)
    s.train(rundir=run)
    names = sorted(p.name for p in run.checkpoints.iterdir())
    assert "best.safetensors" in names and names[-1] == "update-000000024.safetensors"
    events = [r["event"] for r in run.records()]
    assert events.count("start") == events.count("end") == 2
    assert [r["n"] for r in run.records()] == list(range(len(events)))


def test_data_may_be_given(session: Any, table: Any, by_hand: Any) -> None:
    d = table(40)
    x, t, c = d[:, :2], d[:, 2], d[:, 3].astype(int)
    s = session()
    w, _ = by_hand[0](s.params["net.w"], 0.25, x, t, batches(29, 3, 2, 1, "fit"), 10)
    s.train("fit", epochs=2, data={"d": (x, t, c)})  # 8 of 11 examples: 29 of 40
    np.testing.assert_allclose(s.params["net.w"], w, rtol=1e-13)
    s = session()
    w, _ = by_hand[0](s.params["net.w"], 0.25, x, t, batches(40, 3, 1, 1, "fit"), 14)
    s.train("fit", epochs=1, data={"d.fit": {"x": x, "t": t, "c": c}})
    np.testing.assert_allclose(s.params["net.w"], w, rtol=1e-13)


def test_an_interruption_is_raised_after_the_update(session: Any) -> None:
    s = session()
    with pytest.raises(Interrupted, match="fit, update 1"):
        s.train(stop=Countdown(0))
    assert s.updates == {"fit": 1}


def test_bad_numbers_name_line_update_and_example(session: Any, table: Any, tmp_path: Path) -> None:
    run = RunDirectory.create("lin", str(tmp_path / "run"))
    d = table()
    d[6, 1] = 1e200
    at = next(u for u, i in enumerate(batches(8, 3, 1, 1, "fit")) if 6 in i)
    with pytest.raises(DlnError) as e:
        session(watches=()).train(
            "fit", rundir=run, data={"d": (d[:, :2], d[:, 2], d[:, 3].astype(int))}
        )
    text = str(e.value)
    assert "error[E600]: the computation left the numbers: overflow in multiply" in text
    assert "--> lin.dln:4:5" in text and " line 3" in text
    assert f"phase fit, update {at}, epoch 0, example 6 of d.fit" in text
    assert "read [" in text
    assert (run.checkpoints / "failed.safetensors").is_file()


def test_wrong_arguments(session: Any) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"epochs": -1}, "E563"),
        ({"limit": 0}, "E563"),
        ({"data": {"e": 1}}, "E560"),
        ({"data": {"d.fitt": 1}}, "E560"),
        ({"data": {"d": (1, 2)}}, "E557"),
    ]
    for options, code in cases:
        with pytest.raises(DlnError) as e:
            session().train("fit", **options)
        assert [p.code for p in e.value.problems] == [code]
    with pytest.raises(DlnError, match='there is no phase "fti"'):
        session().train("fti")


def test_numbers_of_past_phases_are_clocks(plan: Any, hand_program: Any) -> None:
    from dln.runtime.device.host import Host
    from dln.runtime.session import Session

    made = plan()
    asked = ("fit.error", "fit.updates", "fit.rms[1]", "noisy.error")
    lines = [f"v0[{i}:{i + 1}].fill(c{i})" for i in range(3)]
    check = hand_program("task:0", [("value", "a", ((3, 0),))], lines, asked[:3])
    late = hand_program("task:1", [("value", "a", ((3, 0),))], lines, asked[3:])
    made = made.changed(programs=ProgramTable({**made.programs, "task:0": check, "task:1": late}))
    s = Session(made, Host(), 1)
    got = s.train("fit")
    want = [got.watch["error"], 12, got.history["rms"][1][2]]
    np.testing.assert_array_equal(s.evaluate("task:0")["a"], want)
    with pytest.raises(DlnError, match="E562"):
        s.evaluate("task:1")


@pytest.mark.parametrize(
    ("rate", "says"),
    [
        ("1 / epoch", "a division by 0"),
        ("log(epoch)", "log of 0"),
        ("exp(1000 * (epoch + 1))", "exp of 1000"),
    ],
)
def test_a_schedule_that_leaves_the_numbers_is_said_with_its_line(rate: str, says: str) -> None:
    spec = dln.load(f"""
let f = dense(1)
data d = rows([[1, 2, 3]]) {{
  x[3] = raw
}}
train t on d batch 1 for 3 epochs {{
  minimize sum(f(x)^2) over f with sgd(lr = {rate})
}}
""")
    session = spec.compile().session()
    with pytest.raises(DlnError) as error:
        session.train("t")
    (problem,) = error.value.problems
    assert problem.code == "E600" and says in problem.message
    assert problem.span is not None and problem.span.line == 7
    with pytest.raises(DlnError, match="E600"):
        spec.compile().session().step("t", x=[[1, 2, 3]])
