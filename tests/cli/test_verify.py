"""`dln verify`: a run agrees with its replay, however it came about; whatever is edited is named.

The oracle of a replay is the run itself, hash by hash; that of naming is the place of the edit.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trials.stopping import next_runs

from dln.running.replay import replayed
from dln.runtime.checkpoint import checkpoint
from dln.runtime.checkpoint.journal import sealed
from dln.runtime.checkpoint.rundir import RunDirectory

Dln = Callable[..., Any]
PHASES = """
data points = rows([[0, 1], [1, 3], [2, 5], [3, 7], [4, 9], [5, 10]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
block two(x[n]) -> y[1] {
  h = x -> dense(3, act = tanh)
  y = h -> dense(1)
}
let line = two()
train fit on points.all batch 2 for 8 epochs {
  y = line(x)
  minimize sum((y - t)^2) / 2 over line with adam(lr = 0.05 * (1 - progress))
  watch error = sum((y - t)^2) every 1 epoch
  watch before = sum((y - t)^2) every 5 updates
  checkpoint every 4 epochs
  checkpoint best by error
}
train down on points.all batch all for 12 epochs after fit {
  y = line(x)
  minimize mean((y - t)^2) + 0.01 * sum(y^2) over line with lbfgs()
  watch cost = mean((y - t)^2) every 3 epochs
}
check "it is found" {
  expect down.cost < 5
  expect fit.after(line.y.b) != fit.before(line.y.b)
}
task t() {
  emit down.cost
}
"""
CHAIN = """
data bits = rows([[1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0]]) {
  v[4]: binary = raw
}
block rbm(v[n]: binary; m) {
  hidden h[m]: binary
  param W[n, m] ~ normal(0, 0.1), a[n] = 0, b[m] = 0
  energy = -(a @ v) - (b @ h) - (v @ W @ h)
}
let R = rbm(3)
train pcd on bits batch 2 for 6 epochs {
  state chain[4] ~ bernoulli(0.5)
  fantasy = gibbs(R, chain, 1)
  chain := fantasy
  minimize R.free(v) - R.free(fantasy) over R with sgd(lr = 0.1)
  watch recon = mean((v - R.down(R.up(v)))^2) every 1 epoch
}
"""
STREAM = """
data word = text("word.txt") {
  c[time]: class(V) = raw[:-1]
  next[time]: class(V) = raw[1:]
  set window = 4
}
block net(c[time]: class(V); m = 3) -> z[time, V]: logit {
  param Wxh[m, V] ~ glorot(V, m), Whh[m, m] ~ glorot(m, m), Why[V, m] ~ glorot(m, V)
  x = onehot(c)
  scan t in time {
    h[t] = tanh(Whh @ h[t-1] + Wxh @ x[t])
    z[t] = Why @ h[t]
  }
}
let n = net()
train learn on word stream 1 for 3 epochs {
  minimize sum(cross_entropy(n(c), next)) over n with adagrad(lr = 0.1)
  watch loss = sum(cross_entropy(n(c), next)) every 1 epoch
}
"""
SPECS = {"phases": PHASES, "chain": CHAIN, "stream": STREAM}


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    for name, text in SPECS.items():
        (tmp_path / f"{name}.dln").write_text(text, encoding="utf-8")
    (tmp_path / "word.txt").write_text("hello world, hello words " * 3, encoding="utf-8")
    return tmp_path


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets the next training be asked to stop when it has looked so many times whether it is."""

    return next_runs(monkeypatch)


KINDS = [("phases", ()), ("phases", (1, 2, 9)), ("chain", (5,)), ("stream", (1, 2, 9))]
MORE = [(name, stops) for name in SPECS for stops in [(), (5,), (1, 2, 9), (17,)]]


@pytest.mark.parametrize(
    ("name", "stops"), [*KINDS, *(pytest.param(*m, marks=pytest.mark.slow) for m in MORE)]
)
def test_a_run_and_its_interruptions_are_verified(
    name: str, stops: tuple[int, ...], specs: Path, dln: Dln, stopping: Callable[[int], None]
) -> None:
    more: list[str] = []
    for looks in [*stops, 10**9]:
        stopping(looks)
        got = dln("run", specs / f"{name}.dln", "--out", "r", *more)
        assert got.code == (0 if looks == 10**9 else 130), got.err
        if not more:
            assert dln("verify", "r").code == 0  # an unfinished one as well
        more = ["--resume", "r"]
    got = dln("verify", "r", "--json").data
    assert got["verified"] and got["differs"] == [] and got["updates"] >= 12
    assert set(got["agrees"]) >= {"log", "spec and data", "replay", "checkpoints", "checks"}
    part = dln("verify", "r", "--updates", "5", "--json").data
    assert part["verified"] and part["updates"] == 5 and "checks" not in part["agrees"]


def test_a_run_that_went_on_for_longer(specs: Path, dln: Dln) -> None:
    """Its first part is replayed at its own length, of which the rate depends."""
    spec = specs / "phases.dln"
    assert dln("run", spec, "--out", "r", "--phase", "fit", "--epochs", "3").code == 0
    assert dln("verify", "r").code == 0
    again = dln("run", spec, "--resume", "r", "--phase", "fit", "--epochs", "6")
    assert again.code == 0, again.err
    got = dln("verify", "r")
    assert got.code == 0, got.out + got.err
    assert "18 updates replayed, the same bits" in got.out


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a checkpoint so that its own hashes are right again."""
    arrays, meta = checkpoint.load(path)
    both = {"arrays": arrays, "meta": meta}
    change(both)
    checkpoint.save(path, both["arrays"], both["meta"])


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """All plain values inside of some data, each with the way to it."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, dict | list):
            yield from leaves(inner, (*path, key))
        else:
            yield (*path, key), inner


def other(value: Any) -> Any:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value[1:]}x"
    return 3


def put(data: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


def names_it(dln: Dln, file: str, word: str = "") -> None:
    got = dln("verify", "r")
    said = [line for line in got.out.splitlines() if line.startswith("differs")]
    assert got.code == 1 and said, (file, word, got.out, got.err)
    assert any(file in line and word in line for line in said), (file, word, said)


@pytest.fixture
def run(specs: Path, dln: Dln, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run; its replay is made once, for all that is edited afterwards."""
    assert dln("run", specs / "chain.dln", "--out", "r").code == 0
    made: list[tuple[Any, Any]] = []

    def once(compiled: Any, given: Any, plans: Any, replay: Any, *more: Any) -> Any:
        if not made:
            made.append((replayed(compiled, given, plans, replay, *more), replay))
        replay.__dict__.update(made[0][1].__dict__)
        return made[0][0]

    monkeypatch.setattr("dln.running.verifying.replayed", once)
    assert dln("verify", "r").code == 0
    return Path("r")


@pytest.fixture
def stride(request: pytest.FixtureRequest) -> int:
    """One of so many fields is edited; with --slow each."""
    return 1 if request.config.getoption("--slow") else 11


def test_each_field_of_the_manifest(run: Path, dln: Dln, stride: int) -> None:
    path = run / "manifest.json"
    text = path.read_text()
    found = [way for way, _ in leaves(json.loads(text))]
    assert len(found) > 15
    for way in found[::stride]:
        data = json.loads(text)
        value = data
        for key in way:
            value = value[key]
        put(data, way, other(value))
        path.write_text(json.dumps(data))
        names_it(dln, "manifest.json", str(way[0]))
    del data["seed"]
    path.write_text(json.dumps(data))
    names_it(dln, "manifest.json", "seed")


def test_each_field_of_the_log_and_each_line(run: Path, dln: Dln, stride: int) -> None:
    path = run / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    for i, line in enumerate(lines):
        for way, value in list(leaves(json.loads(line)))[i % stride :: stride]:
            data = json.loads(line)
            put(data, way, other(value))
            path.write_text("".join([*lines[:i], json.dumps(data) + "\n", *lines[i + 1 :]]))
            names_it(dln, "log.jsonl")
        if 0 < i < len(lines) - 1 and i % stride < 2:
            path.write_text("".join(lines[:i] + lines[i + 1 :]))
            names_it(dln, "log.jsonl")


def test_each_tensor_and_fact_of_a_checkpoint(run: Path, dln: Dln, stride: int) -> None:
    path = max((run / "checkpoints").glob("update-*"))
    data = path.read_bytes()
    arrays, meta = checkpoint.decode(data, "")
    for name in arrays:

        def one_bit(both: dict[str, Any], name: str = name) -> None:
            both["arrays"][name].reshape(-1).view(np.uint8)[0] ^= 1

        edit(path, one_bit)
        names_it(dln, path.name, f"{name}[0" if arrays[name].ndim else name)
        path.write_bytes(data)
    for way, value in list(leaves(meta))[::stride]:

        def one_fact(both: dict[str, Any], way: Any = way, value: Any = value) -> None:
            put(both["meta"], way, other(value))

        edit(path, one_fact)
        names_it(dln, path.name)
        path.write_bytes(data)
    path.write_bytes(data[:-1])
    names_it(dln, path.name)
    path.unlink()
    names_it(dln, path.name, "no file")


def test_texts_files_and_other_numbers(run: Path, specs: Path, dln: Dln) -> None:
    for name in ("spec.dln", "resolved.dln"):
        text = (run / name).read_text()
        (run / name).write_text(f"{text}# more\n")
        names_it(dln, "spec.dln" if name == "spec.dln" else name)
        (run / name).write_text(text.replace("0.1", "0.2", 1))
        names_it(dln, "spec.dln" if name == "spec.dln" else name)
        (run / name).write_text(text)
    (run / "checkpoints" / "update-000000777.safetensors").write_bytes(b"x")
    names_it(dln, "update-000000777")


def test_whoever_seals_a_lie_is_found_by_the_replay(run: Path, dln: Dln) -> None:
    """All hashes are right, and still the run says what it was not."""
    log = RunDirectory(run).records()
    at = next(i for i, r in enumerate(log) if r["event"] == "report")
    log[at]["watch"]["recon"] += 1e-12
    lines, seal = [], ""
    for record in log:
        line, seal = sealed(record, seal)
        lines.append(line)
    (run / "log.jsonl").write_text("".join(lines))
    got = dln("verify", "r", "--json")
    assert got.code == 1
    [difference] = got.data["differs"]
    assert difference["place"] == "report of pcd, update 2: watch.recon"


def test_a_process_killed_before_its_checkpoint_was_written(
    specs: Path, dln: Dln, stopping: Callable[[int], None]
) -> None:
    """Its log ends with what would have been there; nothing is missing but for an end."""
    stopping(5)
    assert dln("run", specs / "chain.dln", "--out", "r").code == 130
    log, lines = Path("r/log.jsonl"), Path("r/log.jsonl").read_text().splitlines(keepends=True)
    assert '"interrupted"' in lines[-1] and '"checkpoint"' in lines[-2]
    file = max(Path("r/checkpoints").iterdir())
    data = file.read_bytes()
    file.unlink()
    names_it(dln, file.name, "no file")
    log.write_text("".join(lines[:-1]))
    assert dln("verify", "r").code == 0
    file.write_bytes(data)
    assert dln("verify", "r").code == 0


def test_data_and_programs_that_changed(specs: Path, dln: Dln) -> None:
    assert dln("run", specs / "stream.dln", "--out", "r").code == 0
    text = (specs / "word.txt").read_text()
    (specs / "word.txt").write_text(text.replace("hello", "holle", 1))
    got = dln("verify", "r", "--json").data
    assert got["differs"][0]["place"] == "manifest.json: data.word.word.txt"
    assert any(d["place"].startswith("weights of learn") for d in got["differs"])
    again = dln("run", specs / "stream.dln", "--resume", "r", "--epochs", "5")
    assert again.code == 2 and "word.txt of word has been changed" in again.err
    (specs / "word.txt").unlink()
    got = dln("verify", "r")
    assert got.code == 2 and "word.txt" in got.err


@pytest.mark.parametrize("what", ["", "nowhere", "spec"])
def test_what_is_no_run(what: str, tmp_path: Path, specs: Path, dln: Dln) -> None:
    got = dln("verify", {"spec": str(specs / "chain.dln")}.get(what, what))
    assert got.code == 2 and "error[E54" in got.err and "E999" not in got.err
