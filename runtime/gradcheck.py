"""Gradient check: a phase's gradients against central differences along random directions.

For a direction r (a unit vector over one parameter) the derivative of the loss along it is
<gradient, r>; it is compared with (f(p + h r) - f(p - h r)) / 2h for several h, in float64, and
the best agreement counts. Two neighbouring h also give a slope without the error in h^2
(Richardson 1911), so that a small slope can be measured at a large h, away from rounding. Where
none agrees and the slopes on both sides differ however small h is, the loss has a kink there
(relu, max): such directions are counted and skipped, as in Caffe's checker. The relative error is
|a - n| / max(|a|, |n|, 1e-6 f). Faults: E570 a phase without gradients, E571 a plan in single
precision, E572 a phase that stops gradients on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import PhaseSpec, Plan, site_number
from dln.grammar.diagnostics import DlnError, Problem
from dln.runtime.batches import Batches
from dln.runtime.executable import Bound, Executable
from dln.runtime.helpers import normal
from dln.runtime.places import span_of
from dln.runtime.programs import joined, paths_of, put
from dln.runtime.session import Session

STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
FLOOR = 1e-6  # slopes smaller than this share of the loss drown in its rounding
KINK = 1e-3  # slopes on both sides that differ by this share of the larger are a kink
Host = NDArray[Any]


@dataclass(frozen=True)
class Row:
    """The worst of the directions tried over one parameter; `skipped` of `points` were kinks."""

    parameter: str
    analytic: float
    numeric: float
    error: float
    points: int
    skipped: int


def gradcheck(
    session: Session, phase: str, points: int = 3, examples: int | None = None
) -> list[Row]:
    """Check every gradient of a phase on its first minibatch; the session is left as it was.

    The plan must be compiled in float64. `examples` takes fewer of the minibatch,
    but not of a stream.
    """
    spec = session.phase(phase)
    _refuse(session.plan, spec)
    with np.errstate(over="ignore", invalid="ignore"):
        probe = _Probe(session, spec, examples)
        return [_check(probe, path, points) for path in probe.gradients]


def _refuse(plan: Plan, spec: PhaseSpec) -> None:
    name = f"grad:{spec.name}"
    span = span_of(plan.texts, spec.place)
    if name not in plan.programs or not plan.programs[name].values:
        message = f"{spec.name} minimises nothing, so it has no gradients"
        raise DlnError([Problem("E570", message, span)])
    if spec.stops:
        message = f"{spec.name} stops gradients: they are not the slopes of its loss, on purpose"
        remedy = "take stop(...) out to compare them with differences"
        raise DlnError([Problem("E572", message, span, remedy=remedy)])
    if plan.programs[name].dtype != "float64":
        message = f"the gradients of {spec.name} are in {plan.programs[name].dtype}"
        remedy = "compile it with dtype float64 to check them"
        raise DlnError([Problem("E571", message, span, remedy=remedy)])


class _Probe:
    """The loss of a phase on one minibatch as a function of its parameters.

    Works on copies. The loss is that of the program `loss:<phase>` where the plan has one, else
    what the step leaves: its value before the update.
    """

    def __init__(self, session: Session, spec: PhaseSpec, examples: int | None) -> None:
        self.session, self.spec = session, spec
        plan, device = session.plan, session.device
        name = f"loss:{spec.name}" if f"loss:{spec.name}" in plan.programs else spec.step
        used = {*paths_of(plan.programs[name]), *paths_of(plan.programs[f"grad:{spec.name}"])}
        held = session.programs.params
        self.start = {p: device.to_host(held[p]).astype(np.float64) for p in used}
        self.params = {p: device.array(a, "float64") for p, a in self.start.items()}
        self._first = {p: np.zeros(shape) for p, shape in spec.states.items()}
        if spec.kept:
            first = session.programs.run(f"states:{spec.name}", spec.name, spec.rows or 1)
            self._first |= first
        kinds = {p: str(a.dtype) for p, a in self._first.items()}
        self.states = {p: device.array(a, kinds[p]) for p, a in self._first.items()}
        self.minibatch = _minibatch(session, spec, examples)
        self._loss = self._bound(name)
        bound, clocks = self._bound(f"grad:{spec.name}")
        bound.run(*clocks)
        self.gradients = session.programs.values(bound)

    def _bound(self, name: str) -> tuple[Bound, list[float]]:
        plan, device = self.session.plan, self.session.device
        seed = self.session.programs.seed_of(self.spec.name)
        program = plan.programs[name]
        wholes = self.session.programs.wholes(program)
        executable = Executable(program, device, self.params, self.states, seed, wholes)
        bound = executable.at(len(next(iter(self.minibatch.values()))))
        for key, target in bound.inputs.items():
            put(device, target, self.minibatch[key])
        return bound, self.session.programs.clocks(program)

    def loss(self, path: str, values: Host) -> float:
        """The loss with other values of one parameter."""
        for p, start in self.start.items():
            put(self.session.device, self.params[p], values if p == path else start)
        for p, state in self.states.items():
            put(self.session.device, state, self._first[p])
        bound, clocks = self._loss
        bound.run(*clocks)
        return float(bound.values["loss"])


def _minibatch(session: Session, spec: PhaseSpec, examples: int | None) -> Mapping[str, Host]:
    part = session.datasets.part(spec.data, spec.part, "float64")
    seed = session.programs.seed_of(spec.name)
    indices = Batches(spec, part, session.device, seed).indices(0)
    indices = indices if spec.order == "stream" else indices[:examples]  # a stream has its rows
    return {k: session.device.to_host(a) for k, a in part.fields(indices, 0.0).items()}


def _check(probe: _Probe, path: str, points: int) -> Row:
    live = joined(probe.session.plan.params[path])
    directions = (_direction(probe.start[path], path, i, live) for i in range(points))
    rows = [_along(probe, path, direction) for direction in directions]
    kept = [r for r in rows if r is not None]
    skipped = points - len(kept)
    if not kept:
        return Row(path, float("nan"), float("nan"), 0.0, points, skipped)
    analytic, numeric, error = max(kept, key=lambda r: r[2])
    return Row(path, analytic, numeric, error, points, skipped)


def _direction(like: Host, path: str, number: int, live: Host | None) -> Host:
    """A random unit vector of a parameter's shape, 0 at dead entries, the same at each check."""
    drawn = np.empty(max(like.size, 1))
    normal(drawn, number, site_number(f"gradcheck.{path}"), 0)
    if live is not None and live.any():
        drawn *= live.ravel()
    return (drawn / np.linalg.norm(drawn))[: like.size].reshape(like.shape)


