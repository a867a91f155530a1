"""Memory foreseen against memory measured, and what is refused by it.

The table of all is printed by `python tests/memory/foreseen.py`.
"""

from __future__ import annotations

import ctypes
import gc
import json
import platform
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measuring.specs import QUICK, SPECS, net, written
from measuring.taking import arrays, process

import dln
from dln.cli import carried_out
from dln.commands import plan
from dln.compiler.schema.quantities import bytes_of
from dln.grammar.diagnostics import DlnError
from dln.runtime.device import host
from dln.runtime.device.host import Host, give_back
from dln.runtime.footprint.forecast import forecast
from dln.runtime.footprint.process import resident
from dln.runtime.footprint.walk import AskedRun
from dln.runtime.readers import readers
from dln.spec import LIBRARIES, lecture

TINY = "data d = rows([[1], [2]]) {\n  x[1] = raw\n}\n"
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in SPECS if name not in QUICK]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("memory"), ["idx"])


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_arrays_are_foreseen(folder: Path, name: str) -> None:
    written(folder, [name])
    found = arrays(str(folder / f"{name}.dln"))
    assert 0.95 <= found.ratio <= 1.05, found


def test_fewer_examples_are_read(folder: Path) -> None:
    found = arrays(str(folder / "idx.dln"), limit=500)
    assert 0.95 <= found.ratio <= 1.05, found
    assert found.measured < 8e6 < 8000 * 400 * 5


def test_a_phase_of_no_updates_takes_nothing_for_them() -> None:
    data = 'synthetic("gaussians", 3, 20, 20000)'
    text = net(data, 20, hidden=300, batch=10000).replace("for 1 epochs", "for 0 updates")
    found = arrays(text, epochs=None)
    assert 0.95 <= found.ratio <= 1.05 and found.measured < 12e6 < 2 * 300 * 10000 * 4, found


def test_a_phase_gives_its_memory_back_before_any_collection() -> None:
    text = net('synthetic("gaussians", 3, 20, 20000)', 20, hidden=300, batch=10000)
    text = text.replace("  watch e = sum(N(x)) on d.valid\n", "")
    session = dln.load(text).compile().session()
    gc.disable()
    tracemalloc.start()
    try:
        session.train()
        left, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < 8e6 and most > 2 * 10000 * 300 * 4


def test_a_plan_counts_what_a_run_has_before_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Writing the programs out takes memory, which a run does not take."""
    had = iter([123_456_789])
    monkeypatch.setattr(plan, "resident", lambda: next(had))
    monkeypatch.setattr(plan, "plan_text", lambda program: next(had, "after it"))
    assert carried_out(["plan", "backprop", "--json"]) == 0
    items = json.loads(capsys.readouterr().out)["peak"]["items"]
    own = [i for i in items if i["what"] == "this process itself"]
    assert [i["bytes"] for i in own] == [123_456_789]


def test_what_programs_leave_goes_to_the_system() -> None:
    if "glibc" not in platform.libc_ver():
        give_back()  # nothing to be done, and nothing fails
        return
    blocks = [np.ones(60_000, np.uint8) for _ in range(500)]
    before = resident()
    del blocks[:-1]  # what is above them stays, so that they would
    give_back()
    assert before - resident() > 20e6


def test_a_library_of_c_that_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    host._trim.cache_clear()
    give_back()
    host._trim.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in lecture() if name not in LIBRARIES])
def test_a_process_is_foreseen(name: str) -> None:
    found = process(name, "--epochs", "1", "--limit", "200")
    assert 0.85 <= found.ratio <= 1.15, found


# ---- refused -----------------------------------------------------------------------------------


def refused(run: Callable[[], Any]) -> Any:
    with pytest.raises(DlnError) as caught:
        run()
    [problem] = caught.value.problems
    assert problem.code == "E523"
    return problem


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be read."""

    def read(*_: object) -> Any:
        raise AssertionError("data were read")

    monkeypatch.setattr(readers, "read", read)


def limit_for(spec: str, share: float) -> int:
    """A limit between what this process takes and what it would take with a run."""
    plan = dln.load(spec).compile().plan
    return resident() + round(share * forecast(plan, AskedRun(tuple(plan.phases))).bytes)


def test_a_limit_is_kept_before_anything_is_read(
    folder: Path, unread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    limit = limit_for(str(folder / "idx.dln"), 0.7)
    words = ["--memory-limit", str(limit), "--json"]
    code = carried_out(["run", str(folder / "idx.dln"), *words])
    [problem] = json.loads(capsys.readouterr().out)["problems"]
    assert (code, problem["code"]) == (2, "E523")
    assert problem["label"].startswith("x of d.fit: 10.2 MB")
    assert "d as it was read: 3.26 MB" in [note["text"] for note in problem["notes"]]
    assert problem["remedy"].startswith("--limit ")
    assert list(tmp_path.iterdir()) == []


def test_the_remedy_fits(folder: Path) -> None:
    path = str(folder / "idx.dln")
    session = dln.load(path).compile(memory_limit=limit_for(path, 0.7)).session()
    remedy = refused(lambda: session.train("s", epochs=1)).remedy
    name, _, count = remedy.partition("=")
    assert name == "limit"
    session.train("s", epochs=1, limit=int(count))
    assert session.updates["s"] == int(count) // 100


def test_a_smaller_batch_is_what_helps(tmp_path: Path) -> None:
    text = net('synthetic("gaussians", 3, 20, 20000)', 20, hidden=300, batch=10000)
    limit = limit_for(text, 0.5)
    problem = refused(lambda: dln.load(text).compile(memory_limit=limit).session().train("s"))
    assert "an update on 10,000 examples" in problem.label
    assert problem.span is not None and problem.span.text == "s"
    mended = text.replace("batch 10000", problem.remedy)
    assert mended != text
    dln.load(mended).compile(memory_limit=limit).session().affordable(["s"])


def test_parameters_are_refused_before_they_are_drawn() -> None:
    text = net('synthetic("gaussians", 3, 1000, 50)', 1000, hidden=100_000)
    problem = refused(dln.load(text).compile(memory_limit="1GB").session)
    assert "first values of the parameters: 1.6 GB" in str(problem)  # twice, in double precision
    assert problem.remedy.startswith('memory_limit="')


def test_what_is_free_is_a_limit_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = dln.load(str(folder / "idx.dln")).compile().session()
    monkeypatch.setattr(Host, "memory_available", lambda self: 8 * 2**20)
    problem = refused(lambda: session.train("s"))
    assert "8.39 MB are free" in problem.message


@pytest.mark.parametrize("text", ["", "much", "2 gigs", "-1", "0", "1e400", "5%", "GB", "2IB", "٣"])
def test_what_is_no_amount(text: str) -> None:
    assert not bytes_of(text)
    with pytest.raises(DlnError, match="amount of memory"):
        dln.load(TINY).compile(memory_limit=text)


def test_amounts() -> None:
    texts = ("1", "1K", "1KB", "1 kib", "1.5G", "2GB", "2 GiB", ".5m", "3TB")
    wanted = (1, 1024, 1000, 1024, 3 * 2**29, 2 * 10**9, 2**31, 2**19, 3 * 10**12)
    assert tuple(map(bytes_of, texts)) == wanted
