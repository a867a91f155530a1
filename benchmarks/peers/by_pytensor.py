"""PyTensor: compiled functions with shared variables and updates, Theano's way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as T

from benchmarks.comparison.work import Running, Work

DEALT = False
Params = dict[str, Any]


def version() -> str:
    return str(pytensor.__version__)


def make(work: Work, variant: str, threads: int) -> Running:
    pytensor.config.floatX = "float32"
    p: Params = {k: pytensor.shared(v.copy()) for k, v in work.params.items()}
    fields = [
        T.tensor(f"x{i}", dtype=a.dtype, shape=a.shape) for i, a in enumerate(work.batches[0])
    ]
    if work.infer:
        run = pytensor.function(fields[:1], mlp(p, fields[0]), mode="FAST_RUN", trust_input=True)
        return Running(lambda i: run(work.batches[i][0]), lambda y: float(y.sum()))
    loss, updates = UPDATES[work.kind](work, p, *fields)
    step = pytensor.function(fields, loss, updates=updates, mode="FAST_RUN", trust_input=True)
    return Running(lambda i: step(*work.batches[i]))


def mlp(p: Params, x: Any) -> Any:
    return T.sigmoid(T.sigmoid(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"])


def perceptron(work: Work, p: Params, x: Any, t: Any) -> Any:
    return sgd(work, p, np.float32(0.5 / work.size("B")) * ((mlp(p, x) - t) ** 2).sum())


def autoencoder(work: Work, p: Params, x: Any) -> Any:
    z = T.sigmoid(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
    return sgd(work, p, (T.softplus(z) - z * x).sum() / np.float32(work.size("B")))


def sgd(work: Work, p: Params, loss: Any) -> Any:
    rate, weights = np.float32(work.hyper["lr"]), list(p.values())
    return loss, [(q, q - rate * g) for q, g in zip(weights, T.grad(loss, weights), strict=True)]


def lstm(work: Work, p: Params, x: Any, y: Any) -> Any:
    layers, size, steps, B = (work.size(k) for k in "LHTB")

    def cell(row: Any, h: Any, c: Any, recurrent: Any) -> Any:
        i, f, g, o = ((row + h @ recurrent)[:, k * size : (k + 1) * size] for k in range(4))
        c = T.sigmoid(f) * c + T.sigmoid(i) * T.tanh(g)
        return T.sigmoid(o) * T.tanh(c), c

    z, left = p["Wx0"][x] + p["b0"], None
    for k in range(layers):
        zero = T.zeros((B, size), dtype="float32")
        left, _ = pytensor.scan(
            cell, [z], [zero, zero], non_sequences=[p[f"Wh{k}"]], return_updates=False
        )
        left = left.reshape((steps * B, size))
        if k + 1 < layers:
            z = (left @ p[f"Wx{k + 1}"] + p[f"b{k + 1}"]).reshape((steps, B, 4 * size))
    logits = T.special.log_softmax(left @ p["Wy"] + p["by"], axis=1)
    return rms(work, p, -logits[T.arange(steps * B), y.flatten()].mean())


def rms(work: Work, p: Params, loss: Any) -> Any:
    rate, rho, eps = (np.float32(work.hyper[k]) for k in ("lr", "rho", "eps"))
    updates, weights = [], list(p.values())
    for q, g in zip(weights, T.grad(loss, weights), strict=True):
        v = pytensor.shared(np.zeros_like(q.get_value()))
        squares = rho * v + (np.float32(1) - rho) * g * g
        updates += [(v, squares), (q, q - rate * g / (T.sqrt(squares) + eps))]
    return loss, updates


def machine(work: Work, p: Params, v: Any) -> Any:
    W, a, b = p["W"], p["a"], p["b"]
    B, rate = work.size("B"), np.float32(work.hyper["lr"] / work.size("B"))
    updates = []

    def drawn(probability: Any, size: int, seed: int) -> Any:
        generator = pytensor.shared(np.random.default_rng(seed))
        after, uniform = T.random.uniform(size=(B, size), rng=generator).owner.outputs
        updates.append((generator, after))
        return (uniform.astype("float32") < probability).astype("float32")

    visible, hidden = work.params["W"].shape
    h = T.sigmoid(v @ W + b)
    seen = T.sigmoid(drawn(h, hidden, 1) @ W.T + a)
    model = drawn(seen, visible, 2)
    again = T.sigmoid(model @ W + b)
    updates += [
        (W, W + rate * (v.T @ h - model.T @ again)),
        (a, a + rate * (v - model).sum(0)),
        (b, b + rate * (h - again).sum(0)),
    ]
    return ((v - seen) ** 2).sum() / np.float32(B), updates


UPDATES: dict[str, Callable[..., Any]] = {
    "mlp": perceptron,
    "autoencoder": autoencoder,
    "lstm": lstm,
    "rbm": machine,
}
