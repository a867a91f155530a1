"""The networks in JAX: whole steps under `jax.jit`, one thread."""

from __future__ import annotations

import json
import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

from collections.abc import Callable
from time import process_time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

SECONDS, MINIBATCHES, STEPS = 1.2, 8, 25
Params = list[tuple[Any, ...]]
RNG = np.random.default_rng(0)
NCHW = ("NCHW", "OIHW", "NCHW")
relu, sigmoid = jax.nn.relu, jax.nn.sigmoid


class Net(NamedTuple):
    """First parameters, the loss of a minibatch, its fields (a shape, or how many classes), how
    many examples it has, and whether Adam learns."""

    params: Params
    loss: Callable[..., Any]
    fields: tuple[tuple[int, ...] | int, ...]
    batch: int
    adam: bool = False
    steps: int = 0


# ---- layers ------------------------------------------------------------------------------------


def first(*shape: int) -> Any:
    return jnp.asarray((RNG.random(shape, dtype=np.float32) - 0.5) * 0.1)


def linear(n: int, m: int) -> tuple[Any, ...]:
    return first(m, n), first(m)


def filters(c: int, k: int, size: int) -> tuple[Any, ...]:
    return first(k, c, size, size), first(k)


def dense(p: Any, x: Any, act: Callable[[Any], Any] = lambda z: z) -> Any:
    return act(x @ p[0].T + p[1])


def conv(p: Any, x: Any, border: int = 0, stride: int = 1, groups: int = 1) -> Any:
    pads = [(border, border)] * 2
    made = lax.conv_general_dilated(x, p[0], (stride, stride), pads, feature_group_count=groups,
                                    dimension_numbers=NCHW)  # fmt: skip
    return made + p[1][:, None, None]


def pool(x: Any, size: int = 2) -> Any:
    window = (1, 1, size, size)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, (1, 1, 2, 2), "VALID")


def flat(x: Any) -> Any:
    return x.reshape(len(x), -1)


def entropy(z: Any, label: Any) -> Any:
    picked = jnp.take_along_axis(z, label[..., None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(z, axis=-1) - picked)


def classes(net: Callable[[Params, Any], Any]) -> Callable[..., Any]:
    return lambda p, x, label: entropy(net(p, x), label)


def layers(*acts: Callable[[Any], Any]) -> Callable[[Params, Any], Any]:
    def net(p: Params, x: Any) -> Any:
        for weights, act in zip(p, acts, strict=True):
            x = dense(weights, x, act)
        return x

    return net


def norm(p: Any, x: Any) -> Any:
    far = x - x.mean(-1, keepdims=True)
    return p[0] * far / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) + p[1]


def gru(p: Any, x: Any) -> Any:
    w, u, b, wh, uh, bh = p

    def step(h: Any, at: Any) -> tuple[Any, Any]:
        a = jnp.einsum("gmn,bn->gbm", w, at) + jnp.einsum("gmn,bn->gbm", u, h) + b[:, None]
        z, r = sigmoid(a[0]), sigmoid(a[1])
        h = z * h + (1 - z) * jnp.tanh(at @ wh.T + (r * h) @ uh.T + bh)
        return h, h

    return lax.scan(step, jnp.zeros((len(x), len(wh))), x.transpose(1, 0, 2))[1]


def gates(n: int, m: int) -> tuple[Any, ...]:
    return first(2, m, n), first(2, m, m), first(2, m), first(m, n), first(m, m), first(m)


