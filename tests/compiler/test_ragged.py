"""Sequences of unequal lengths, construct by construct, against two oracles.

What stands past the end is nothing: with other numbers there, with huge ones, with no numbers at
all, and with classes that there are not, every value, gradient, watch and update has the same
bits. And each sequence gives in the batch what it gives alone, at its own length.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.stages import BEFORE, STAGES, optimise, part

LENGTH = np.array([3, 5, 1, 2])
STEPS = 5
RATE = 1e-3
INSIDE = np.arange(STEPS) < LENGTH[:, None]
DRAWN = np.random.default_rng(7)
X = DRAWN.normal(size=(4, STEPS, 2)) - 0.3
P = np.abs(DRAWN.normal(size=(4, STEPS))) + 0.1
C = DRAWN.integers(0, 3, size=(4, STEPS))

PARAMS = """\
  param w[n] ~ normal(0, 1), W[2, n] ~ normal(0, 1), U[2, 2] ~ normal(0, 0.5)
  param E[3, 2] ~ normal(0, 1), k[5] ~ normal(0, 1), K[3] ~ normal(0, 1)
"""

# Constructs by the least number of steps that they take of a sequence alone.
FROM_ONE = """
y = sum(x) + mean(x) + max(x) + min(x) + norm(x)
y = sum(t: x[t, 0]) * mean(i: x[i, 1]) + max(i: x[i, 1]) + min(i, j: x[i, j])
y = mean(time: x) @ w + norm(time: x) @ w
h = x -> dense(2, act = tanh); y = sum(h * h) + mean(h -> softmax)
z[i] = x[i, 0]^2; y = sum(z) / mean(z) + max(z) + z[0]
z[i] = -1 - x[i, 0]^2; y = sum(onehot(argmax(z)) * z) + z[argmin(z)] + z[argmax(z)]
z[i] = x[i, 0]; y = sum(z[lowest(z, 1)])
z[i] = x[i, 0]; s = x[argmax(z), 1] + sum(x[argmin(z)]) + sum(x[lowest(z, 1), 1]);
  y = s + sum(E[c[argmax(z)]])
scan t in time { e[i] = s[t-1, 0] * x[i, 0] + x[i, 1];
  s[t] = tanh(x[argmax(e)] + x[t]) }; y = sum(s)
z[i] = w @ x[i]; a = softmax(z); y = sum(i: a[i] * x[i, 0])
z[i] = 1000 * (w @ x[i]); a = softmax(z); y = sum(i: a[i] * x[i, 0])
z[i] = w @ x[i]; y = log(sum(exp(z)))
q = x @ W'; s[t, r] = q[t] @ x[r]; a[t, r] = exp(s[t, r]) / sum(o: exp(s[t, o]));
  y = sum(t, r: a[t, r] * x[r, 0])
