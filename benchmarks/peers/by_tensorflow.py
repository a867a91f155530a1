"""TensorFlow: whole steps as a `tf.function`, and the same through XLA."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from benchmarks.comparison.work import Running, Work

DEALT = None  # its own pools place their threads better than we do
Params = dict[str, Any]


def version() -> str:
    return str(tf.__version__)


def make(work: Work, variant: str, threads: int) -> Running:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    arrays, weights = work.batches, dict(work.params)
    if work.kind == "lenet":  # its layout on CPUs has the channels last
        arrays = [(b[0].transpose(0, 2, 3, 1), *b[1:]) for b in arrays]
        weights |= {k: weights[k].transpose(2, 3, 1, 0) for k in ("C1", "C3")}
        rows = weights["W5"].reshape(16, 5, 5, -1).transpose(1, 2, 0, 3)
        weights["W5"] = rows.reshape(400, -1)
    batches = [tuple(map(tf.constant, b)) for b in arrays]
    p: Params = {k: tf.Variable(v) for k, v in weights.items()}
    if work.infer:
        net = NETS[work.kind]
        run = tf.function(lambda x: net(p, x), jit_compile=variant == "xla")
        return Running(lambda i: run(batches[i][0]), total, arrived)
    step = tf.function(stepping(work, p), jit_compile=variant == "xla")
    return Running(lambda i: step(*batches[i]), float, arrived)


def total(y: Any) -> float:
    return float(y.numpy().sum())


def arrived(handle: Any) -> object:
    return handle.numpy()


# ---- networks and losses -----------------------------------------------------------------------


def mlp(p: Params, x: Any) -> Any:
    return tf.sigmoid(tf.sigmoid(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"])


def lenet(p: Params, x: Any) -> Any:
    for k in "13":
        x = tf.tanh(tf.nn.conv2d(x, p[f"C{k}"], 1, "VALID") + p[f"c{k}"])
        x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
    x = tf.tanh(tf.reshape(x, [-1, 400]) @ p["W5"] + p["b5"])
    return tf.tanh(x @ p["W6"] + p["b6"]) @ p["W7"] + p["b7"]


def cross_entropy(z: Any, t: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=t, logits=z))


def mlp_loss(p: Params, x: Any, t: Any) -> Any:
    return 0.5 / x.shape[0] * tf.reduce_sum((mlp(p, x) - t) ** 2)


def lenet_loss(p: Params, x: Any, t: Any) -> Any:
    return cross_entropy(lenet(p, x), t)


def autoencoder_loss(p: Params, x: Any) -> Any:
    z = tf.sigmoid(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=z)) / x.shape[0]


NETS: dict[str, Callable[..., Any]] = {"mlp": mlp, "lenet": lenet}
LOSSES: dict[str, Callable[..., Any]] = {
    "mlp": mlp_loss,
    "lenet": lenet_loss,
    "autoencoder": autoencoder_loss,
}


def recurrent_loss(work: Work) -> Callable[..., Any]:
    layers, size, steps, B = (work.size(k) for k in "LHTB")

    def loss(p: Params, x: Any, y: Any) -> Any:
        z, left = tf.gather(p["Wx0"], x) + p["b0"], None
        for k in range(layers):

            def cell(carried: Any, row: Any, recurrent: Any = p[f"Wh{k}"]) -> Any:
                h, c = carried
                i, f, g, o = tf.split(row + h @ recurrent, 4, -1)
                c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
                return tf.sigmoid(o) * tf.tanh(c), c

            zero = tf.zeros((B, size))
            left = tf.reshape(tf.scan(cell, z, (zero, zero))[0], [steps * B, size])
            if k + 1 < layers:
                z = tf.reshape(left @ p[f"Wx{k + 1}"] + p[f"b{k + 1}"], [steps, B, 4 * size])
        return cross_entropy(left @ p["Wy"] + p["by"], tf.reshape(y, [-1]))

    return loss


# ---- steps -------------------------------------------------------------------------------------


def stepping(work: Work, p: Params) -> Callable[..., Any]:
    if work.kind == "rbm":
        return contrast(work, p)
    if work.kind == "lstm":
        return rms(work, p, recurrent_loss(work))
    return sgd(work, p, LOSSES[work.kind])


def sgd(work: Work, p: Params, loss: Callable[..., Any]) -> Callable[..., Any]:
    def step(*batch: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(p, *batch)
        for name, slope in tape.gradient(value, p).items():
            p[name].assign_sub(work.hyper["lr"] * slope)
        return value

    return step


def rms(work: Work, p: Params, loss: Callable[..., Any]) -> Callable[..., Any]:
    rate, rho, eps = (work.hyper[k] for k in ("lr", "rho", "eps"))
    squares = {k: tf.Variable(tf.zeros(v.shape)) for k, v in p.items()}

    def step(*batch: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(p, *batch)
        for name, slope in tape.gradient(value, p).items():
            g, v = tf.convert_to_tensor(slope), squares[name]
            v.assign(rho * v + (1 - rho) * g * g)
            p[name].assign_sub(rate * g / (tf.sqrt(v) + eps))
        return value

    return step


def contrast(work: Work, p: Params) -> Callable[..., Any]:
    W, a, b = p["W"], p["a"], p["b"]
    rate = work.hyper["lr"] / work.size("B")

    def step(v: Any) -> Any:
        h = tf.sigmoid(v @ W + b)
        drawn = tf.cast(tf.random.uniform(h.shape) < h, tf.float32)
        seen = tf.sigmoid(tf.matmul(drawn, W, transpose_b=True) + a)
        model = tf.cast(tf.random.uniform(seen.shape) < seen, tf.float32)
        again = tf.sigmoid(model @ W + b)
        halves = (tf.matmul(x, y, transpose_a=True) for x, y in ((v, h), (model, again)))
        W.assign_add(rate * (next(halves) - next(halves)))
        a.assign_add(rate * tf.reduce_sum(v - model, 0))
        b.assign_add(rate * tf.reduce_sum(h - again, 0))
        return tf.reduce_sum((v - seen) ** 2) / v.shape[0]

    return step
