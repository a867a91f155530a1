"""Streams: rows read side by side, what is carried from window to window, watches of their own.

The step, by hand: h = h/2 + t, and w[0] grows by rate * sum(h); h has one number for each row.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

from dln.compiler.plan import Division, KeepSpec, On, Plan, Portion, ProgramKind, ProgramTable
from dln.grammar.diagnostics import DlnError
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.device.host import Host
from dln.runtime.profiler import profile
from dln.runtime.readers import sampling_order
from dln.runtime.session import Interrupted, Session
from dln.runtime.training.single_step import times

ROWS, RATE, PATH = 3, 0.01, "fit.carried:net.h"
HELD = ((ROWS, 0),)
CARRY = ["xp.multiply(v2, 0.5, out=v2)", "xp.add(v2, v0, out=v2)"]
Make = Callable[..., Session]


@pytest.fixture
def streaming(plan: Any, hand_program: Any, watched: Any) -> Callable[..., Plan]:
    def make(n: int = 17, rows: int = ROWS, **changes: Any) -> Plan:
        made = plan(n)
        inputs = [("input", "t", ((0, 1),)), ("param", "net.w", ((2, 0),)), ("state", PATH, HELD)]
        step = hand_program(
            "step:fit",
            [*inputs, ("value", "loss", ()), ("value", "watch:level", ())],
            [*CARRY, "xp.sum(v2, 0, out=v3)", f"xp.multiply(v3, {RATE}, out=v4)",
             "xp.add(v1[0], v4, out=v1[:1])", "xp.sum(v2, 0, out=v4)"],
        )  # fmt: skip
        over = hand_program(
            "watch:fit.over", [*inputs, ("value", "watch", ())], [*CARRY, "xp.sum(v2, 0, out=v3)"]
        )
        now = hand_program(
            "watch:fit.now", [*inputs, ("value", "watch", ())], ["xp.sum(v2, 0, out=v3)"]
        )
        first = hand_program("states:fit", [("value", PATH, HELD)], ["v0.fill(0.0)"])
        now_key, over_key = (ProgramKind.WATCH.of("fit", name) for name in ("now", "over"))
        watches = (
            watched("level", (1, "epoch"), ("t",), per_example=True),
            watched("now", (2, "update"), ("t",), now_key),
            watched("over", (2, "update"), ("t",), over_key, On("d", "valid"), per_example=True,
                    stream=ROWS, carried={PATH: (ROWS,)}),
        )  # fmt: skip
        fit = made.phases["fit"].changed(
            order="stream", batch=rows, fields=("t",), duration=(3, "epoch"),
            states={PATH: (ROWS,)}, carried=(PATH,), watches=watches,
            keeps=(KeepSpec((3, "update"), None),), **changes,
        )  # fmt: skip
        parts = {
            "all": Portion(n, (0, 1)),
            "fit": Portion(10, (0,)),
            "valid": Portion(n - 10, (1,)),
        }
        data = made.data["d"].changed(parts=parts, division=Division((10, n - 10)))
        programs = {p.name: p for p in (step, over, now, first)}
        return made.changed(
            data={"d": data},
            phases={"fit": fit},
            programs=ProgramTable({**made.programs, **programs}),
        )

    return make


def walk(t: np.ndarray, rows: int = ROWS) -> list[list[int]]:
    """The minibatches of an epoch: window u of each row."""
    each = len(t) // rows
    return [[r * each + u for r in range(rows)] for u in range(each)]


def test_stream_order() -> None:
    """The whole text in reading order within each row; 2 of 17 are left out."""
    found = sampling_order.stream(17, 3).reshape(5, 3)
    assert found.T.tolist() == [list(range(5)), list(range(5, 10)), list(range(10, 15))]
    for n in range(1, 20):
        for rows in range(1, n + 1):
            batches = sampling_order.stream(n, rows).reshape(-1, rows).tolist()
            assert batches == walk(np.zeros(n), rows)


def test_a_stream_equals_the_loop_written_by_hand(streaming: Any, table: Any) -> None:
    s, t = Session(streaming(), Host(), 1), table(17)[:, 2]
    w = float(s.params["net.w"][0])
    level, now, over, update = [], [], [], 0
    for _ in range(3):
        h, total = np.zeros(ROWS), 0.0
        for batch in walk(t[:10]):
            if update % 2 == 0:
                now.append((update, h.sum()))
            h = h / 2 + t[batch]
            w += RATE * h.sum()
            total, update = total + h.sum(), update + 1
            if update % 2 == 0:
                g, found = np.zeros(ROWS), 0.0
                for other in walk(t[10:]):
                    g = g / 2 + t[10:][other]
                    found += g.sum()
                over.append((update, found / 6))
        level.append((update, total / 9))
    got = s.train("fit")
    assert (got.updates, got.epochs, s.state.store.states["fit"][PATH].shape) == (9, 3, (ROWS,))
    np.testing.assert_allclose(s.params["net.w"][0], w, rtol=1e-13)
    np.testing.assert_allclose(s.state.store.states["fit"][PATH], h, rtol=1e-13)
    over += [(9, over[-1][1])] if got.history["over"][-1][0] == 9 else []
    for name, want in (("level", level), ("now", now), ("over", over)):
        reported = [(u, v) for u, _, v in got.history[name]]
        np.testing.assert_allclose(reported, want, rtol=1e-12)


def test_training_again_begins_again(streaming: Any) -> None:
    s = Session(streaming(), Host(), 1)
    first = s.train("fit").history["over"]
    assert s.train("fit").history["over"] == first


def test_what_a_watch_carries_is_its_own(streaming: Any, table: Any) -> None:
    """The phase is the same without the watch."""
    without = Session(streaming(), Host(), 1)
    fit = without.plan.phases["fit"]
    plan = without.plan.changed(phases={"fit": fit.changed(watches=fit.watches[:1])})
    alone = Session(plan, Host(), 1)
    without.train("fit")
    alone.train("fit")
    np.testing.assert_array_equal(alone.params["net.w"], without.params["net.w"])


@pytest.mark.parametrize("total", [False, True])
def test_a_watch_that_is_no_sum_is_averaged_over_windows(
    streaming: Any, table: Any, total: bool
) -> None:
    plan = streaming()
    fit = plan.phases["fit"]
    watch = fit.watches[2].changed(per_example=False, total=total)
    plan = plan.changed(phases={"fit": fit.changed(watches=(watch,))})
    t, g, found = table(17)[10:, 2], np.zeros(ROWS), 0.0
    for batch in walk(t):
        g = g / 2 + t[batch]
        found += g.sum()
    got = Session(plan, Host(), 1).train("fit").history["over"][0]
    assert got[2] == pytest.approx(found if total else found / 2, rel=1e-12)


@pytest.mark.parametrize("looks", range(0, 14))
def test_going_on_after_an_interruption(streaming: Any, tmp_path: Path, looks: int) -> None:
    """Also in the middle of an epoch: what is carried comes back bit for bit."""
    straight = Session(streaming(), Host(), 1)
    straight.train()
    run = RunDirectory.create("b", str(tmp_path / "b"))
    with pytest.raises(Interrupted):
        Session(streaming(), Host(), 1).train(rundir=run, stop=Countdown(looks))
    again = Session(streaming(), Host(), 1)
    again.train(rundir=run, resume=run.newest())
    for path in ("net.w", "net.b"):
        np.testing.assert_array_equal(straight.params[path], again.params[path])
    states = (s.state.store.states["fit"][PATH] for s in (straight, again))
    np.testing.assert_array_equal(*states)
    assert straight.results["fit"].history == again.results["fit"].history


def test_more_rows_than_windows(streaming: Any) -> None:
    cases: list[tuple[Plan, dict[str, Any], str]] = [
        (streaming(rows=11), {}, "at least 11 windows, d.fit has 10"),
        (streaming(n=12), {}, "at least 3 windows, d.valid has 2"),
        (streaming(), {"limit": 2}, "at least 3 windows, d.fit has 2"),
    ]
    for plan, options, said in cases:
        with pytest.raises(DlnError, match=said) as e:
            Session(plan, Host(), 1).train("fit", **options)
        (problem,) = e.value.problems
        assert problem.code == "E557" and problem.remedy.startswith("stream ")


def test_single_steps_go_along_the_rows(streaming: Any, table: Any) -> None:
    """One step from Python is one window of each row; the clocks count whole rows."""
    s, t = Session(streaming(), Host(), 1), table(17)[:10, 2]
    for batch in walk(t):
        s.step("fit", t=t[batch])
    trained = Session(streaming(), Host(), 1)
    trained.train("fit", epochs=1)
    np.testing.assert_array_equal(s.params["net.w"], trained.params["net.w"])
    assert times(s.datasets, s.phase("fit"), 3)["epoch"] == 1.0
    with pytest.raises(DlnError, match="has 3 windows, not 2") as e:
        s.step("fit", t=t[:2])
    assert e.value.problems[0].code == "E563"
    with pytest.raises(DlnError, match="has 3 windows, not 8"):
        profile(s, "fit", batch=8)