q[t, j] = x[t, j]; s = q @ q'; y = mean(s) + max(s) + s[0, 0]
q[t, j] = x[t, j]; s = q @ q'; a[t] = softmax(s[t]); y = sum(a @ q) + sum(i: s[i, i])
z[i] = x[i, 0]; u[i] = x[i, 1]; y = z @ u + mean(outer(z, w))
z[i, j] = x[i, j]; v = z' @ z; y = v[0, 0] + v[0, 1] + max(z')
z[i, j] = x[i, j]; y = mean(flatten(z)) + max(flatten(z))
z[i] = x[i, 0]; y = mean(concat(w, z)) + mean(pad(z, 1)) + max(pad(z, 1))
z[i] = x[i, 0]; v = [z, z * z] @ z; y = v[0] + v[1]
z[i] = x[i, 0]; v = upsample(z, 3); y = mean(v * v) + sum(v) + max(v)
z[i, j] = x[i, j]; v = concat(z, z * z, axis = 1); y = mean(v) + max(v) + sum(v' @ z)
z[i] = x[i, 0]; u[i] = x[i, 1]; v = stack(z, u, axis = 1); y = sum(v' @ z) + mean(v)
h = x -> rnn(2); y = sum(last(h)) + mean(h)
h = x -> lstm(2); y = sum(last(h)) + max(h)
z[t, j] = 2 * x[t, j]; h = z -> rnn(2) -> dense(2); y = sum(last(h))
y = mean(time: log(p)) + sum(time: sqrt(p)) + sum(i: 1 / p[i])
scan t in time { s[t] = s[t-1] + log(p[t]) }; y = last(s) + sum(time: log(p) * s)
scan t in time { m[t] = max(m[t-1], x[t, 0]) }; y = last(m) + mean(m) + mean(i: m[i])
scan t in time { s[t] = 3 * s[t-1] + x[t, 0] }; y = last(s)
y = sum(E[c]) + sum(onehot(c) @ E) + sum(E[last(c)]) + sum(E[c[0]])
q = (x @ W') @ E'; y = sum(cross_entropy(q, c)) + mean(cross_entropy(q, c))
q = (x @ W') @ E'; y = mean(i: cross_entropy(q[i], c[i]))
scan t in time { scan r in time { q[r] = tanh(w * x[r] + x[t]) + 0.5 * q[r-1] };
  s[t] = last(q) + mean(q) }; y = sum(s)
scan t in time { e[i] = s[t-1] @ x[i]; a = softmax(e);
  s[t] = tanh(sum(i: a[i] * x[i]) + x[t]) }; y = sum(last(s))
scan t in time { s[t] = tanh(sum(x) + x[t, 0]) }; y = sum(s)
h = x -> rnn(2); scan t in 5 { s[t] = tanh(U @ s[t-1] + last(h)) }; y = sum(s) + sum(last(s))
e = sum(i: x[i, 0]^2 * x[i, 1]); g = grad(e, x); y = sum(g^2) + norm(grad(norm(x), x))
scan t in time { h[t] = tanh(x[t] + U @ h[t-1]) }; e = sum(h);
  y = norm(grad(e, h[0])) + sum(grad(e, h))
scan t in time { s[t] = s[t-1] + x[t, 0] * t; q[t] = cos(t / 3) if t > 0 else w[0] };
  y = sum(s) + mean(q) + last(q) + max(q) + norm(q) + sum(i: q[i])
s[t, r] = exp(x[t] @ x[r] - abs(t - r)) if r <= t else 0;
  h[t, i] = sum(r: s[t, r] * x[r, i]) / sum(r: s[t, r]); y = sum(h) + mean(s) + max(s)
z[i] = x[i, 0] * sin(i) if i != 1 else w[1]; y = sum(z) + mean(z) + max(i: i * x[i, 1])
h = x -> both(rnn(2), lstm(1)); y = sum(last(h)) + mean(h) + sum(E[reversed(c)] * x)
scan t in time { scan r in time backwards { q[r] = tanh(w * x[r] + x[t]) + r * q[r+1] };
  s[t] = q[0] + mean(q) }; y = sum(s)
scan t in time backwards { s[t] = tanh(s[t+1] + x[t, 0]); z[t] = 0.5 * z[t+1] + t }; e = sum(s);
  y = sum(grad(e, s)^2) + sum(grad(e, s[0])) + sum(z) + last(z)
s[t, r] = exp(x[t] @ x[r]) if r < t + 1 else 0; v[t in time, i] = x[t, i] * w[0] - sin(t);
  h[t in time, i] = sum(r: s[t, r] * v[r, i]) / sum(r: s[t, r]); g = h -> rnn(2);
  q[t in time] = t^2; o[t in time] = argmax(x[t]);
  y = sum(g * v) + mean(q) + last(q) + sum(last(h)) + max(h) + sum(W[reversed(o)] * x)
s[t, r] = exp(x[t] @ x[r]) if abs(t - r) <= 1 else 0;
  h[t in time, i] = sum(r: s[t, r] * x[r, i]) / sum(r: s[t, r]) + log(sum(r: s[t, r]));
  y = sum(h) + max(h) + sum(h -> rnn(2))
m = mean(time: x); d[t, j] = x[t, j] - m[j]; v[i, j] = mean(t: d[t, i] * d[t, j]);
  y = sum(v) + norm(d)
z[i] = x[i, 0] if x[i, 1] > mean(x) else 0; y = mean(z) + sum(i: 1 if x[i, 0] > 0 else w[0])
y = sum(i: x[i, 0] * sum(j: x[j, 1] * x[i, 1])) + mean(c == c)
"""
FROM_TWO = """
scan t in time by 2 { s[t] = tanh(U @ s[t-1] + x[t]) }; scan t in time by 2 backwards {
  r[t] = tanh(U @ r[t+1] + x[t]) }; y = sum(s) + sum(r) + sum(last(s) * r[0])
scan t in time backwards { s[t] = tanh(U @ s[t+1] + x[t] * x[t+1] + E[c[t+1]] - x[t-1] * t) };
  y = sum(s) + sum(last(s)) + sum(s[0]) + mean(reversed(s) * x) + max(reversed(p))
y = sum(i: x[i+1, 0] * x[i+1, 1]) + max(i: -1 - p[i+1])
y = sum(x[1:]) + mean(x[1:]) + sum(last(x[1:])) + sum(E[c[1:]])
h = x[1:] -> rnn(2); y = sum(last(h)) + mean(h)
scan t in time { s[t] = x[t+1] * x[t] + x[t-1] }; y = sum(s) + sum(last(s))
a[q, i] = x[i, q]; z[o, i] = tanh(sum(q, u in 0..1: W[o, q] * a[q, i+u]));
  g[o] = max(i: z[o, i]); y = sum(g)
e = sum(x^2); y = sum(grad(e, x[1])) + w @ x[1] + sum(E[c[1]])
scan t in time { s[t] = E[c[t-1]] * x[t] + onehot(c[t-1]) @ E + E[c[t+1]] }; y = sum(s)
scan t in time { s[t] = 1 if c[t-1] == c[t] or c[t+1] == 0 else w[0] }; y = sum(s)
"""
FROM_THREE = """
z[i, j] = sum(u: K[u] * x[i+u, j]); y = mean(tanh(z)) + max(z)
z[j, i] = sum(o, u: K[u] * W[j, o] * x[i+u, o]); y = sum(z^2)
z[i] = sum(u: K[u] * x[i-u+2, 0]); y = mean(z) + sum(z) + z[0]
y = sum(i, u in 0..2: K[u] * x[i+u, 0])
z[i] = sum(u in 0..2: K[u] * x[i+u, 0]); y = mean(tanh(z)) + max(z)
y = mean(x[:3]) + max(x[:3]) + sum(last(x[:3])) + mean(x[1:][1:])
z[i] = x[i, 0]; y = z[2] + w @ x[2] + mean(z[1:3])
scan t in time { s[t] = w @ x[t+2] }; y = mean(s)
y = mean(i in 0..2: x[i, 0]) + max(i in 0..2: -1 - p[i])
y = sum(i in 0..1: x[i, 0] * x[i+1, 1])
u = x[1:]; scan t in time { s[t] = u[t] + u[t+1] }; y = sum(s)
"""
FROM_FIVE = """
y = sum(i: k[i] * x[4-i, 0]) + max(i in 0..4: -1 - p[4-i])
y = sum(i: k[i] * x[i, 0]) + mean(i: k[i] * p[i])
y = max(x[4:]) + mean(x[3:]) + sum(last(x[2:]))
z[i] = x[i, 0]; u = z[3:]; y = u[argmax(u)]
y = mean(i: x[2*i, 0])
"""


def split(text: str) -> list[str]:
    """The constructs of a table; a line that begins with blanks belongs to the one before it."""
    return text.strip().replace("\n  ", " ").splitlines()


LEAST = {1: FROM_ONE, 2: FROM_TWO, 3: FROM_THREE, 5: FROM_FIVE}
LINES = [(least, line) for least, text in LEAST.items() for line in split(text)]
SLOPES = [line for _, line in LINES[:38:3]]  # a third of those that take any sequence


def spec(lines: Sequence[str]) -> str:
    """A block for each construct, one that has them all, and a phase that learns it."""
    ports = "x[time, n], p[time], c[time]: class(3)"
    blocks = []
    for i, line in enumerate(lines):
        body = line.replace("; ", "\n").replace("{ ", "{\n").replace(" }", "\n}")
        body = "".join(f"  {part}\n" for part in body.splitlines())
        blocks.append(f"block b{i}({ports}) -> y {{\n{PARAMS}{body}}}\n")
    lets = "".join(f"  let f{i} = b{i}()\n" for i in range(len(lines)))
    every = ", ".join(f"f{i}(x, p, c)" for i in range(len(lines)))
    return (
        'data d = npz("d.npz") {\n  x[time, 2] = raw.x\n  p[time]: positive = raw.p\n'
        f"  c[time]: class(3) = raw.c\n}}\n{''.join(blocks)}"
        f"block all({ports}) -> y[{len(lines)}] {{\n{lets}  y = [{every}]\n}}\nlet net = all()\n"
        "train fit on d batch all order file for 2 epochs dtype float64 {\n"
        f"  minimize sum(net(x, p, c)) over net with sgd(lr = {RATE})\n"
        "  watch own = sum(net(x, p, c)) every 1 epoch\n"
        "  watch other = sum(net(x, p, c)) on d\n}\n"
    )


def padded(fill: float) -> dict[str, np.ndarray]:
    """The sequences with something else past their ends, and classes that there are not."""
    classes = np.where(INSIDE, C, -1 if np.isnan(fill) else 77)
    x, p = np.where(INSIDE[..., None], X, fill), np.where(INSIDE, P, fill)
    return {"x": x, "p": p, "c": classes, "length": LENGTH}


def alone(i: int) -> dict[str, np.ndarray]:
    """One sequence as a set of its own, without any padding."""
    one = slice(i, i + 1), slice(0, LENGTH[i])
    return {"x": X[one], "p": P[one], "c": C[one], "length": LENGTH[i : i + 1]}


def loaded(folder: Path, lines: Sequence[str], arrays: dict[str, Any]) -> dln.Spec:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "d.npz", **arrays)
    (folder / "s.dln").write_text(spec(lines))
    return dln.load(str(folder / "s.dln"))


def slopes(session: Any, fed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradient of the loss by every parameter, from one update."""
    before = {path: np.array(a) for path, a in session.params.items()}
    session.step("fit", **fed)
    found = {path: (a - session.params[path]) / RATE for path, a in before.items()}
    for path, a in before.items():
        session.params[path] = a
    return found


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All constructs over the sequences, padded with no numbers in the file."""
    folder = tmp_path_factory.mktemp("batch")
    return loaded(folder, [line for _, line in LINES], padded(np.nan)).compile().session(seed=0)


def test_nothing_depends_on_what_stands_past_the_end(batch: Any) -> None:
    params = {path: np.array(a) for path, a in batch.params.items()}
    found = []
    for fill in (np.nan, 1e6):
        fed = padded(fill)
        seen = [batch.net(**fed), *slopes(batch, fed).values()]
        result = batch.train("fit", **({} if np.isnan(fill) else {"data": {"d": fed}}))
        seen += [*map(np.array, batch.params.values()), result.history["own"], result.watch]
        found.append(seen)
        for path, a in params.items():
            batch.params[path] = a
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("i", [0, 1, 2])
def test_each_sequence_gives_what_it_gives_alone(batch: Any, tmp_path: Path, i: int) -> None:
    """The evaluator on a set of this sequence only, without `length`."""
    lines = [line for least, line in LINES if least <= LENGTH[i]]
    places = [k for k, (least, _) in enumerate(LINES) if least <= LENGTH[i]]
    model = loaded(tmp_path, lines, alone(i)).model
    env: dict[tuple[str, str], Any] = {("input", k): a for k, a in alone(i).items()}
    for path in model.params:
        name = path.split(".")
        at = places[int(name[1][1:])]
        env["param", path] = batch.params[".".join([name[0], f"f{at}", *name[2:]])]
    (result,) = model.functions.applied["net"].results.values()
    graph = optimise(part(model, {"y": result}), STAGES[: len(BEFORE) + 1])
    wanted = evaluate(graph, env)["y"][0]
    values = batch.net(**padded(np.nan))[i, places]
    for line, value, one in zip(lines, values, wanted, strict=True):
        np.testing.assert_allclose(value, one, rtol=1e-10, err_msg=line)


def test_each_sequence_pulls_as_it_does_alone(tmp_path: Path) -> None:
    session = loaded(tmp_path / "all", SLOPES, padded(1e6)).compile().session(seed=0)
    found, total = slopes(session, padded(np.nan)), dict[str, Any]()
    for i in range(len(LENGTH)):
        one = loaded(tmp_path / "one", SLOPES, alone(i)).compile().session(seed=0)
        for path, a in session.params.items():
            one.params[path] = a
        for path, g in slopes(one, alone(i)).items():
            total[path] = total.get(path, 0.0) + g / len(LENGTH)
    for path, g in total.items():
        np.testing.assert_allclose(found[path], g, rtol=1e-9, atol=1e-9, err_msg=path)
