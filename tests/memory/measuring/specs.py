"""Specs that take much memory in one way each, with files of data of every kind."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

HEAD = """block layer(x[n]; m) -> y[m] {{
  param W[m, n] ~ normal(0, 0.01), b[m] = 0
  y = W @ x + b
}}
block net(x[{n}]) -> y[3] {{
  y = tanh(x -> layer({hidden})) -> layer(3)
}}
let N = net()
data d = {data} {{
  {fields}
  split fit 0.8, valid 0.2
}}
train s on d.fit batch {batch} for {epochs} epochs {{
  minimize cross_entropy(N(x), label) over N with {rule}
  watch e = sum(N(x)) on d.valid
}}
"""
RNN = """data d = synthetic("adding", 60, {count}) {{
  x[time, 2] = raw.x
  t = raw.t
}}
block elman(x[time, n]; m) -> h[time, m] {{
  param Wx[m, n] ~ glorot(n, m), Wh[m, m] ~ glorot(m, m), b[m] = 0
  scan t in time {{
    h[t] = tanh(Wx @ x[t] + Wh @ h[t-1] + b)
  }}
}}
let R = elman(50)
let o = dense(1)
train s on d batch 500 for 1 epoch {{
  minimize (o(last(R(x)))[0] - t)^2 over R, o with sgd(lr = 0.001)
}}
"""
TEXT = """data d = text("letters.txt.gz") {
  c[time]: class(V) = raw[:-1]
  next[time]: class(V) = raw[1:]
  set window = 20
}
block lm(c[time]: class(V)) -> y[time, V] {
  param W[V, V] ~ normal(0, 0.01)
  y = W[c]
}
let N = lm()
train s on d stream 50 for 1 epoch {
  minimize mean(time: cross_entropy(N(c), next)) over N with sgd(lr = 0.01)
}
"""


def net(
    data: str, n: int, fields: str = "x[{n}] = raw.x\n  label: class(3) = raw.label",
    hidden: int = 20, batch: object = 100, epochs: int = 1, rule: str = "sgd(lr = 0.01)",
) -> str:  # fmt: skip
    """A net of two layers on some data."""
    fields = fields.format(n=n)
    return HEAD.format(
        n=n, hidden=hidden, data=data, fields=fields, batch=batch, epochs=epochs, rule=rule
    )


IMAGES = "x[{n}] = raw.image / 255\n  label: class(3) = raw.label"
ROWS = "x[{n}] = raw[:{n}]\n  label: class(3) = raw[{n}]"
SPECS = {
    "idx": net('idx("bytes", "labels")', 400, IMAGES),
    "idx.gz": net('idx("bytesz", "labels")', 400, IMAGES),
    "idx of reals": net('idx("reals", "labels")', 400, IMAGES),
    "npz": net('npz("plain.npz")', 400),
    "npz, packed": net('npz("packed.npz")', 400),
    "csv": net('table("rows.csv")', 40, ROWS),
    "csv.gz": net('table("rowsz.csv")', 40, ROWS),
    "text.gz": TEXT,
    "generated": net('synthetic("gaussians", 3, 100, 20000)', 100),
    "large batch": net('synthetic("gaussians", 3, 20, 20000)', 20, hidden=300, batch=10000),
    "sequences": RNN.format(count=20000),
    "L-BFGS": net('synthetic("gaussians", 3, 1000, 500)', 1000, hidden=200, batch="all",
                  epochs=3, rule="lbfgs()"),
    "adam": net('synthetic("gaussians", 3, 1000, 500)', 1000, hidden=1500, rule="adam(lr = 0.01)"),
}  # fmt: skip
"""By what they take memory for."""
QUICK = ("idx", "L-BFGS")


def idx(array: np.ndarray) -> bytes:
    """A file of the format of the MNIST files."""
    kind = {"u1": 0x08, "f4": 0x0D}[array.dtype.str[1:]]
    head = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def written(folder: Path, names: Iterable[str] = SPECS, count: int = 8000) -> Path:
    """Some of the specs, with the files of data that they name."""
    rng = np.random.default_rng(1)
    x, label = rng.integers(0, 256, (count, 400), np.uint8), np.arange(count) % 3

    def rows() -> bytes:
        out = io.BytesIO()
        np.savetxt(out, np.column_stack([rng.random((count, 40)), label]), "%.3f", ",")
        return out.getvalue()

    def npz(save: Callable[..., None], values: np.ndarray) -> bytes:
        out = io.BytesIO()
        save(out, x=values, label=label)
        return out.getvalue()

    def letters() -> bytes:
        return "".join(rng.choice(list("abcdefgh \n"), 100 * count)).encode()

    makers: dict[str, Callable[[], bytes]] = {
        "bytes": lambda: idx(x),
        "labels": lambda: idx(label.astype(np.uint8)),
        "bytesz.gz": lambda: gzip.compress(idx(x), 1),
        "reals": lambda: idx(x.astype(np.float32)),
        "plain.npz": lambda: npz(np.savez, x / 255.0),
        "packed.npz": lambda: npz(np.savez_compressed, (x / 255).astype(np.float32)),
        "rows.csv": rows,
        "rowsz.csv.gz": lambda: gzip.compress(rows(), 1),
        "letters.txt.gz": lambda: gzip.compress(letters(), 1),
    }
    for name in names:
        (folder / f"{name}.dln").write_text(SPECS[name])
        for file, make in makers.items():
            if f'"{file.removesuffix(".gz")}"' in SPECS[name] or f'"{file}"' in SPECS[name]:
                (folder / file).write_bytes(make())
    return folder
