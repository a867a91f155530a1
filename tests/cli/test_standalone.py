"""`dln emit`: the file trains by itself to the bits of a session, reports what that reports, and is
a page that can be read. The other side is dln's own session, and the file is run without it."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import itertools
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import dln as package
from dln.artefacts.made import maker
from dln.standalone.page import page

SLOW = ("autoencoder", "feedforward", "vanishing", "backprop", "dbn_finetuned", "stacked_denoising",
        "resnet", "vae", "pinn", "som", "rbm", "dbn", "lenet5", "char_rnn",
        "min_char_rnn", "rnn_modes", "perceptron", "softmax", "hello", "long_lag", "lstm_variants",
        "transformer", "skipgram", "contrast", "adding1997", "bidirectional", "crf", "wgan",
        "translation", "sparse_autoencoder", "stacked_autoencoder", "dbn_updown",
        "tour")  # fmt: skip


MIXED = """data points = rows([[0, 1, 0], [1, 3, 1], [2, 5, 0], [3, 7, 1], [4, 9, 1], [5, 8, 0]]) {
  w0[2] ~ normal(raw[:2], 0.1)
  label: class(2) = raw[2]
}
data still = rows([[0, 1, 0], [1, 3, 1], [2, 5, 0]]) {
  w0[2] = raw[:2]
  label: class(2) = raw[2]
}
let net = dense(3, act = tanh)
let out = dense(2)
train fit on points batch 4 order even(label) for 3 epochs {
  z = w0 -> net -> out
  minimize cross_entropy(z, label) over net, out with adam(lr = 0.01 * (1 - progress))
  watch loss = cross_entropy(z, label) every 1 epoch
  watch both = [z[0], z[1]] every 1 epoch
  watch early = cross_entropy(z, label) every 2 updates
  watch right = argmax(out(net(w0))) == label on still every 3 updates
  checkpoint best by loss
}
train more on still batch 2 order balanced(label) for 2 epochs after fit {
  state chain[2]: real ~ bernoulli(0.5)
  chain := 1 - chain
  z = out(net(w0 + chain))
  minimize cross_entropy(z, label) over out with sgd(lr = 0.1, momentum = 0.9)
  watch total wrong = argmax(z) != label
}
let idle = dense(2)
check "two of one" { expect fit.both[0] - fit.both[1] <= 100 }
check "its own, and the best" {
  let own = dense(2)
  x = [1, 2, 3]
  expect own(x) == own.W @ x + own.b within 0.001
  expect grad(sum(own(x)), own.b) == [1, 1]
  expect sum(own.W * own.W) < 0
  expect fit.best.loss <= 100
  expect fit.best.updates >= 2
  expect fit.before(idle.b) == [0, 0]
}
task look() after more {
  emit out.W to "weights.png"
  emit text("sum ", sum(out.b))
  emit examples(out(net(w0)), on = still, where = label == 0, n = 2) to "found.npy"
  emit confusion(argmax(out(net(w0))), label, on = points) to "counts.txt"
  emit confusion(argmax(out(net(w0))), label, on = points) to "counts.csv"
  emit by_class(argmax(out(net(w0))), label, on = points) to "shares.txt"
  emit by_class(argmax(out(net(w0))), label, on = points) to "shares.csv"
}
"""

CUT = """data d = rows([[0, 1, 0], [1, 3, 1], [2, 5, 0], [3, 7, 1], [4, 9, 1], [5, 8, 0]]) {
  x[2] = raw[:2]
  label: class(2) = raw[2]
}
let first = dense(3)
let out = dense(2)
train fit on d batch 4 for 9 seconds shards 3 {
  start first := load("first.safetensors")
  noise[3] ~ normal(0, 1)
  state age[3] ~ normal(0, 1)
  age := 0.5 * age + noise
  a = first(x)
  m = mean(batch: a)
  v = mean(batch: (a - m)^2)
  z = out((a - m) / sqrt(v + 0.01) + age)
  minimize cross_entropy(z, label) over first, out with adam(lr = 0.1) clip 1
  watch far = max(batch: abs(age[0])) every 1 epoch
  watch error = argmax(z) != label every 1 epoch
}
train more on d batch 2 for 2 epochs shards 3 after fit {
  z = out(first(x))
  step one 2 times { minimize cross_entropy(z, label) over first with sgd(lr = 0.1) }
  step two { minimize cross_entropy(z, label) over out with momentum(lr = 0.1) }
  watch reach = mean(batch: (z[0] - mean(batch: z[0]))^2) on d every 1 epoch
}
"""


def module(text: str, path: Path) -> ModuleType:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def compared(name: str, folder: Path, limit: int, epochs: int = 1, slow: bool = False) -> str:
    """Train a spec both ways, cut short, and compare all bits; the text of the file."""
    spec = package.load(name)
    plan = (compiled := spec.compile()).plan
    names = [n for n, p in spec.facts.phases.items() if slow or not p.slow]
    phases = [plan.phases[n] for n in names]
    text, arrays = page(plan, phases, spec.source.text, spec.source.path, spec.model)
    session = compiled.session()
    session.train(tuple(names), epochs=epochs, limit=limit)
    if arrays:
        np.savez(folder / f"{spec.name}_alone.data.npz", allow_pickle=False, **arrays)
    alone = module(text, folder / f"{spec.name}_alone.py")
    param, told = alone.train(0, epochs, limit)
    assert param.keys() <= plan.params.keys()
    for path in param:
        mine = np.asarray(session.params[path])
        assert mine.dtype == param[path].dtype and np.array_equal(mine, param[path]), path
    for result in session.results.values():
        assert told[result.name]["updates"] == result.updates
        for watch, rows in result.history.items():
            assert told[f"{result.name}.{watch}"] == list(map(tuple, rows)), watch
    if hasattr(alone, "tasks"):
        with contextlib.chdir(folder):
            alone.tasks(param, told)
            tasks_alike(session)
    return text


def tasks_alike(session: Any) -> None:
    """What tasks have written into files, as numbers, against what the session makes of them."""
    for task in session.plan.tasks.values():
        values = session.evaluate(task.program)
        for emit in (e for e in task.emits if e.to is not None):
            path = Path(emit.to).with_suffix(".npy")
            if path.exists():
                assert path.read_bytes() == maker(emit.form)(session, emit, values).numbers(".npy")
            if emit.form in ("confusion", "by_class") and (path := Path(emit.to)).exists():
                made = maker(emit.form)(session, emit, values)
                assert path.read_bytes() == made.numbers(path.suffix)


def readable(text: str) -> None:
    """What every file is: narrow, and in need of NumPy and the standard library alone."""
    assert max(map(len, text.split("\n"))) <= 100 and text.isascii()
    for node in ast.walk(ast.parse(text)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        assert {n.partition(".")[0] for n in names} <= {"numpy", *sys.stdlib_module_names}


def test_the_perceptron_by_itself(tmp_path: Path) -> None:
    text = compared("mlp", tmp_path, 200)
    readable(text)
    assert text.count("\n") < 250
    assert (
        "net_h_y = np.tanh(np.dot(x, net_h_W.T) * 0.5) * 0.5 + 0.5  # 15: y = sigmoid(W @ x)"
        in text
    )
    assert "# 14   param W[m, n] ~ uniform(0, 1) / n" in text


def test_states_streams_and_what_is_drawn(tmp_path: Path) -> None:
    """What a phase may have beside minibatches, in a spec that nothing was built for, with a
    field that is called as programs call their views."""
    readable(compared(MIXED, tmp_path, 1000))


def test_shards_files_of_parameters_and_phases_that_time_ends(tmp_path: Path) -> None:
    """Shards of rows that need sums of all, some of them empty; a clock that is looked at."""
    held = np.arange(9, dtype=np.float32)
    save_file(
        {"first.W": held[:6].reshape(3, 2), "first.b": held[6:]}, tmp_path / "first.safetensors"
    )
    (tmp_path / "cut.dln").write_text(CUT)
    readable(text := compared(str(tmp_path / "cut.dln"), tmp_path, 1000))
    alone = module(text, tmp_path / "cut_alone.py")
    clock = itertools.count().__next__
    alone.time = SimpleNamespace(perf_counter=clock)  # type: ignore[attr-defined]
    assert alone.train()[1]["fit"]["updates"] == 8


def test_checks_say_what_they_say_in_a_run(
    dln: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the letter: of reports, of the best ones, of instances of their own; and the exit code."""
    Path("mixed.dln").write_text(MIXED)
    dln("emit", "mixed.dln", "--to", "net.py")
    ran = dln("run", "mixed.dln")
    said = ran.out[ran.out.index("\ntwo of one") :].partition("\nrun directory")[0]
    assert "failed" in said and ran.code == 1
    monkeypatch.setattr(sys, "argv", ["net.py"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        runpy.run_path("net.py", run_name="__main__")
    assert capsys.readouterr().out.endswith(said) and left.value.code == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_the_shipped_specs_cut_short(name: str, tmp_path: Path) -> None:
    readable(compared(name, tmp_path, 120, slow=True))


def test_a_file_in_another_process(dln: Callable[..., Any], line: Path, tmp_path: Path) -> None:
    """By the command, run without dln: what it prints, its help, its parameters."""
    got = dln("emit", str(line), "--to", "net.py")
    assert got.code == 0 and "wrote net.py" in got.err
    readable(Path("net.py").read_text())
    words = [sys.executable, "-S", "-P", "net.py"]
    env = {"PYTHONPATH": str(Path(np.__file__).parents[1])}
    text = subprocess.run([*words, "--help"], capture_output=True, text=True, env=env).stdout
    assert "rate = 0.1" in text and "as this was written" in text
    ran = subprocess.run([*words, "--save", "net.npz"], capture_output=True, text=True, env=env)
    assert "fit        60        120" in ran.stdout and "error 2.5" in ran.stdout, ran.stderr
    said = dln("run", str(line)).out  # what checks say is what they say there, to the letter
    said = said.replace("needs --slow", "write the file with --slow")
    said = said.partition("\nrun directory")[0]
    assert ran.stdout.endswith(said[said.index("\ntwo numbers") :])
    short = subprocess.run([*words, "--epochs", "2"], capture_output=True, text=True, env=env)
    assert "not run  fit.error < 0.01          the phase fit was shortened\n" in short.stdout
    assert short.stdout.endswith("\n1 passed, 3 not run\n") and short.returncode == 0
    fails = Path("net.py").read_text().replace('"<", 0.01', '"<", 0.0')
    Path("net.py").write_text(fails)
    ran = subprocess.run(words, capture_output=True, text=True, env=env)
    assert ran.stdout.endswith("\n2 passed, 1 failed, 1 not run\n") and ran.returncode == 1
    session = package.load(line).compile().session()
    session.train("fit")
    with np.load("net.npz") as held:
        assert {k: v.tobytes() for k, v in held.items()} == {
            k: np.asarray(a).tobytes() for k, a in session.params.items()
        }


def test_the_page_is_what_the_commands_print(dln: Callable[..., Any]) -> None:
    page = (Path(__file__).parents[2] / "docs/emit.md").read_text("utf-8")
    spec, commands, *_ = re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    Path("line.dln").write_text(spec)
    for command in re.split(r"^\$ dln ", commands, flags=re.MULTILINE)[1:]:
        line, _, expected = command.partition("\n")
        got = dln(*line.split())
        assert got.code == 0
        assert re.sub(r"\d\.\d\d(?=  )", "", got.out) == re.sub(r"\d\.\d\d(?=  )", "", expected)
    said = module(Path("net.py").read_text(), Path("line_net.py")).train()[1]
    assert f"error {said['fit.error'][-1][2]:.5g}`" in page
    step = re.search(r"^def fit_step.*?^```$", page, re.MULTILINE | re.DOTALL)
    assert step is not None and step[0].removesuffix("```") in Path("net.py").read_text()


def test_only_what_applies_the_nets(dln: Callable[..., Any], line: Path, tmp_path: Path) -> None:
    """With the weights of a run beside it: the answers of its session."""
    dln("run", str(line), "--out", "r")
    got = dln("emit", str(line), "--to", "use.py", "--inference", "--weights", "r")
    assert got.code == 0 and "wrote use.npz" in got.err
    readable(text := Path("use.py").read_text())
    made = module(text, tmp_path / "use.py")
    session = package.load(line).compile().session()
    session.load("r", partial=True)
    x = np.array([[0.5], [2.0], [7.0]], np.float32)
    assert np.array_equal(made.apply_line(made.parameters(), x), session.line(x))
    assert "--inference" in dln("emit", str(line), "--weights", "r").err


def test_data_that_are_handed_over(dln: Callable[..., Any]) -> None:
    text = (
        CUT[CUT.index("let first") : CUT.index("train fit")]
        .join(["data d = given(x[2], label: class(2))\n", CUT[CUT.index("train more") :]])
        .replace(" after fit", "")
    )
    Path("yours.dln").write_text(text)
    got = dln("emit", "yours.dln", "--to", "net.py")
    assert got.code == 0, got.err
    alone = module(Path("net.py").read_text(), Path("yours_net.py"))
    x, label = np.arange(14.0).reshape(7, 2) / 10, np.array([0, 1, 1, 0, 1, 0, 0])
    param, told = alone.train(given={"d": {"x": x, "label": label}})
    session = package.load(text, data={"d": (x, label)}).compile().session()
    session.train("more")
    assert all(np.array_equal(np.asarray(session.params[k]), a) for k, a in param.items())
    assert told["more.reach"] == list(map(tuple, session.results["more"].history["reach"]))
    np.savez("d.npz", x=x, label=label)
    assert np.array_equal(alone.train(given=alone.sets_of(["d=d.npz"]))[0]["out.W"], param["out.W"])
    with pytest.raises(SystemExit, match="d=FILE.npz"):
        alone.train()
    with pytest.raises(SystemExit, match=r"d: x has examples of \[3\], and \[2\] is wanted"):
        alone.train(given={"d": {"x": np.ones((7, 3)), "label": label}})
    Path("d.csv").write_text("x,label\n")
    np.save("d.npy", x)
    Path("half.npz").write_bytes(Path("d.npz").read_bytes()[:90])
    for said in ("d=d.csv", "d=d.npy", "d=half.npz", "d=no.npz", "d.npz"):
        with pytest.raises(SystemExit, match=f"--data {said}: no SET=FILE.npz of arrays"):
            alone.sets_of([said])


def test_a_stream_of_too_few_windows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("abcab" * 9)
    (tmp_path / "lm.dln").write_text("""data d = text("letters.txt") {
  set window = 4
  c[time]: class(3) = raw[:4]
  next[time]: class(3) = raw[1:]
}
block lm(c[time]: class(3)) -> z[time, 3]: logit {
  z = onehot(c) -> rnn(2) -> dense(3)
}
let net = lm()
train fit on d stream 3 for 4 updates {
  minimize mean(cross_entropy(net(c), next)) over net with sgd(lr = 0.1)
}
""")
    plan = package.load(tmp_path / "lm.dln").compile().plan
    alone = module(page(plan, plan.phases.values(), "", "lm.dln")[0], tmp_path / "lm.py")
    with pytest.raises(SystemExit, match="a stream of 3 rows takes so many windows, not 2"):
        alone.train(limit=2)


def test_what_cannot_stand_alone_is_refused(dln: Callable[..., Any]) -> None:
    text = MIXED.replace("batch 4 order even(label)", "batch all shards 2")
    text = text.replace("~ normal(raw[:2], 0.1)", "= raw[:2]")
    Path("cut.dln").write_text(text.replace("adam(lr = 0.01 * (1 - progress))", "lbfgs()"))
    got = dln("emit", "cut.dln", "--to", "net.py")
    assert got.code == 2 and "E586" in got.err and "cut.dln:11" in got.err
    assert not Path("net.py").exists()
    assert "E587" in dln("emit", "activations").err
    assert "--to net.py" in dln("emit", "mlp", "--to", "net.txt").err
