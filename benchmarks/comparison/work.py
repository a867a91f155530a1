"""A workload as every program of the comparison gets it: the same batches, the same weights.

Imports NumPy alone: it is read by workers in the Pythons of the peers, which need not have dln.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
FIRST = 4
"""Steps whose losses are compared."""

Batch: TypeAlias = tuple[Array, ...]


@dataclass(frozen=True)
class Work:
    """One workload.

    `kind` names the network, `hyper` has its sizes and rates. `params` are the first weights, those
    of a layer as [in, out], `batches` the minibatches that are gone through in turn. Where `infer`,
    a call gives the outputs of a batch; otherwise it is a step of training.
    """

    name: str
    kind: str
    infer: bool
    hyper: dict[str, float]
    params: dict[str, Array]
    batches: list[Batch]

    def size(self, name: str) -> int:
        """A hyperparameter that is a whole number."""
        return int(self.hyper[name])


@dataclass(frozen=True)
class Running:
    """A workload made ready in some program.

    `call(batch)` does a step, or gives outputs, and may return before they are there; `value` waits
    for what it has returned and makes it a number, to be compared; `wait` waits for it alone. What
    `threads` tells is how many the program has chosen, None where it does not choose.
    """

    call: Callable[[int], Any]
    value: Callable[[Any], float] = float
    wait: Callable[[Any], object] = lambda handle: None
    threads: Callable[[], int | None] = lambda: None


def save(work: Work, path: Path) -> None:
    arrays: dict[str, Any] = {f"param {k}": v for k, v in work.params.items()}
    arrays |= {f"batch {i} {j}": a for i, b in enumerate(work.batches) for j, a in enumerate(b)}
    facts = {"name": work.name, "kind": work.kind, "infer": work.infer, "hyper": work.hyper}
    np.savez(path, facts=np.array(json.dumps(facts)), **arrays)


def load(path: Path) -> Work:
    held = np.load(path)
    batches: dict[int, list[Array]] = {}
    params = {}
    for key in held.files:
        words = key.split()
        if words[0] == "param":
            params[words[1]] = held[key]
        elif words[0] == "batch":
            batches.setdefault(int(words[1]), []).append(held[key])
    facts = json.loads(str(held["facts"]))
    return Work(**facts, params=params, batches=[tuple(b) for _, b in sorted(batches.items())])
