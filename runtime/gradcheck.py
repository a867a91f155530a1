"""Gradient check: a phase's gradients against central differences along random directions.

For a direction r (a unit vector over one parameter) the derivative of the loss along it is
<gradient, r>; it is compared with (f(p + h r) - f(p - h r)) / 2h for several h, in float64, and
the best agreement counts. Two neighbouring h also give a slope without the error in h^2
(Richardson 1911), so that a small slope can be measured at a large h, away from rounding. Where
the slopes on both sides differ however small h is, the loss has a kink there (relu, max), though
the mean of both may agree, as that of abs at 0: such directions are counted and skipped, as in
Caffe's checker. So are those along
which the loss is no number. A parameter without any other direction is not compared, and says why.
The relative error is |a - n| / max(|a|, |n|, 1e-6 f); that of a gradient that is no number is
infinite. Faults: E570 a phase without gradients, E571 a plan in single precision, E572 a phase that
stops gradients on purpose.

A gradient is that of the `minimize` lines which move the parameter, with what earlier steps have
left in the others; so is the loss that it is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import LeftValue, LineSpec, PhaseSpec, Program, ProgramKind, site_number
from dln.grammar.diagnostics import DlnError, Problem
from dln.runtime.device.kernels import normal
from dln.runtime.device.source_map import span_of
from dln.runtime.execution.executable import Bound
from dln.runtime.execution.store import joined, paths_of, put
from dln.runtime.session import Session
from dln.runtime.training.minibatches import Minibatches

STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
FLOOR = 1e-6  # slopes smaller than this share of the loss drown in its rounding
KINK = 1e-3  # slopes on both sides that differ by this share of the larger are a kink
KINKED, BEYOND = "at a kink", "no number on one side or both"  # directions not compared
Host = NDArray[Any]


@dataclass(frozen=True)
class Comparison:
    """The worst of the directions tried over one parameter; of `points`, `skipped` were kinks, and
    along `beyond` the loss was no number. `reason` says why nothing was compared, if so."""

    parameter: str
    analytic: float
    numeric: float
    error: float
    points: int
    skipped: int
    beyond: int = 0
    reason: str = ""


def gradcheck(
    session: Session, phase: str, points: int = 3, examples: int | None = None
) -> list[Comparison]:
    """Check every gradient of a phase on its first minibatch; the session is left as it was.

    `points` directions are tried for each parameter. `examples` takes fewer of the minibatch, but
    not of a stream. Raises `DlnError`: E570 for a phase without gradients, E571 unless the plan is
    compiled in float64, E572 where gradients are stopped on purpose.
    """
    spec = session.phase(phase)
    gradient = _gradient(session, spec)
    with np.errstate(all="ignore"):
        probe = _Probe(session, spec, gradient, examples)
        return [_check(probe, path, points) for path in probe.gradients]


def _gradient(session: Session, spec: PhaseSpec) -> Program:
    """The program of a phase's gradients. Raises `DlnError` where they cannot be checked."""
    program = session.plan.programs.find(ProgramKind.GRAD.of(spec.name))
    if program is None or not program.values:
        wrong = "E570", f"{spec.name} minimises nothing, so it has no gradients", ""
    elif spec.stops:
        message = f"{spec.name} stops gradients: they are not the slopes of its loss, on purpose"
        wrong = (
            "E572",
            message,
            "take stop(...) out, or the by of a scan, to compare them",
        )
    elif program.dtype != "float64":
        message = f"the gradients of {spec.name} are in {program.dtype}"
        wrong = "E571", message, "compile it with dtype float64 to check them"
    else:
        return program
    code, message, remedy = wrong
    span = span_of(session.plan.texts, spec.place)
    raise DlnError([Problem(code, message, span, remedy=remedy)])