def lstm(p: Any, steps: Any) -> Any:
    w, u, b = p
    m = u.shape[1]

    def step(held: Any, at: Any) -> tuple[Any, Any]:
        h, c = held
        i, f, o, g = jnp.split(at @ w.T + h @ u.T + b, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((steps.shape[1], m))
    return lax.scan(step, (zero, zero), steps)[1]


def cell(n: int, m: int) -> tuple[Any, ...]:
    return first(4 * m, n), first(4 * m, m), first(4 * m)


# ---- networks ----------------------------------------------------------------------------------


def convolutions(p: Params, x: Any) -> Any:
    x = pool(relu(conv(p[1], pool(relu(conv(p[0], x, 1))), 1)))
    return dense(p[3], dense(p[2], flat(x), relu))


def cifar(p: Params, x: Any) -> Any:
    for k in range(3):
        x = pool(relu(conv(p[k], x, 2)))
    return dense(p[3], flat(x))


def strides(p: Params, x: Any) -> Any:
    for k in range(3):
        x = relu(conv(p[k], x, stride=2))
    return dense(p[3], flat(x))


def residual(p: Params, x: Any) -> Any:
    x = relu(x + conv(p[0], x, 1))
    x = relu(x + conv(p[1], x, 1))
    return dense(p[2], x.mean((2, 3)))


def elman(p: Params, x: Any) -> Any:
    w, u, b = p[0]

    def step(h: Any, at: Any) -> tuple[Any, None]:
        return jnp.tanh(at @ w.T + h @ u.T + b), None

    return dense(p[1], lax.scan(step, jnp.zeros((len(x), 64)), x.transpose(1, 0, 2))[0])


def attention(p: Params, x: Any) -> Any:
    q, k, v = (jnp.einsum("hln,btn->bthl", w, x) for w in p[0][:3])
    weights = jax.nn.softmax(jnp.einsum("bthl,brhl->bhtr", q, k) / np.sqrt(8), -1)
    x = x + jnp.einsum("ihl,bthl->bti", p[0][3], jnp.einsum("bhtr,brhl->bthl", weights, v))
    return dense(p[2], norm(p[1], x).mean(1))


def conv1d(p: Params, x: Any) -> Any:
    for k in range(2):
        x = lax.conv_general_dilated(x, p[k][0], (1,), [(0, 0)],
                                     dimension_numbers=("NCH", "OIH", "NCH"))  # fmt: skip
        x = relu(x + p[k][1][:, None])
    return dense(p[2], flat(x))


def depthwise(p: Params, x: Any) -> Any:
    x = relu(conv(p[1], relu(conv(p[0], x, 1, groups=8))))
    return dense(p[3], relu(conv(p[2], x, 1, groups=16)).mean((2, 3)))


def batch_norm(p: Params, x: Any) -> Any:
    def norm(p: Any, x: Any) -> Any:
        mean = x.mean((0, 2, 3), keepdims=True)
        var = ((x - mean) ** 2).mean((0, 2, 3), keepdims=True)
        return p[0][:, None, None] * (x - mean) / jnp.sqrt(var + 1e-5) + p[1][:, None, None]

    x = pool(relu(norm(p[1], conv(p[0], x, 1))))
    return dense(p[4], relu(norm(p[3], conv(p[2], x, 1))).mean((2, 3)))


def dropout(p: Params, x: Any) -> Any:
    h = dense(p[0], x, relu)
    key = jax.random.key(x[0, 0].astype(jnp.int32))
    return dense(p[1], h * jax.random.bernoulli(key, 0.5, h.shape) * 2)


def overlapping(p: Params, x: Any) -> Any:
    return dense(p[2], flat(pool(relu(conv(p[1], pool(relu(conv(p[0], x)), 3))), 3)))


def bilstm(p: Params, x: Any) -> Any:
    steps = x.transpose(1, 0, 2)
    back = lstm(p[1], steps[::-1])[::-1]
    return dense(p[2], jnp.concatenate([lstm(p[0], steps), back], -1).mean(0))


def gelu(p: Params, x: Any) -> Any:
    h = norm(p[1], dense(p[0], x, jax.nn.leaky_relu))
    return dense(p[3], dense(p[2], h, lambda z: jax.nn.gelu(z, approximate=False)))


def language(p: Params, c: Any, t: Any) -> Any:
    return entropy(dense(p[2], gru(p[1], p[0][0][c])).transpose(1, 0, 2), t)


def vae(p: Params, x: Any) -> Any:
    h = dense(p[0], x, relu)
    m, s = dense(p[1], h), dense(p[2], h)
    e = jax.random.normal(jax.random.key(x[0, 0].astype(jnp.int32)), m.shape)
    z = dense(p[4], dense(p[3], m + jnp.exp(s / 2) * e, relu))
    far = jnp.sum(m**2 + jnp.exp(s) - s - 1, 1) / 2
    return jnp.mean(jnp.sum(jax.nn.softplus(z) - x * z, 1) + far)


def decoder(p: Params, z: Any, x: Any) -> Any:
    def up(p: Any, x: Any) -> Any:
        made = lax.conv_transpose(x, p[0], (2, 2), [(2, 2), (2, 2)], dimension_numbers=NCHW,
                                  transpose_kernel=True)  # fmt: skip
        return made + p[1][:, None, None]

    h = relu(up(p[1], dense(p[0], z, relu).reshape(-1, 16, 7, 7)))
    return jnp.mean(jnp.sum((sigmoid(up(p[2], h)) - x) ** 2, (1, 2, 3)))


def skipgram(p: Params, c: Any, o: Any, k: Any) -> Any:
    a, b = p[0]
    far = jax.nn.log_sigmoid(-(a[c] * b[k]).sum(1))
    return -jnp.mean(jax.nn.log_sigmoid((a[c] * b[o]).sum(1)) + far)


def squares(net: Callable[[Params, Any], Any]) -> Callable[..., Any]:
    return lambda p, x, *t: jnp.mean(jnp.sum((net(p, x) - (t[0] if t else x)) ** 2, 1)) / 2


def nets() -> dict[str, Net]:
    def same(z: Any) -> Any:
        return z

    deep = [linear(784, 256), linear(256, 256), linear(256, 256), linear(256, 10)]
    digits = [filters(1, 16, 3), filters(16, 32, 3), linear(32 * 49, 64), linear(64, 10)]
    three = classes(layers(relu, relu, relu, same))
    small = [linear(784, 256), linear(256, 32), linear(32, 256), linear(256, 784)]
    heads = tuple(first(4, 8, 32) for _ in range(3)) + (first(32, 4, 8),)
    codes = [linear(784, 128), linear(128, 8), linear(128, 8), linear(8, 128), linear(128, 784)]
    rows, unit = ((28, 28), 10), (first(16), first(16))
    one = classes(lambda p, x: dense(p[1], lstm(p[0], x.transpose(1, 0, 2))[-1]))
    return {
        "attention": Net([heads, (first(32), first(32)), linear(32, 10)], classes(attention),
                         ((16, 32), 10), 16),
        "batch_norm": Net([filters(3, 16, 3), unit, filters(16, 16, 3), unit, linear(16, 10)],
                          classes(batch_norm), ((3, 16, 16), 10), 32),
        "bilstm": Net([cell(16, 32), cell(16, 32), linear(64, 10)], classes(bilstm),
                      ((20, 16), 10), 16),
        "cifar": Net([filters(3, 16, 5), filters(16, 20, 5), filters(20, 20, 5), linear(320, 10)],
                     classes(cifar), ((3, 32, 32), 10), 16),
        "classes": Net([linear(128, 256), linear(256, 1000)], classes(layers(jnp.tanh, same)),
                       ((128,), 1000), 32),
        "conv1d": Net([(first(16, 8, 5), first(16)), (first(16, 16, 5), first(16)),
                       linear(16 * 120, 10)], classes(conv1d), ((8, 128), 10), 16),
        "convolutions": Net(digits, classes(convolutions), ((1, 28, 28), 10), 32),
        "convolutions_one": Net(digits, classes(convolutions), ((1, 28, 28), 10), 1),
        "decoder": Net([linear(16, 784), (first(16, 8, 4, 4), first(8)),
                        (first(8, 1, 4, 4), first(1))], decoder, ((16,), (1, 28, 28)), 16),
        "deep_autoencoder": Net(small, squares(layers(relu, same, relu, sigmoid)), ((784,),), 64,
                                adam=True),
        "depthwise": Net([filters(1, 8, 3), filters(8, 16, 1), filters(1, 16, 3), linear(16, 10)],
                         classes(depthwise), ((8, 16, 16), 10), 16),
        "dropout": Net([linear(784, 256), linear(256, 10)], classes(dropout), ((784,), 10), 64),
        "gelu": Net([linear(64, 128), (first(128), first(128)), linear(128, 128), linear(128, 10)],
                    classes(gelu), ((64,), 10), 32, adam=True),
        "gru": Net([gates(28, 64), linear(64, 10)],
                   classes(lambda p, x: dense(p[1], gru(p[0], x)[-1])), rows, 32),
        "language": Net([(first(65, 32),), gates(32, 64), linear(64, 65)], language, (65, 65), 16,
                        adam=True, steps=STEPS),
        "lstm_one": Net([cell(28, 64), linear(64, 10)], one, rows, 1),
        "overlapping": Net([filters(1, 8, 3), filters(8, 16, 3), linear(400, 10)],
                           classes(overlapping), ((1, 29, 29), 10), 16),
        "perceptron": Net(deep, three, ((784,), 10), 128),
        "perceptron_adam": Net(deep, three, ((784,), 10), 32, adam=True),
        "regression": Net([linear(8, 32), linear(32, 32), linear(32, 1)],
                          squares(layers(jnp.tanh, jnp.tanh, same)), ((8,), (1,)), 16, adam=True),
        "residual": Net([filters(8, 8, 3), filters(8, 8, 3), linear(8, 10)], classes(residual),
                        ((8, 16, 16), 10), 16),
        "rnn": Net([(first(64, 28), first(64, 64), first(64)), linear(64, 10)], classes(elman),
                   rows, 32),
        "sigmoids": Net([linear(784, 100), linear(100, 10)], classes(layers(sigmoid, same)),
                        ((784,), 10), 10),
        "skipgram": Net([(first(2000, 64), first(2000, 64))], skipgram, (2000, 2000, 2000), 64),
        "softmax": Net([linear(784, 10)], classes(layers(same)), ((784,), 10), 100),
        "strides": Net([filters(3, 16, 3), filters(16, 32, 4), filters(32, 64, 3),
                        linear(576, 10)], classes(strides), ((3, 33, 33), 10), 16),
        "vae": Net(codes, vae, ((784,),), 32, adam=True),
    }  # fmt: skip


# ---- steps -------------------------------------------------------------------------------------


def descent(net: Net) -> tuple[Any, Callable[..., Any]]:
    """What is carried, and the step."""
    if not net.adam:

        def plain(p: Any, *batch: Any) -> Any:
            slope = jax.grad(net.loss)(p, *batch)
            return jax.tree.map(lambda a, g: a - 0.01 * g, p, slope)

        return net.params, plain

    def adam(held: Any, *batch: Any) -> Any:
        p, m, v, k = held
        slope, k = jax.grad(net.loss)(p, *batch), k + 1
        m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, slope)
        v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, slope)
        b, c = 1 - 0.9**k, 1 - 0.999**k

        def moved(a: Any, m: Any, v: Any) -> Any:
            return a - 1e-3 * (m / b) / (jnp.sqrt(v / c) + 1e-8)

        return jax.tree.map(moved, p, m, v), m, v, k

    zero = jax.tree.map(jnp.zeros_like, net.params)
    return (net.params, zero, zero, jnp.float32(0)), adam


def work(names: list[str]) -> None:
    """Print microseconds of a step of each network, as JSON."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    known = nets()
    print(json.dumps({name: measured(known[name]) for name in names if name in known}))


def measured(net: Net) -> float:
    held, step = descent(net)
    run = jax.jit(step, donate_argnums=0)
    held = jax.tree.map(jnp.array, held)
    batches = [tuple(drawn(f, net) for f in net.fields) for _ in range(MINIBATCHES)]
    held, best, end = (
        jax.block_until_ready(run(held, *batches[0])),
        np.inf,
        process_time() + SECONDS,
    )
    while process_time() < end:
        start = process_time()
        for batch in batches:
            held = run(held, *batch)
        jax.block_until_ready(held)
        best = min(best, (process_time() - start) / MINIBATCHES * 1e6)
    return float(best)


def drawn(field: tuple[int, ...] | int, net: Net) -> Any:
    if isinstance(field, int):
        shape = (net.batch, net.steps) if net.steps else (net.batch,)
        return RNG.integers(0, field, shape).astype(np.int32)
    return RNG.random((net.batch, *field), dtype=np.float32)
