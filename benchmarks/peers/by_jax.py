"""JAX: whole steps under `jax.jit`, the parameters handed over and taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.comparison.work import Running, Work

DEALT = True
Params = dict[str, Any]
sigmoid = jax.nn.sigmoid


def version() -> str:
    return str(jax.__version__)


def make(work: Work, variant: str, threads: int) -> Running:
    batches = [tuple(map(jax.device_put, b)) for b in work.batches]
    p: Params = {k: jax.device_put(v) for k, v in work.params.items()}
    if work.infer:
        run = jax.jit(NETS[work.kind])
        return Running(lambda i: run(p, batches[i][0]).block_until_ready(), total)
    if work.kind == "rbm":
        held: list[Any] = [p, jax.random.key(0)]
        step = jax.jit(contrast(work), donate_argnums=0)
    elif work.kind == "lstm":
        held = [p, jax.tree.map(jnp.zeros_like, p)]
        step = jax.jit(rms(work, recurrent_loss(work)), donate_argnums=(0, 1))
    else:
        held = [p]
        step = jax.jit(sgd(work, LOSSES[work.kind]), donate_argnums=0)

    def call(i: int) -> Any:
        *held[:], loss = step(*held, *batches[i])
        return loss

    return Running(call, float, lambda loss: jax.block_until_ready((loss, held)))


def total(y: Any) -> float:
    return float(y.sum())


# ---- networks and losses -----------------------------------------------------------------------


def mlp(p: Params, x: Any) -> Any:
    return sigmoid(sigmoid(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"])


def pooled(x: Any) -> Any:
    return lax.reduce_window(x, 0.0, lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") * 0.25


def convolved(x: Any, kernel: Any, bias: Any) -> Any:
    return lax.conv(x, kernel, (1, 1), "VALID") + bias[None, :, None, None]


def lenet(p: Params, x: Any) -> Any:
    x = pooled(jnp.tanh(convolved(x, p["C1"], p["c1"])))
    x = pooled(jnp.tanh(convolved(x, p["C3"], p["c3"])))
    x = jnp.tanh(x.reshape(x.shape[0], -1) @ p["W5"] + p["b5"])
    return jnp.tanh(x @ p["W6"] + p["b6"]) @ p["W7"] + p["b7"]


def cross_entropy(z: Any, t: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(z), t[..., None], -1).mean()


def mlp_loss(p: Params, x: Any, t: Any) -> Any:
    return 0.5 / x.shape[0] * ((mlp(p, x) - t) ** 2).sum()


def lenet_loss(p: Params, x: Any, t: Any) -> Any:
    return cross_entropy(lenet(p, x), t)


def autoencoder_loss(p: Params, x: Any) -> Any:
    z = sigmoid(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
    return (jax.nn.softplus(z) - z * x).sum() / x.shape[0]


NETS: dict[str, Callable[..., Any]] = {"mlp": mlp, "lenet": lenet}
LOSSES: dict[str, Callable[..., Any]] = {
    "mlp": mlp_loss,
    "lenet": lenet_loss,
    "autoencoder": autoencoder_loss,
}


def recurrent_loss(work: Work) -> Callable[..., Any]:
    layers, size = work.size("L"), work.size("H")

    def loss(p: Params, x: Any, y: Any) -> Any:
        z, left = p["Wx0"][x] + p["b0"], None
        for k in range(layers):

            def cell(carried: Any, row: Any, recurrent: Any = p[f"Wh{k}"]) -> Any:
                h, c = carried
                i, f, g, o = jnp.split(row + h @ recurrent, 4, -1)
                c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
                h = sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            zero = jnp.zeros((x.shape[1], size))
            _, left = lax.scan(cell, (zero, zero), z)
            if k + 1 < layers:
                z = left @ p[f"Wx{k + 1}"] + p[f"b{k + 1}"]
        return cross_entropy(left @ p["Wy"] + p["by"], y)

    return loss


# ---- steps -------------------------------------------------------------------------------------


def sgd(work: Work, loss: Callable[..., Any]) -> Callable[..., Any]:
    def step(p: Params, *batch: Any) -> Any:
        value, slopes = jax.value_and_grad(loss)(p, *batch)
        return jax.tree.map(lambda w, g: w - work.hyper["lr"] * g, p, slopes), value

    return step


def rms(work: Work, loss: Callable[..., Any]) -> Callable[..., Any]:
    rate, rho, eps = (work.hyper[k] for k in ("lr", "rho", "eps"))

    def step(p: Params, squares: Params, *batch: Any) -> Any:
        value, slopes = jax.value_and_grad(loss)(p, *batch)
        squares = jax.tree.map(lambda v, g: rho * v + (1 - rho) * g * g, squares, slopes)
        moved = jax.tree.map(lambda w, g, v: w - rate * g / (jnp.sqrt(v) + eps), p, slopes, squares)
        return moved, squares, value

    return step


def contrast(work: Work) -> Callable[..., Any]:
    rate = work.hyper["lr"] / work.size("B")

    def step(p: Params, key: Any, v: Any) -> Any:
        W, a, b = p["W"], p["a"], p["b"]
        key, first, second = jax.random.split(key, 3)
        h = sigmoid(v @ W + b)
        drawn = (jax.random.uniform(first, h.shape) < h).astype("float32")
        seen = sigmoid(drawn @ W.T + a)
        model = (jax.random.uniform(second, seen.shape) < seen).astype("float32")
        again = sigmoid(model @ W + b)
        moved = {
            "W": W + rate * (v.T @ h - model.T @ again),
            "a": a + rate * (v - model).sum(0),
            "b": b + rate * (h - again).sum(0),
        }
        return moved, key, ((v - seen) ** 2).sum() / v.shape[0]

    return step
