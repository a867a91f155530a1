"""`emit plot(...)`: curves in one picture: vectors, and watches over epochs or updates.

Fault: E562 a watch of a phase that has not run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.artefacts.made import Made, npy
from dln.compiler.plan import EmitSpec, PartSpec, PhaseNumber
from dln.grammar.diagnostics import Fault
from dln.printing import pictures
from dln.printing.files import table
from dln.printing.pictures import Curve
from dln.runtime.session import Session


@dataclass(frozen=True)
class Plot(Made):
    """Curves, on a logarithmic scale or not."""

    curves: tuple[Curve, ...]
    log: bool = False

    def numbers(self, kind: str) -> bytes:
        """Rows: which, x, y. In .npy `which` is the curve's number, counted from 0."""
        if kind == ".npy":
            return npy(np.concatenate([
                np.stack([np.full(len(c.x), float(i)), c.x, c.y], axis=1)
                for i, c in enumerate(self.curves)
            ]))  # fmt: skip
        rows = [[c.label, x, y] for c in self.curves
                for x, y in zip(c.x.tolist(), c.y.tolist(), strict=True)]  # fmt: skip
        return table([["curve", "x", "y"], *rows])

    def picture(self, kind: str) -> bytes:
        return pictures.of_curves(self.curves, kind, self.log)


def made(
    session: Session, emit: EmitSpec, values: Mapping[str, NDArray[Any]], log: bool = False
) -> Plot:
    """A curve for each part, a vector among `values` or a watch, of which there is one for each of
    its numbers; over epochs where all of them are taken by epoch."""
    by_epoch = all(part.axis == "epoch" for part in emit.parts)
    found = (c for part in emit.parts for c in curves(session, part, values, by_epoch, emit.parts))
    return Plot(tuple(found), log)


def curves(
    session: Session, part: PartSpec, values: Mapping[str, Any], by_epoch: bool,
    beside: Sequence[PartSpec],
) -> list[Curve]:  # fmt: skip
    """A vector over its positions, or a watch over epochs or updates: from where the phases end
    that its own comes after, if the picture shows those too. Raises `Fault` if it has not run."""
    if not isinstance(part.value, PhaseNumber):
        y = values[part.key]
        return [Curve(part.label, np.arange(len(y)), y, part.axis)]
    watch = part.value
    result = session.results.get(watch.phase)
    if result is None or not result.history.get(watch.name):
        message = f'{watch} is not known before the phase "{watch.phase}" has run'
        raise Fault(message, "train it first", "E562")
    updates, epochs, y = map(np.array, zip(*result.history[watch.name], strict=True))
    beside_it = {p.value.phase for p in beside if isinstance(p.value, PhaseNumber)}
    start = began(session, watch.phase, beside_it & session.results.keys(), by_epoch)
    x, axis = (epochs, "epoch") if by_epoch else (updates, "update")
    if y.ndim == 1:
        return [Curve(part.label, x + start, y, axis, what=watch.name)]
    names = (f"{part.label}[{i}]" for i in range(y.shape[1]))
    return [Curve(name, x + start, each, axis, what=watch.name)
            for name, each in zip(names, y.T, strict=True)]  # fmt: skip


def began(session: Session, phase: str, shown: set[str], by_epoch: bool) -> int:
    """How many epochs or updates lie before a phase, in the phases shown that it comes after."""
    ends = []
    for name in shown.intersection(session.plan.phases[phase].after):
        result = session.results[name]
        length = result.epochs if by_epoch else result.updates
        ends.append(length + began(session, name, shown, by_epoch))
    return max(ends, default=0)
