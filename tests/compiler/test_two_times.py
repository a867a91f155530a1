"""Two sequences in one example, each with lengths of its own: a sequence-to-sequence network with
attention against NumPy, whatever stands past the ends, and each example as it is alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln
from dln.grammar.diagnostics import DlnError
from dln.runtime.gradcheck import gradcheck
from dln.runtime.session import Session

RNG = np.random.default_rng(4)
SRC, TGT = RNG.normal(size=(4, 6, 2)), RNG.integers(0, 3, (4, 4))
NEXT = RNG.integers(0, 3, (4, 4))
LONG, SHORT = np.array([6, 1, 3, 5]), np.array([2, 4, 1, 3])

SPEC = """
data d = npz("d.npz") {
  src[time, 2] = raw.src
  tgt[time]: class(3) = raw.tgt
  next[time]: class(3) = raw.next
}
block translate(src[time, n], tgt[time]: class(V); m) -> z[time, V]: logit {
  param E[V, m] ~ normal(0, 1), Q[4, m] ~ normal(0, 1)
  param W[m, m] ~ normal(0, 1), C[m, 4] ~ normal(0, 1)
  h = src -> both(rnn(2), rnn(2))
  scan t in time {
    e[i] = (Q @ s[t-1]) @ h[i] - i / 10
    a    = softmax(e)
    c[j] = sum(i: a[i] * h[i, j])
    s[t] = tanh(W @ s[t-1] + C @ c + E[tgt[t]] + t / 10)
  }
  z = s -> dense(V)
}
let f = translate(3)
train fit on d batch all for 1 update dtype float64 {
  z = f(src, tgt)
  minimize mean(cross_entropy(z, next)) + sum(last(z)^2) / 10 over f with sgd(lr = 0.05)
  watch mean_of = mean(z) every 1 update
}
"""


def rnn(x: np.ndarray, p: dict[str, np.ndarray], path: str) -> np.ndarray:
    h, out = np.zeros(2), []
    for row in x:
        h = np.tanh(p[f"{path}.Wx"] @ row + p[f"{path}.Wh"] @ h + p[f"{path}.b"])
        out.append(h)
    return np.array(out)


def by_hand(src: np.ndarray, tgt: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """The network for one pair."""
    back = rnn(src[::-1], p, "f.h.back")[::-1]
    h = np.concatenate([rnn(src, p, "f.h.ahead"), back], 1)
    s, out = np.zeros(3), []
    for t, label in enumerate(tgt):
        e = h @ (p["f.Q"] @ s) - np.arange(len(h)) / 10
        a = np.exp(e) / np.exp(e).sum()
        s = np.tanh(p["f.W"] @ s + p["f.C"] @ (a @ h) + p["f.E"][label] + t / 10)
        out.append(p["f.z.W"] @ s + p["f.z.b"])
    return np.array(out)


def loss_of(z: np.ndarray, label: np.ndarray) -> float:
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    return float(-log_p[np.arange(len(z)), label].mean() + np.square(z[-1]).sum() / 10)


def arrays(**changes: Any) -> dict[str, Any]:
    """The set, with what there is not past the ends."""
    src, tgt, after = SRC.copy(), TGT.copy(), NEXT.copy()
    for i in range(4):
        src[i, LONG[i] :], tgt[i, SHORT[i] :], after[i, SHORT[i] :] = np.nan, 9, -1
    given = {"src": src, "tgt": tgt, "next": after, "src_length": LONG, "tgt_length": SHORT}
    return {k: v for k, v in (given | changes).items() if v is not None}


def loaded(folder: Path, given: dict[str, Any], spec: str = SPEC) -> dln.Spec:
    np.savez(folder / "d.npz", **given)
    (folder / "net.dln").write_text(spec)
    return dln.load(str(folder / "net.dln"))


def test_each_pair_is_what_it_is_alone(tmp_path: Path) -> None:
    made: Session = loaded(tmp_path, arrays()).compile(dtype="float64").session(seed=1)
    p = {k: np.array(v, float) for k, v in made.params.items()}
    alone = [by_hand(SRC[i, : LONG[i]], TGT[i, : SHORT[i]], p) for i in range(4)]
    found = made.f(arrays()["src"], arrays()["tgt"], src_length=LONG, tgt_length=SHORT)
    for row, z in zip(found, alone, strict=True):
        np.testing.assert_allclose(row[: len(z)], z, rtol=1e-12)
        assert not row[len(z) :].any()
    full = made.f(SRC, TGT)  # without lengths all of it counts
    np.testing.assert_allclose(full[0], by_hand(SRC[0], TGT[0], p), rtol=1e-12)
    losses = [loss_of(z, NEXT[i, : SHORT[i]]) for i, z in enumerate(alone)]
    assert all(r.error < 1e-6 for r in gradcheck(made, "fit"))
    np.testing.assert_allclose(made.step("fit", **arrays()), np.mean(losses), rtol=1e-12)


def test_what_stands_past_the_ends_is_not_looked_at(tmp_path: Path) -> None:
    """From the file, from Python, and whether next has lengths of its own or those of tgt, which
    has as many rows."""
    seen = []
    for given in (arrays(), arrays(src=SRC, tgt=TGT, next=NEXT), arrays(next_length=SHORT)):
        made = loaded(tmp_path, given).compile(dtype="float64").session(seed=1)
        result = made.train("fit")
        seen.append([result.watch["mean_of"], *map(np.array, made.params.values())])
        again = loaded(tmp_path, given).compile(dtype="float64").session(seed=1)
        again.step("fit", **given)
        for mine, theirs in zip(again.params.values(), made.params.values(), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-13)
    for other in seen[1:]:
        for mine, theirs in zip(seen[0], other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "of one length": ({"src_length": None, "tgt_length": None}, "", "E347.*src runs over 6 steps"),
    "no whole numbers": ({"src_length": LONG / 2 + 0.25}, "", "E348.*src_length is how long"),
    "no single numbers": ({"src_length": np.ones((4, 2), int)}, "", r"E348.*holds \[2\]"),
    "of two ends": (
        {},
        "  two[time] = concat(raw.src[:, 0], raw.tgt * 1.0)\n",
        "E347.*two is made of sequences that end apart",
    ),
    "step by step": ({}, "block", "E20.*"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_second_time_is_refused(tmp_path: Path, name: str) -> None:
    changes, line, said = REFUSED[name]
    spec = SPEC.replace("}\nblock", f"{line}}}\nblock", 1)
    if line == "block":
        spec = SPEC.replace("softmax(e)\n", "softmax(e) * src[t, 0]\n")
    with pytest.raises(DlnError, match=f"(?s){said}"):
        loaded(tmp_path, arrays(**changes), spec)


def test_a_length_past_the_room_is_refused(tmp_path: Path) -> None:
    made = loaded(tmp_path, arrays()).compile().session(seed=1)
    with pytest.raises(DlnError, match=r"E554.*tgt_length"):
        made.step("fit", **arrays(tgt_length=SHORT + 2))
