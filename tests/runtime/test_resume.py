"""An interrupted run goes on bit for bit, wherever it was interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import Countdown

from dln.compiler.plan import KeepSpec, ProgramKind
from dln.grammar.diagnostics import DlnError
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.execution.phase_result import PhaseResult
from dln.runtime.session import Interrupted, Session

KEEPS = (
    KeepSpec((5, "update"), None),
    KeepSpec((2, "epoch"), None),
    KeepSpec(None, ProgramKind.BEST.of("fit", 0)),
)


def facts(results: dict[str, PhaseResult]) -> Any:
    return {name: {**r.facts(), "seconds": 0} for name, r in results.items()}


def reports(run: RunDirectory) -> list[dict[str, Any]]:
    said = [r for r in run.records() if r["event"] == "report"]
    return [{**r, "n": 0, "seconds": 0.0} for r in said]  # what no two runs have in common


def same(a: Session, b: Session) -> None:
    for path in a.params:
        assert a.params[path].dtype == b.params[path].dtype
        np.testing.assert_array_equal(a.params[path], b.params[path])
    assert facts(a.results) == facts(b.results) and a.updates == b.updates


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("looks", range(0, 43, 3))
def test_going_on_after_an_interruption(
    session: Any, tmp_path: Path, looks: int, dtype: str
) -> None:
    """Interrupted at every kind of place: mid-epoch, epoch ends, between phases, in the second."""
    straight, whole = (
        session(keeps=KEEPS, dtype=dtype),
        RunDirectory.create("a", str(tmp_path / "a")),
    )
    straight.train(rundir=whole)
    run = RunDirectory.create("b", str(tmp_path / "b"))
    first = session(keeps=KEEPS, dtype=dtype)
    with pytest.raises(Interrupted):
        first.train(rundir=run, stop=Countdown(looks))
    again, restored = session(keeps=KEEPS, dtype=dtype), RunDirectory.reopen(str(run.path)).newest()
    again.train(rundir=run, resume=restored)
    same(straight, again)
    assert reports(run) == reports(whole)


def test_many_interruptions(session: Any, tmp_path: Path) -> None:
    straight = session()
    straight.train()
    run, restored = RunDirectory.create("b", str(tmp_path / "b")), None
    for _ in range(100):
        again = session()
        try:
            again.train(rundir=run, resume=restored, stop=Countdown(2))
            break
        except Interrupted:
            restored = run.newest()
    same(straight, again)


def test_any_checkpoint_leads_to_the_same_end(session: Any, tmp_path: Path) -> None:
    """Also after a crash: what was done since the checkpoint is done again."""
    straight = session(keeps=KEEPS)
    straight.train()
    run = RunDirectory.create("b", str(tmp_path / "b"))
    saved: list[Any] = []

    class Collect:
        def checkpoint(self, path: Path, best: bool) -> None:
            saved.append(run.newest())

    session(keeps=KEEPS).train(rundir=run, hooks=[Collect()])
    assert len(saved) > 5
    for restored in saved:
        again = session(keeps=KEEPS)
        again.train(resume=restored)
        same(straight, again)


def test_what_checks_ask_of_a_phase_survives(session: Any, tmp_path: Path) -> None:
    def kept(run: RunDirectory, **options: Any) -> Session:
        s = session()
        s.keep_before = {"fit", "noisy"}
        s.train(rundir=run, **options)
        return s

    straight = kept(RunDirectory.create("a", str(tmp_path / "a")))
    run = RunDirectory.create("b", str(tmp_path / "b"))
    with pytest.raises(Interrupted):
        kept(run, stop=Countdown(30))
    again = kept(run, resume=run.newest())
    for name in ("fit", "noisy"):
        for part in ("first", "before", "after"):
            a, b = (getattr(s.results[name], part) for s in (straight, again))
            assert a.keys() == b.keys()
            for key in a:
                np.testing.assert_array_equal(a[key], b[key])
    fit = straight.results["fit"]
    assert fit.first is not None and fit.before is not None and fit.after is not None
    assert fit.first["x"].shape == (3, 2)
    assert not np.array_equal(fit.before["net.w"], fit.after["net.w"])


def test_a_finished_run_is_not_run_again(session: Any, tmp_path: Path) -> None:
    run = RunDirectory.create("a", str(tmp_path / "a"))
    straight = session()
    straight.train(rundir=run)
    again = session()
    again.train(rundir=run, resume=run.newest())
    same(straight, again)
    assert len([r for r in run.records() if r["event"] == "start"]) == 2


def test_what_cannot_be_gone_on_with(session: Any, tmp_path: Path) -> None:
    run = RunDirectory.create("a", str(tmp_path / "a"))
    with pytest.raises(Interrupted):
        session().train(rundir=run, stop=Countdown(1))
    restored = run.newest()
    assert restored is not None
    for other, options, said in [
        (session(seed=2), {}, "another seed"),
        (session(n=12), {}, "another spec"),
        (session(), {"limit": 4}, "the run used examples 8, this one 4"),
    ]:
        with pytest.raises(DlnError, match=said) as e:
            other.train(resume=restored, **options)
        assert e.value.problems[0].code == "E561"
    broken = replace(restored, arrays={k: a for k, a in restored.arrays.items() if k != "net.w"})
    with pytest.raises(DlnError, match="net.w is missing"):
        session().train(resume=broken)
