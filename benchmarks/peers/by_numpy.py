"""NumPy by hand, a line of reference: arrays made once, results written in place, one product for
each of the mathematics. What a patient person writes; no BLAS but through `np.matmul`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.comparison.work import Array, Running, Work

DEALT = False
HALF, ONE = np.array(0.5, "f"), np.array(1, "f")


def version() -> str:
    return np.__version__


def make(work: Work, variant: str, threads: int) -> Running:
    if work.kind == "rbm":
        return Running(machine(work))
    forward, step = dense(work)
    return Running(forward, lambda y: float(y.sum())) if work.infer else Running(step)


def squash(z: Array, out: Array) -> None:
    """The sigmoid by `tanh`, which NumPy has vectorised."""
    np.multiply(z, HALF, out)
    np.tanh(out, out)
    np.multiply(out, HALF, out)
    np.add(out, HALF, out)


def empty(*shape: int) -> Array:
    return np.empty(shape, "f")


def dense(work: Work) -> tuple[Callable[[int], Array], Callable[[int], Any]]:
    """A net of two layers: its outputs, and a step. The biases are the last rows of the weights."""
    p, B = work.params, work.size("B")
    W1, W2 = np.vstack([p["W1"], p["b1"]]), np.vstack([p["W2"], p["b2"]])
    n, m, k = len(p["W1"]), len(p["W2"]), len(p["b2"])
    x, h = np.ones((B, n + 1), "f"), np.ones((B, m + 1), "f")
    z, y, d, e, dh = empty(B, m), empty(B, k), empty(B, k), empty(B, k), empty(B, m)
    g1, g2, rate = np.empty_like(W1), np.empty_like(W2), np.array(work.hyper["lr"] / B, "f")
    errors, logit = d.ravel(), work.kind == "autoencoder"

    def forward(i: int) -> Array:
        np.copyto(x[:, :-1], work.batches[i][0])
        np.matmul(x, W1, z)
        squash(z, h[:, :-1])
        np.matmul(h, W2, y)
        if not logit:
            squash(y, y)
        return y

    def slope(i: int) -> Any:
        """The loss; its slope at the last sums goes to `d`."""
        forward(i)
        if logit:
            t = work.batches[i][0]
            np.logaddexp(np.float32(0), y, e)
            loss = (e.sum() - np.vdot(y, t)) / B
            squash(y, y)
            np.subtract(y, t, d)
            return loss
        np.subtract(y, work.batches[i][1], d)
        loss = 0.5 / B * np.dot(errors, errors)
        np.subtract(ONE, y, e)
        np.multiply(e, y, e)
        np.multiply(d, e, d)
        return loss

    def step(i: int) -> Any:
        loss, active = slope(i), h[:, :-1]
        np.matmul(d, W2[:-1].T, dh)
        np.subtract(ONE, active, z)
        np.multiply(z, active, z)
        np.multiply(dh, z, dh)
        for given, error, gradient, weights in ((h, d, g2, W2), (x, dh, g1, W1)):
            np.matmul(given.T, error, gradient)
            np.multiply(gradient, rate, gradient)
            np.subtract(weights, gradient, weights)
        return loss

    return forward, step


def machine(work: Work) -> Callable[[int], Any]:
    """Contrastive divergence; its two halves are one product over stacked rows."""
    W, a, b = (work.params[k].copy() for k in ("W", "a", "b"))
    B, (n, m) = work.size("B"), W.shape
    v, h = empty(2 * B, n), empty(2 * B, m)
    drawn, seen, random = empty(B, m), empty(B, n), np.random.default_rng(0)
    first, second = empty(B, m), empty(B, n)
    gradient, rate = np.empty_like(W), np.array(work.hyper["lr"] / B, "f")

    def given(units: Array, weights: Array, bias: Array, out: Array) -> None:
        np.matmul(units, weights, out)
        np.add(out, bias, out)
        squash(out, out)

    def step(i: int) -> Any:
        np.copyto(v[:B], work.batches[i][0])
        random.random(dtype="f", out=first)
        random.random(dtype="f", out=second)
        given(v[:B], W, b, h[:B])
        np.less(first, h[:B], out=drawn, casting="unsafe")
        given(drawn, W.T, a, seen)
        np.less(second, seen, out=v[B:], casting="unsafe")
        given(v[B:], W, b, h[B:])
        np.negative(h[B:], h[B:])
        np.matmul(v.T, h, gradient)
        np.multiply(gradient, rate, gradient)
        np.add(W, gradient, W)
        np.add(a, rate * (v[:B] - v[B:]).sum(0), a)
        np.add(b, rate * h.sum(0), b)
        np.subtract(v[:B], seen, seen)
        return np.vdot(seen, seen) / B

    return step
