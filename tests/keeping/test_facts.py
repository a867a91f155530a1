"""Checkpoints with right hashes and wrong facts: refused, and nothing of the session is changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials import specs
from trials.stopping import Countdown

import dln
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.runtime.checkpoint import checkpoint
from dln.runtime.checkpoint.rundir import Restored, RunDirectory

Forge = Callable[[dict[str, np.ndarray], Any], object]
STATE = "state:second:"


def put(path: str, value: object) -> Forge:
    """Another fact: `running.update`."""

    def forge(_: Any, meta: Any) -> None:
        *inner, last = path.split(".")
        for key in inner:
            meta = meta[key]
        assert last in meta
        meta[last] = value

    return forge


def gone(path: str) -> Forge:
    def forge(_: Any, meta: Any) -> None:
        *inner, last = path.split(".")
        for key in inner:
            meta = meta[key]
        del meta[last]

    return forge


def state_of(arrays: dict[str, np.ndarray]) -> str:
    return next(k for k in arrays if k.startswith(STATE))


def both(*forges: Forge) -> Forge:
    return lambda arrays, meta: [forge(arrays, meta) for forge in forges]


FORGED: dict[str, Forge] = {
    "another phase": put("running.phase", "third"),
    "a phase that is over": put("running.phase", "first"),
    "no phase": put("running.phase", "fourth"),
    "a phase before its time": both(
        put("running.phase", "third"), lambda _, meta: meta["updates"].update(third=4)
    ),
    "an earlier step": put("running.update", 3),
    "a step beyond the end": both(
        put("running.update", 31), put("updates.second", 31)
    ),
    "a step below 0": put("running.update", -1),
    "half a step": put("running.update", 4.5),
    "a truth as a step": put("running.update", True),
    "other examples": put("running.examples", 8),
    "another batch": put("running.batch", 2),
    "another length": put("running.length.total", 31),
    "another unit": put("running.length.unit", "second"),
    "epochs of other updates": put("running.length.per_epoch", 2),
    "NaN as the best": put("running.best.smallest", [float("nan")]),
    "no best": put("running.best.smallest", []),
    "text as the best": put("running.best.smallest", ["1"]),
    "a time below 0": put("running.seconds", -1.0),
    "no time": put("running.seconds", float("nan")),
    "reports of the future": lambda _, meta: meta["running"]["watches"]["history"].update(
        error=[[99, 33, 0.5]]
    ),
    "reports of another watch": lambda _, meta: meta["running"]["watches"]["values"].update(x=1.0),
    "sums of more than was seen": put("running.watches.since.error", [900, 1]),
    "no sums": put("running.watches.sums", {}),
    "no watches": gone("running.watches"),
    "nothing of where it is": put("running", 7),
    "a result of no phase": lambda _, meta: meta["results"].update(x=meta["results"]["first"]),
    "a result by another name": put("results.first.name", "second"),
    "complete too early": put("results.first.updates", 3),
    "a result beyond its end": put("results.first.updates", 11),
    "a result of another time": put("results.first.seconds", -2.0),
    "no results": gone("results"),
    "another seed": put("seed", 1),
    "a truth as a seed": put("seed", False),
    "another spec": put("fingerprint", "0" * 64),
    "updates of no phase": lambda _, meta: meta["updates"].update(x=3),
    "states of another optimiser": lambda arrays, _: arrays.update(
        {f"{STATE}x": arrays.pop(state_of(arrays))}
    ),
    "a state less": lambda arrays, _: arrays.pop(state_of(arrays)),
    "a state of another shape": lambda arrays, _: arrays.update(
        {state_of(arrays): np.zeros((7, 7), np.float32)}
    ),
    "a state of another type": lambda arrays, _: arrays.update(
        {state_of(arrays): arrays[state_of(arrays)].astype(np.float64)}
    ),
    "whole numbers as a state": lambda arrays, _: arrays.update(
        {state_of(arrays): arrays[state_of(arrays)].astype(np.int64)}
    ),
    "a parameter of another shape": lambda arrays, _: arrays.update(
        {"net.h.W": arrays["net.h.W"].T.copy()[:1]}
    ),
    "a parameter of another type": lambda arrays, _: arrays.update(
        {"other.h.W": arrays["other.h.W"].astype(np.float64)}
    ),
    "whole numbers as a parameter": lambda arrays, _: arrays.update(
        {"net.h.W": arrays["net.h.W"].astype(np.int64)}
    ),
    "half precision": lambda arrays, _: arrays.update(
        {"net.h.W": arrays["net.h.W"].astype(np.float16)}
    ),
    "a parameter more": lambda arrays, _: arrays.update({"net.x": np.zeros(3)}),
    "an array of no phase": lambda arrays, _: arrays.update({"state:x:y": np.zeros(3)}),
    "an array of no kind": lambda arrays, _: arrays.update({"middle:first:y": np.zeros(3)}),
}  # fmt: skip


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Restored]:
    """A compiled spec, and a run of it that was stopped in the second of three phases."""
    compiled = dln.load(specs.DATA + specs.SECOND, most=30, brief=10).compile()
    run = RunDirectory.create("s", str(tmp_path_factory.mktemp("facts") / "run"))
    with pytest.raises(KeyboardInterrupt):
        compiled.session(0).train(rundir=run, stop=Countdown(18))
    restored = run.newest()
    assert restored is not None and restored.meta["running"]["phase"] == "second"
    run.close()
    return compiled, run.path, restored


def contents(session: Any) -> Any:
    states = session.state.store.states
    return copy.deepcopy(
        [{k: np.array(a) for k, a in session.params.items()}, dict(session.updates),
         {k: r.facts() for k, r in session.results.items()},
         {p: {k: np.array(a) for k, a in some.items()} for p, some in states.items()}]
    )  # fmt: skip


def same(one: Any, other: Any) -> bool:
    try:
        np.testing.assert_equal(one, other)
    except AssertionError:
        return False
    return True


def refused(attempt: Callable[[], object]) -> Problem | Fault:
    """Why something is refused."""
    try:
        attempt()
    except DlnError as error:
        return error.problems[0]
    except Fault as fault:
        return fault
    pytest.fail("it is not refused")


@pytest.mark.parametrize("name", FORGED)
def test_wrong_facts_change_nothing(stopped: Any, name: str) -> None:
    compiled, path, restored = stopped
    arrays, meta = dict(restored.arrays), json.loads(json.dumps(restored.meta))
    FORGED[name](arrays, meta)
    forged = replace(restored, arrays=arrays, meta=meta)
    session, log = compiled.session(0), (path / "log.jsonl").read_bytes()
    session.step("first", x=np.ones((2, 2)))
    before = contents(session)
    for attempt in (
        lambda: session.train(resume=forged, rundir=RunDirectory(path)),
        lambda: session.restore(forged),
    )[: 1 if name == "other examples" else 2]:  # which only training reads
        problem = refused(attempt)
        assert problem.code in ("E532", "E561") and problem.remedy, problem
        assert same(before, contents(session))
        assert (path / "log.jsonl").read_bytes() == log


def test_what_is_loaded_is_looked_at_first(stopped: Any, tmp_path: Path) -> None:
    """`load` takes parameters and what fits of states; counts that are none change nothing."""
    compiled, _, restored = stopped
    session, path = compiled.session(0), tmp_path / "c"
    before = contents(session)
    for updates in ({"first": -1}, {"first": "3"}, {"first": True}, [3], None):
        checkpoint.save(path, restored.arrays, {"updates": updates})
        assert getattr(refused(lambda: session.load(path)), "code", "") == "E561"
        assert same(before, contents(session))
    whole = {k: a.astype(np.int64) for k, a in restored.arrays.items()}
    checkpoint.save(path, whole, {})
    assert getattr(refused(lambda: session.load(path)), "code", "") == "E532"
    assert same(before, contents(session))
    checkpoint.save(path, restored.arrays, {})
    session.load(path)
    assert not same(before, contents(session))


def test_right_facts_go_on(stopped: Any) -> None:
    compiled, _, restored = stopped
    straight, again = compiled.session(0), compiled.session(0)
    straight.train()
    again.train(resume=restored)
    for path in straight.params:
        np.testing.assert_array_equal(straight.params[path], again.params[path])
