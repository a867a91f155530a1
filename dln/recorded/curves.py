"""Curves of what runs have watched: a panel for each watch, a curve for each run and phase.

Over epochs where every report is of another epoch, else over updates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dln.grammar.diagnostics import Fault
from dln.printing import pictures
from dln.printing.files import put
from dln.printing.pictures import Curve, Panel
from dln.recorded.recorded_run import LoggedReading, RecordedRun
from dln.runtime.execution import phase_result
from dln.runtime.execution.phase_result import PhaseResult

Report = LoggedReading | phase_result.Reading

MOST = 8  # panels of a picture
ENTRIES = 7  # numbers of a watch that have a curve: as many as there are colours
FILE = "curves.png"
POINTS = 1000  # of a curve, at most
LONG_ENOUGH = 1.0
"""Seconds of training from which on a picture, which takes about one, takes no longer than that."""


class Series(NamedTuple):
    """The reports of a watch, or of one of its numbers: of which run and phase."""

    run: str
    phase: str
    watch: str
    entry: str
    readings: Sequence[Report]


def series(runs: Sequence[RecordedRun]) -> list[Series]:
    """What has been reported at least twice."""
    names = short_names([run.path for run in runs])
    return [one for name, run in zip(names, runs, strict=True) for phase in run.phases.values()
            for one in of_history(phase.name, phase.history, name)]  # fmt: skip


def of_history(
    phase: str, history: Mapping[str, Sequence[Report]], run: str = ""
) -> Iterator[Series]:
    """What a phase has reported at least twice, as it is known while the run is at hand, too."""
    for watch, reports in history.items():
        for entry, readings in _entries(reports) if len(reports) > 1 else ():
            yield Series(run, phase, watch, entry, readings)


def _entries(readings: Sequence[Report]) -> Iterable[tuple[str, Sequence[Report]]]:
    """One for a number, several for a list of numbers."""
    if not isinstance(readings[0].value, list):
        return [("", readings)]
    count = min(ENTRIES, len(readings[0].value))
    return [(f"[{i}]", [LoggedReading(r.update, r.epoch, r.value[i]) for r in readings])
            for i in range(count)]  # fmt: skip


def short_names(paths: Sequence[Path]) -> list[str]:
    """Runs by the names of their folders, where these tell them apart."""
    short = [path.name or str(path) for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def axis_of(found: Sequence[Series]) -> str:
    """Epochs where they grow from report to report everywhere."""
    epochs = ([r.epoch for r in one.readings] for one in found)
    grow = all(all(a < b for a, b in zip(e, e[1:], strict=False)) for e in epochs)
    return "epoch" if grow else "update"


def panels(found: Sequence[Series]) -> list[Panel]:
    """A panel for each watch, by name; none where nothing was reported twice."""
    axis, made = axis_of(found), list[Panel]()
    for watch in dict.fromkeys(one.watch for one in found):
        mine = [one for one in found if one.watch == watch]
        apart = [len({getattr(one, part) for one in mine}) > 1 for part in Series._fields[:2]]
        curves = [c for one in mine if len((c := _curve(one, axis, apart)).x)]
        if curves:
            made.append(Panel(watch, axis, tuple(curves)))
    return made[:MOST]


def _curve(one: Series, axis: str, apart: Sequence[bool]) -> Curve:
    """The finite values of a watch, called by what tells it from the others of its panel."""
    points = [(getattr(r, axis), r.value) for r in one.readings if np.isfinite(r.value)]
    x, y = thinned(np.array(points, float).reshape(-1, 2)).T
    words = [w for w, said in zip((one.run, one.phase), apart, strict=True) if said]
    return Curve(" ".join([*words, one.entry]).strip() or one.watch, x, y, axis)


def thinned(points: NDArray[Any]) -> NDArray[Any]:
    """Of many points [n, 2] the smallest and the largest value of each stretch, in order: the same
    to the eye."""
    if len(points) <= POINTS:
        return points
    kept = set[int]()
    for stretch in np.array_split(np.arange(len(points)), POINTS // 2):
        kept |= {
            int(stretch[points[stretch, 1].argmin()]),
            int(stretch[points[stretch, 1].argmax()]),
        }
    return points[sorted(kept)]


def picture(found: Sequence[Series], kind: str) -> bytes | None:
    """The bytes of a .png, .svg or .pdf file; None where nothing was reported twice."""
    made = panels(found)
    return pictures.of_panels(made, kind) if made else None


def of_itself(
    results: Mapping[str, PhaseResult], folder: Path, asked: bool, say: Callable[[str], None]
) -> None:
    """Draw the curves of a run that has just ended into its folder, where that costs it little: it
    has trained for a while, or matplotlib is there already; or it was asked for.

    A run is none the worse for a picture that cannot be written: it is said.
    """
    found = [s for r in results.values() for s in of_history(r.name, r.history)]
    lasted = sum(r.seconds for r in results.values())
    cheap = lasted >= LONG_ENOUGH or pictures.at_hand()
    if not found or not (cheap or asked) or not pictures.available():
        return
    try:
        content = picture(found, Path(FILE).suffix)
        if content is not None:
            put(folder / FILE, content, "free some space")
    except (Fault, ImportError, ValueError, OSError) as error:
        say(f"{FILE} was not drawn: {getattr(error, 'message', error)}")