class _Probe:
    """The losses of a phase on one minibatch as functions of its parameters.

    Works on copies. The losses are those of the program `loss:<phase>` where the plan has one, else
    what the step leaves: its value before the update.
    """

    def __init__(
        self, session: Session, spec: PhaseSpec, gradient: Program, examples: int | None
    ) -> None:
        self.session, self.spec = session, spec
        plan, device = session.plan, session.device
        loss = plan.programs.find(ProgramKind.LOSS.of(spec.name)) or plan.programs[spec.step]
        left = plan.programs.find(ProgramKind.LEFT.of(spec.name))
        self.lines = spec.lines or (LineSpec("loss", tuple(b.key for b in gradient.values)),)
        held, moved = session.state.store.params, {p for line in self.lines for p in line.moves}
        programs = [loss, gradient, *([] if left is None else [left])]
        used = {*(p for program in programs for p in paths_of(program)), *moved}
        self.start = {p: device.to_host(held[p]).astype(np.float64) for p in used}
        self.params = {p: device.array(a, "float64") for p, a in self.start.items()}
        self._first = session.programs.first_states(spec)
        self.states = session.state.store.placed(self._first, "float64")
        part = session.datasets.part(spec.data, spec.part, "float64")
        seed = session.programs.seed_of(spec.name)
        indices = Minibatches(spec, part, device, seed).indices(0)
        indices = indices if spec.order == "stream" else indices[:examples]  # a stream has its rows
        self.minibatch = {k: device.to_host(a) for k, a in part.fields(indices, 0.0).items()}
        self._loss = self._bound(loss)
        self.gradients = self._values(gradient)
        self.left = {} if left is None else self._values(left)

    def _bound(self, program: Program) -> tuple[Bound, list[float]]:
        programs = self.session.programs
        executable = programs.on(program, self.params, self.states, self.spec.name)
        bound = executable.at(len(next(iter(self.minibatch.values()))))
        for key, target in bound.inputs.items():
            put(programs.device, target, self.minibatch[key])
        return bound, programs.clocks(program)

    def _values(self, program: Program) -> dict[str, Host]:
        bound, clocks = self._bound(program)
        bound.run(*clocks)
        return self.session.programs.values(bound)

    def loss(self, path: str, shift: Host | float = 0.0) -> float:
        """The losses of the lines that move a parameter, added up, with the parameter shifted."""
        found, done = 0.0, dict[tuple[str, ...], Mapping[str, float]]()
        for number, line in enumerate(self.lines):
            if path not in line.moves:
                continue
            key = tuple(str(LeftValue(number, p)) for p in line.left)
            if key not in done:  # lines of the first step share one look
                done[key] = self._look(path, shift, dict(zip(line.left, key, strict=True)))
            found += done[key][str(line.value)]
        return found

    def _look(self, path: str, shift: Host | float, left: Mapping[str, str]) -> dict[str, float]:
        """All losses, with parameters as earlier steps have left them."""
        device = self.session.device
        for p, start in self.start.items():
            values = self.left[left[p]] if p in left else start
            put(device, self.params[p], values + shift if p == path else values)
        for p, state in self.states.items():
            put(device, state, self._first[p])
        bound, clocks = self._loss
        bound.run(*clocks)
        return {key: float(value) for key, value in bound.values.items() if not value.shape}


def _check(probe: _Probe, path: str, points: int) -> Comparison:
    if not isfinite(probe.loss(path)):
        return Comparison(path, nan, nan, 0.0, points, 0, points, "its loss is no number here")
    live = joined(probe.session.plan.params[path])
    directions = (_direction(probe.start[path], path, i, live) for i in range(points))
    found = [_along(probe, path, direction) for direction in directions]
    kept = [r for r in found if not isinstance(r, str)]
    skipped, beyond = found.count(KINKED), found.count(BEYOND)
    if not kept:
        why = KINKED if not beyond else BEYOND if not skipped else f"{KINKED}, or {BEYOND}"
        why = f"{why} in every direction"
        return Comparison(path, nan, nan, 0.0, points, skipped, beyond, why)
    return Comparison(path, *max(kept, key=lambda r: r[2]), points, skipped, beyond)


def _direction(like: Host, path: str, number: int, live: Host | None) -> Host:
    """A random unit vector of a parameter's shape, 0 at dead entries, the same at each check."""
    drawn = np.empty(max(like.size, 1))
    normal(drawn, number, site_number(f"gradcheck.{path}"), 0)
    if live is not None and live.any():
        drawn *= live.ravel()
    return (drawn / np.linalg.norm(drawn))[: like.size].reshape(like.shape)


def _along(probe: _Probe, path: str, direction: Host) -> tuple[float, float, float] | str:
    """Analytic and numeric slope with their relative error, or why there is nothing to compare."""
    start = probe.start[path]
    analytic = float(np.sum(probe.gradients[path] * direction))
    scale = max(1.0, float(np.sqrt(np.mean(start * start)))) if start.size else 1.0
    middle = probe.loss(path)
    level = max(abs(middle), 1e-3)
    best: tuple[float, float] | None = None
    coarse, kink = nan, False
    bends: list[float] = []
    for h in (scale * s for s in STEPS):
        ahead = (probe.loss(path, h * direction) - middle) / h
        behind = (middle - probe.loss(path, -h * direction)) / h
        central = (ahead + behind) / 2
        slopes = [central, central + (central - coarse) / 99]
        coarse = central  # with an h ten times as large, and so 100 times the error in h^2
        rounding = 8 * np.finfo(np.float64).eps * level / h
        bend = abs(ahead - behind)
        kink = bool(bend > KINK * max(abs(ahead), abs(behind)) + rounding)
        bends.append(bend if bend > 10 * rounding else 0.0)
        for numeric in filter(isfinite, slopes):
            error = abs(analytic - numeric) / max(abs(analytic), abs(numeric), FLOOR * level)
            error = error if isfinite(analytic) else inf
            if best is None or error < best[1]:
                best = (numeric, error)
    if best is None:
        return BEYOND
    # Sharp: slopes on both sides differ by as much at the smallest h as at larger ones. Where the
    # loss is smooth a tenth of h has a tenth of the difference, and rounding has ten times it.
    sharp = all(0.5 * wide < narrow < 2 * wide for wide, narrow in pairwise(bends[-3:]))
    kinked = (best[1] > KINK and kink) or sharp
    return KINKED if kinked and isfinite(analytic) else (analytic, *best)
