"""Memory foreseen against memory measured, and what is refused by it.

The table of all is printed by `python tests/memory/foreseen.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from measuring.specs import QUICK, SPECS, net, written
from measuring.taking import arrays, process

import dln
from dln.cli import carried_out
from dln.compiler.schema.quantities import bytes_of
from dln.grammar.diagnostics import DlnError
from dln.runtime.device.host import Host
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
    assert "first values of the parameters: 2" in str(problem)
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