def _along(probe: _Probe, path: str, direction: Host) -> tuple[float, float, float] | None:
    """Analytic and numeric slope with their relative error; None at a kink."""
    start = probe.start[path]
    analytic = float(np.sum(probe.gradients[path] * direction))
    scale = max(1.0, float(np.sqrt(np.mean(start * start)))) if start.size else 1.0
    middle = probe.loss(path, start)
    level = max(abs(middle), 1e-3)
    best: tuple[float, float] | None = None
    coarse: float | None = None
    kink = False
    for h in (scale * s for s in STEPS):
        ahead = (probe.loss(path, start + h * direction) - middle) / h
        behind = (middle - probe.loss(path, start - h * direction)) / h
        central = (ahead + behind) / 2
        slopes = [central] if coarse is None else [central, central + (central - coarse) / 99]
        coarse = central  # with an h ten times as large, and so 100 times the error in h^2
        rounding = 8 * np.finfo(np.float64).eps * level / h
        kink = bool(abs(ahead - behind) > KINK * max(abs(ahead), abs(behind)) + rounding)
        for numeric in slopes:
            error = abs(analytic - numeric) / max(abs(analytic), abs(numeric), FLOOR * level)
            if best is None or error < best[1]:
                best = (numeric, error)
    assert best is not None
    return None if best[1] > KINK and kink else (analytic, *best)
