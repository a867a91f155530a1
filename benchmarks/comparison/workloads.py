"""The workloads: data, first weights, sizes, and the least that each has to compute and to move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.comparison.work import Array, Batch, Work
from dln.compiler.plan import DataSource
from dln.runtime.readers.readers import read

LETTERS, WINDOW = 65, 50  # of tiny Shakespeare, and of its windows


@dataclass(frozen=True)
class Least:
    """What a step takes at least, nothing skipped: floating-point operations of its products, bytes
    of weights and activations, exponentials and hyperbolic tangents."""

    flops: float
    bytes: float
    curves: float


@dataclass(frozen=True)
class Workload:
    """A row of the tables: its goal is the ratio to the best peer. `make` reads the data, and
    raises `DlnError` where they are missing."""

    title: str
    goal: float
    make: Callable[[str], tuple[Work, Least]]


# ---- data --------------------------------------------------------------------------------------


@cache
def digits(count: int) -> tuple[Array, Array]:
    """The first of MNIST, as the shipped specs find it: [count, 784] in 0..1, labels [count]."""
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    fields = read(DataSource("idx", names, {}, "."))
    images: Array = np.divide(fields["image"][:count].reshape(-1, 784), 255, dtype="f")
    return images, fields["label"][:count].astype("int64")


@cache
def letters() -> Array:
    """Windows of tiny Shakespeare: [window, 51] places in its alphabet."""
    [text] = read(DataSource("text", ("tinyshakespeare.txt",), {}, ".")).values()
    return text.astype("int64")


def minibatches(rows: Array, B: int, count: int) -> Iterator[Array]:
    return (np.ascontiguousarray(rows[i * B : (i + 1) * B]) for i in range(count))


def weights(random: np.random.Generator, *shape: int, fan: int | None = None) -> Array:
    drawn: Array = random.uniform(-1, 1, shape) / np.sqrt(fan or shape[0])
    return drawn.astype("f")


def zeros(n: int) -> Array:
    return np.zeros(n, "f")


# ---- networks ----------------------------------------------------------------------------------


def mlp(name: str, B: int, infer: bool = False, hidden: int = 300) -> tuple[Work, Least]:
    random = np.random.default_rng(1)
    x, label = digits(50 * B)
    onehot = np.eye(10, dtype="f")[label]
    batches: list[Batch] = list(zip(minibatches(x, B, 50), minibatches(onehot, B, 50), strict=True))
    params = {"W1": weights(random, 784, hidden), "b1": zeros(hidden),
              "W2": weights(random, hidden, 10), "b2": zeros(10)}  # fmt: skip
    first, second = 784 * hidden, hidden * 10
    flops = 2 * B * (first + second if infer else 2 * first + 3 * second)
    moved = 4 * ((first + second) * (1 if infer else 3) + 784 * B)
    work = Work(name, "mlp", infer, {"lr": 0.1, "B": B}, params, batches)
    return work, Least(flops, moved, B * (hidden + 10))


def lenet(name: str, B: int, infer: bool = False) -> tuple[Work, Least]:
    random = np.random.default_rng(2)
    x, label = digits(12 * B)
    x = np.pad(x.reshape(-1, 1, 28, 28), ((0, 0), (0, 0), (2, 2), (2, 2)))
    batches: list[Batch] = list(zip(minibatches(x, B, 12), minibatches(label, B, 12), strict=True))
    params = {"C1": weights(random, 6, 1, 5, 5, fan=25), "c1": zeros(6),
              "C3": weights(random, 16, 6, 5, 5, fan=150), "c3": zeros(16)}  # fmt: skip
    for k, (m, n) in enumerate(((400, 120), (120, 84), (84, 10)), 5):
        params |= {f"W{k}": weights(random, m, n), f"b{k}": zeros(n)}
    first, others = 784 * 6 * 25, 100 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    flops = 2 * B * (first + others if infer else 2 * first + 3 * others)
    active = B * (1024 + 6 * 784 + 6 * 196 + 1600 + 400 + 120 + 84)
    moved = 4 * (active * (2 if infer else 4) + 61_000 * (1 if infer else 3))
    shards = 1 if infer or B < 64 else 2
    work = Work(name, "lenet", infer, {"lr": 0.05, "B": B, "S": shards}, params, batches)
    return work, Least(flops, moved, B * (4704 + 1600 + 204))


def lstm(name: str, layers: int, size: int, B: int = 50) -> tuple[Work, Least]:
    """Batches are [time, example]; the gates of a layer stand side by side: i, f, g, o."""
    random = np.random.default_rng(3)
    windows = [w.T for w in minibatches(letters(), B, 3)]
    batches: list[Batch] = [
        (np.ascontiguousarray(w[:-1]), np.ascontiguousarray(w[1:])) for w in windows
    ]
    params: dict[str, Array] = {}
    for k in range(layers):
        wide = size if k else LETTERS
        params |= {f"Wx{k}": weights(random, wide, 4 * size, fan=size),
                   f"Wh{k}": weights(random, size, 4 * size), f"b{k}": zeros(4 * size)}  # fmt: skip
    params |= {"Wy": weights(random, size, LETTERS), "by": zeros(LETTERS)}
    rows = B * WINDOW
    products = 3 * (2 * layers - 1) * size * 4 * size + 3 * size * LETTERS  # letters pick rows
    numbers = sum(a.size for a in params.values())
    moved = 4 * (numbers * 6 + rows * size * layers * 12)
    hyper = {"lr": 2e-3, "rho": 0.95, "eps": 1e-8, "L": layers, "H": size, "V": LETTERS,
             "T": WINDOW, "B": B, "S": 2}  # fmt: skip
    work = Work(name, "lstm", False, hyper, params, batches)
    return work, Least(2 * rows * products, moved, rows * size * layers * 5)


def autoencoder(name: str, B: int = 20, hidden: int = 500) -> tuple[Work, Least]:
    random = np.random.default_rng(4)
    batches: list[Batch] = [(x,) for x in minibatches(digits(50 * B)[0], B, 50)]
    params = {"W1": weights(random, 784, hidden), "b1": zeros(hidden),
              "W2": weights(random, hidden, 784), "b2": zeros(784)}  # fmt: skip
    numbers = 784 * hidden
    work = Work(name, "autoencoder", False, {"lr": 0.1, "B": B}, params, batches)
    return work, Least(10 * B * numbers, 4 * 7 * numbers, B * (hidden + 2 * 784))


def rbm(name: str, B: int = 20, hidden: int = 500) -> tuple[Work, Least]:
    random = np.random.default_rng(5)
    batches: list[Batch] = [(x,) for x in minibatches(digits(50 * B)[0], B, 50)]
    params = {"W": weights(random, 784, hidden) * np.float32(0.1), "a": zeros(784),
              "b": zeros(hidden)}  # fmt: skip
    numbers = 784 * hidden
    work = Work(name, "rbm", False, {"lr": 0.1, "B": B}, params, batches)
    return work, Least(10 * B * numbers, 4 * 5 * numbers, B * (2 * hidden + 784))


# ---- the table ---------------------------------------------------------------------------------

WORKLOADS = {
    "mlp_b1": Workload("MLP 784-300-10, batch 1", 0.50, lambda n: mlp(n, 1)),
    "mlp_b20": Workload("MLP 784-300-10, batch 20", 0.60, lambda n: mlp(n, 20)),
    "mlp_b100": Workload("MLP 784-300-10, batch 100", 0.60, lambda n: mlp(n, 100)),
    "lenet_b1": Workload("LeNet-5, batch 1", 0.45, lambda n: lenet(n, 1)),
    "lenet_b64": Workload("LeNet-5, batch 64", 0.55, lambda n: lenet(n, 64)),
    "autoencoder_b20": Workload("autoencoder 784-500-784, batch 20", 0.85, autoencoder),
    "rbm_b20": Workload("RBM 784-500, CD-1, batch 20", 0.80, rbm),
    "lstm_2x128": Workload("LSTM 2 x 128, 50 steps, batch 50", 1.00, lambda n: lstm(n, 2, 128)),
    "lstm_3x512": Workload("LSTM 3 x 512, 50 steps, batch 50", 1.00, lambda n: lstm(n, 3, 512)),
    "infer_mlp_b1": Workload("outputs of the MLP, batch 1", 0.75, lambda n: mlp(n, 1, True)),
    "infer_lenet_b1": Workload("outputs of LeNet-5, batch 1", 1.20, lambda n: lenet(n, 1, True)),
}
QUICK = ("mlp_b1", "mlp_b20", "lenet_b64", "rbm_b20", "infer_mlp_b1")
