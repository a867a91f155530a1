"""The library's metrics over a whole set, against scikit-learn: classes that are rare, that never
occur and that are never found; sequences of unequal lengths; a part taken in windows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

import dln.spec as specs
from dln.grammar.diagnostics import DlnError

K = 5
CLASSES = """  f = argmax(z)
  watch precision = precision(f, label) on d
  watch recall = recall(f, label) on d
  watch f1 = f1(f, label) on d
  watch balanced = balanced_accuracy(f, label) on d
  watch perplexity = perplexity(z, label) on d
  watch seen = counted(label) on d
  watch hits = hits(f, label) on d
  watch level = averaged(cross_entropy(z, label)) on d
"""
LINES = """  watch top2 = top_error(z, label, 2) on d
  watch told = r_squared(y, t) on d
  watch area = auc(y, 1 if t > 0 else 0) on d
"""


def trained(tmp_path: Path, text: str, dtype: str = "float64") -> Any:
    (tmp_path / "net.dln").write_text(text)
    return specs.load(tmp_path / "net.dln").compile(dtype=dtype).session()


def of_classes(z: np.ndarray[Any, Any], label: np.ndarray[Any, Any]) -> dict[str, Any]:
    """What scikit-learn says, with 0 / 0 = 0 and all classes counted."""
    found = z.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that were found and never occur
        precision, recall, f1, _ = sk.precision_recall_fscore_support(
            label, found, labels=range(K), zero_division=0
        )
        balanced = sk.balanced_accuracy_score(label, found)
    e = np.exp(z - z.max(1, keepdims=True))
    loss = sk.log_loss(label, e / e.sum(1, keepdims=True), labels=range(K))
    return {"precision": precision, "recall": recall, "f1": f1, "balanced": balanced,
            "seen": np.bincount(label, minlength=K), "level": loss,
            "hits": np.bincount(label[found == label], minlength=K),
            "perplexity": np.exp(loss)}  # fmt: skip


def test_of_single_examples(tmp_path: Path) -> None:
    rows = ", ".join(f"[0, 0, 0, 0, 0, {i % K}, 0, 0]" for i in range(8))
    head = f"""data d = rows([{rows}]) {{
  z[{K}] = raw[:{K}]
  label: class({K}) = raw[{K}]
  y = raw[{K + 1}]
  t = raw[{K + 2}]
}}
"""
    s = trained(tmp_path, f"{head}train look on d batch 3 for 1 epoch {{\n{CLASSES}{LINES}}}\n")
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 60))
        label = rng.choice(K, n, p=rng.dirichlet(np.full(K, 0.3)))
        z = rng.normal(size=(n, K)) + 2 * np.eye(K)[label] - 3 * (np.arange(K) == seed % K)
        t = rng.normal(size=n) + 100
        t[: n // 2] -= 200
        y = np.round(t + rng.normal(0, 80, n), -1)  # with ties
        s.train("look", data={"d": (z, label, y, t)})
        got = s.results["look"].watch
        ranks = np.argsort(np.argsort(-z, axis=1), axis=1)[np.arange(n), label]
        wanted = of_classes(z, label) | {
            "top2": (ranks >= 2).mean(), "told": sk.r2_score(t, y),
            "area": sk.roc_auc_score(t > 0, y),
        }  # fmt: skip
        for name, value in wanted.items():
            np.testing.assert_allclose(got[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    same = {"d": (z, label, y, np.full(n, 7.0))}
    s.train("look", data=same)
    assert (s.results["look"].watch["told"], s.results["look"].watch["area"]) == (0, 0)


def test_of_sequences_of_unequal_lengths(tmp_path: Path) -> None:
    """A step is as good as an example; what stands past the end is none."""
    rng = np.random.default_rng(1)
    length = rng.integers(1, 7, 9)
    label, z = rng.choice(K, (9, 6), p=[0.6, 0.3, 0.1, 0, 0]), rng.normal(size=(9, 6, K))
    np.savez(tmp_path / "a.npz", z=z, label=label, length=length)
    text = f"""data d = npz("a.npz") {{
  z[time, {K}] = raw.z
  label[time]: class({K}) = raw.label
}}
train look on d batch 3 for 1 epoch {{\n{CLASSES}}}
check "the watch" {{ expect max(look.recall) <= 1 }}
"""
    s = trained(tmp_path, text)
    s.train("look")
    steps = [(i, t) for i in range(9) for t in range(length[i])]
    wanted = of_classes(np.array([z[p] for p in steps]), np.array([label[p] for p in steps]))
    for name, value in wanted.items():
        np.testing.assert_allclose(s.results["look"].watch[name], value, rtol=1e-9, err_msg=name)


def test_a_large_set_some_at_a_time_and_a_text_window_by_window(tmp_path: Path) -> None:
    """In single precision, where sums of squares would lose the variance; once more through the set
    for what is about a mean. In a stream the mean of exponentials would be another number."""
    rng = np.random.default_rng(2)
    t = rng.normal(size=2500) + 1000
    y = t + rng.normal(0, 0.5, 2500)
    np.savez(tmp_path / "a.npz", y=y, t=t)
    letters = "".join(rng.choice(list("abc "), 700, p=[0.5, 0.3, 0.1, 0.1]))
    (tmp_path / "a.txt").write_text(letters)
    text = """data d = npz("a.npz") {
  y = raw.y - 1000
  t = raw.t - 1000
}
data words = text("a.txt") {
  c[time]: class(V) = raw[:-1]
  next[time]: class(V) = raw[1:]
  set window = 9
}
block lm(c[time]: class(V)) -> z[time, V] { z = c -> embedding(3) -> rnn(4) -> dense(V) }
let m = lm()
train look on d batch 100 for 1 epoch {
  watch told = r_squared(y, t) on d
  watch both = [mean(batch: (t - mean(batch: t))^2), max(batch: t)] on d
}
train read on words stream 7 for 1 epoch {
  z = m(c)
  minimize mean(time: cross_entropy(z, next)) over m with sgd(lr = 0)
  watch loss = mean(time: cross_entropy(z, next)) on words
  watch perplexity = perplexity(z, next) on words
}
"""
    s = trained(tmp_path, text, "float32")
    s.train()
    look, read = (s.results[name].watch for name in ("look", "read"))
    np.testing.assert_allclose(look["told"], sk.r2_score(t, y), rtol=1e-5)
    np.testing.assert_allclose(look["both"], [t.var(), t.max() - 1000], rtol=1e-5)
    np.testing.assert_allclose(read["perplexity"], np.exp(read["loss"]), rtol=1e-6)
    watches = s.plan.phases["look"].watches
    assert [len(w.rounds) for w in watches] == [2, 0]  # an extreme is of all at once
    assert s.plan.programs[watches[0].program].capacity <= 1000


def test_tally_adds_up_over_examples(tmp_path: Path) -> None:
    with pytest.raises(DlnError, match="tally adds up over examples"):
        trained(tmp_path, 'check "c" {\n  expect tally([1, 2]) == [1, 2]\n}\n')


def test_a_gradient_over_a_part_goes_through_the_sums_in_it(tmp_path: Path) -> None:
    """By hand, of a line fitted to five points: of the mean, and of the root of it."""
    text = """data d = rows([[0, 1], [1, 3], [2, 4], [3, 8], [4, 9]]) {
  x[1] = raw[:1]
  t = raw[1]
}
let f = dense(1)
train fit on d batch 2 for 1 epoch order file {
  y = f(x)[0]
  minimize (y - t)^2 over f with sgd(lr = 0)
  watch slope = sum(grad(mean(batch: (y - t)^2), f.W)) on d
  watch root = sum(grad(sqrt(mean(batch: (y - t)^2)), f.b)) on d every 1 epoch
}
"""
    s = trained(tmp_path, text)
    s.train()
    x, t = np.arange(5.0), np.array([1.0, 3.0, 4.0, 8.0, 9.0])
    r = s.params["f.W"][0, 0] * x + s.params["f.b"][0] - t
    found = s.results["fit"].watch
    np.testing.assert_allclose(found["slope"], 2 * np.mean(r * x), rtol=1e-12)
    np.testing.assert_allclose(found["root"], np.mean(r) / np.sqrt(np.mean(r**2)), rtol=1e-12)
