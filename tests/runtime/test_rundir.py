"""Run directories: what is written, what is kept, and where a run goes on."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint.rundir import (
    MANIFEST,
    RESOLVED,
    SPEC,
    RunDirectory,
    manifest_text,
)


def filled(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create("mlp", out=str(tmp_path / "run"))
    manifest = manifest_text(
        seed=3, threads=2, backend="numpy", dtype="float32", constants={"hidden": np.int64(7)}
    )
    run.begin({SPEC: "const a = 1\n", RESOLVED: "const a = 2\n", MANIFEST: manifest}, spec="a")
    return run


def names(run: RunDirectory) -> list[str]:
    return sorted(os.listdir(run.checkpoints))


def test_numbered_directories(tmp_path: Path) -> None:
    root = str(tmp_path / "runs")
    made = [RunDirectory.create(s, root=root).path.name for s in ("mlp", "mlp", "a/b c", "mlp")]
    assert made == ["mlp-1", "mlp-2", "a_b_c-1", "mlp-3"]
    assert RunDirectory.create("..", root=root).path == Path(root, "run-1")
    (tmp_path / "runs" / "mlp-9").mkdir()
    assert RunDirectory.create("mlp", root=root).path.name == "mlp-10"


def test_an_occupied_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    filled(tmp_path)
    with pytest.raises(Fault, match="already holds a run") as caught:
        RunDirectory.create("mlp", out=str(tmp_path / "run"))
    assert caught.value.code == "E540" and "--resume" in caught.value.remedy
    (tmp_path / "file").write_text("")
    with pytest.raises(Fault) as caught:
        RunDirectory.create("mlp", out=str(tmp_path / "file"))
    assert caught.value.code == "E542"


def test_spec_and_manifest(tmp_path: Path) -> None:
    run = filled(tmp_path)
    assert (run.path / "spec.dln").read_text() == "const a = 1\n"
    assert (run.path / "resolved.dln").read_text() == "const a = 2\n"
    found = run.manifest()
    assert found["seed"] == 3 and found["constants"] == {"hidden": 7}
    assert found["numpy"] == np.__version__
    wanted = {"dln", "python", "blas", "platform", "cpu", "threads", "backend", "dtype"}
    assert wanted <= found.keys()
    first = (run.path / "manifest.json").read_bytes()
    filled(tmp_path / "again")
    assert (tmp_path / "again" / "run" / "manifest.json").read_bytes() == first


def test_log_lines_are_there_at_once(tmp_path: Path) -> None:
    with filled(tmp_path) as run:
        run.log(update=1, loss=np.float32(0.5), bad=math.nan, far=-math.inf, v=np.arange(2))
        run.log(update=2, text="a\nb")
        lines = (run.path / "log.jsonl").read_text().splitlines()
        first = {"update": 1, "loss": 0.5, "bad": "nan", "far": "-inf", "v": [0, 1]}
        found = [json.loads(line) for line in lines]
        assert len({record.pop("seal") for record in found}) == 3
        assert found[1:] == [first, {"update": 2, "text": "a\nb"}] == run.records()[1:]


def test_an_edited_log_tells_where(tmp_path: Path) -> None:
    """The seal is a hash over all lines up to its own; a torn line is none."""
    for _ in range(2):  # the second one goes on with the log of the first
        with RunDirectory(tmp_path) as run:
            for i in range(3):
                run.log(event="report", n=i, value=i / 7)
    log = tmp_path / "log.jsonl"
    text = log.read_text()
    with open(log, "a") as f:
        f.write('{"torn": ')
    with RunDirectory(tmp_path) as run:
        run.log(event="more")
    assert run.edited() == [] and len(run.records()) == 7
    lines = text.splitlines(keepends=True)
    seal, value = json.loads(lines[2])["seal"], str(2 / 7)
    for wrong, at in (
        ([*lines[:2], lines[2].replace(value, "0.3"), *lines[3:]], [2]),
        ([*lines[:2], lines[2].replace(seal, "0" * 16), *lines[3:]], [2, 3]),
        ([*lines[:2], *lines[3:]], [2]),
        ([*lines[:2], lines[3], lines[2], *lines[4:]], [2, 3, 4]),
        ([*lines[:2], lines[1], *lines[2:]], [2]),
    ):  # fmt: skip
        log.write_text("".join(wrong))
        assert run.edited() == at


def test_log_is_trimmed_to_the_checkpoint(tmp_path: Path) -> None:
    run = filled(tmp_path)
    assert [r["event"] for r in run.records()] == ["run"]
    run.close()
    for i in range(5):
        run.log(update=i)
    with open(run.path / "log.jsonl", "a") as f:
        f.write('{"update": 5, "lo')
    again = RunDirectory.reopen(str(run.path))
    again.go_on_from(again.path, lambda r: r.get("update", 0) <= 2)
    again.log(update=3)
    assert [r.get("update") for r in again.records()] == [None, 0, 1, 2, 3]
    again.close()


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    run = filled(tmp_path)
    for update in range(1, 6):
        run.save(update, {"w": np.full(3, update)}, {"update": update}, best=update == 2)
    assert names(run) == [
        "best.safetensors",
        "update-000000004.safetensors",
        "update-000000005.safetensors",
    ]
    newest = RunDirectory.reopen(str(run.path)).newest()
    assert newest is not None and newest.meta == {"update": 5} and not newest.refused
    assert newest.arrays["w"].tolist() == [5, 5, 5]


def test_resume_falls_back(tmp_path: Path) -> None:
    run = filled(tmp_path)
    assert run.newest() is None
    for update in (1, 2, 3):
        run.save(update, {"w": np.full(3, update)}, {"update": update}, best=update == 1)
    for expected in (3, 2, 1):
        found = run.newest()
        assert found is not None and found.meta["update"] == expected
        assert len(found.refused) == 3 - expected
        data = bytearray(found.path.read_bytes())
        data[-1] ^= 1
        found.path.write_bytes(data)
    with pytest.raises(Fault, match="is not as it was left: .*hash of tensor w differs") as caught:
        run.newest()
    assert caught.value.code == "E541"


def test_reopen(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(Fault, match="no run to resume"):
            RunDirectory.reopen(str(path))
    run = filled(tmp_path)
    (run.checkpoints / ".update-000000001.safetensors.99.tmp").write_bytes(b"half")
    (run.path / ".manifest.json.99.tmp").write_bytes(b"half")
    RunDirectory.reopen(str(run.path))
    assert names(run) == [] and not list(run.path.glob(".*"))
    (run.path / "manifest.json").write_text("{")
    with pytest.raises(Fault, match="manifest.json has been changed"):
        RunDirectory.reopen(str(run.path))


def test_a_failed_save_keeps_the_former_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = filled(tmp_path)
    run.save(1, {"w": np.ones(3)}, {"update": 1})
    run.save(2, {"w": np.ones(3)}, {"update": 2})
    before = names(run)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(os, "replace", full)
        with pytest.raises(Fault, match="No space left") as caught:
            run.save(3, {"w": np.ones(3)}, {"update": 3})
    assert caught.value.code == "E542" and names(run) == before
