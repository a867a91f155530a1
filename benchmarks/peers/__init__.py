"""The programs compared, each in its best idiomatic mode. One file, read by its workers alone.

A file has `make(work, variant, threads) -> Running`, `version()` and `DEALT`, which says how its
threads are spread over the cores (see `worker.pin`).
"""

from __future__ import annotations

from dataclasses import dataclass

DENSE = frozenset({"mlp", "autoencoder"})
NETS = DENSE | {"lenet", "lstm"}
ALL = NETS | {"rbm"}
CLASSIFIERS = frozenset({"mlp", "lenet"})


@dataclass(frozen=True)
class Program:
    """A row of the table: the file, a mode of it, the package that it needs, the networks that it
    trains and those whose outputs it gives. `ours` are not peers: dln, and NumPy by hand."""

    module: str
    variant: str
    package: str
    trains: frozenset[str] = frozenset()
    infers: frozenset[str] = CLASSIFIERS
    ours: bool = False

    def does(self, kind: str, infer: bool) -> bool:
        return kind in (self.infers if infer else self.trains)


PROGRAMS = {
    "dln": Program("by_dln", "loop", "dln", ALL, ours=True),
    "dln, from Python": Program("by_dln", "python", "dln", ALL, ours=True),
    "NumPy by hand": Program("by_numpy", "", "numpy", DENSE | {"rbm"}, frozenset({"mlp"}), True),
    "torch": Program("by_torch", "eager", "torch", ALL),
    "torch.compile": Program("by_torch", "compiled", "torch", ALL - {"lstm"}),
    "JAX": Program("by_jax", "", "jax", ALL),
    "TensorFlow": Program("by_tensorflow", "function", "tensorflow", ALL),
    "TensorFlow XLA": Program("by_tensorflow", "xla", "tensorflow", ALL),
    "PyTensor": Program("by_pytensor", "", "pytensor", ALL - {"lenet"}, frozenset({"mlp"})),
    "onnxruntime": Program("by_onnxruntime", "", "onnxruntime"),
}
"""In the order of the tables. What a peer lacks of a network is told in benchmarks/README.md."""
