"""What a phase leaves behind, and its numbers under the names by which programs ask for them.

Faults: E562 a number of a phase that has not run, or a report that it has not made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

from dln.compiler.plan import PhaseNumber
from dln.grammar.diagnostics import Fault

Watched: TypeAlias = Any
"""What a watch is: a number, or a list of numbers."""


def plain(value: Any) -> Watched:
    """A watched value as plain data, from an array or from plain data."""
    if isinstance(value, Sequence):
        return [float(v) for v in value]
    return value.astype(float).tolist() if getattr(value, "ndim", 0) else float(value)


class Reading(NamedTuple):
    """A watched value: after how many updates, how many epochs were done, what."""

    update: int
    epoch: int
    value: Watched


History = dict[str, list[Reading]]
"""All that watches have been, by name."""


def history_from(data: Mapping[str, Sequence[Sequence[Any]]]) -> History:
    """A history that was written as plain data."""
    return {k: [Reading(int(u), int(e), plain(v)) for u, e, v in r] for k, r in data.items()}


@dataclass
class PhaseResult:
    """A phase that has run, in so many `epochs`, `updates` and `seconds`. `watch` holds the last
    values of its watches, `history` all of them.

    `first` is the first minibatch by field [example, ...], `before` and `after` the parameters at
    both ends, by path: kept where the session was asked for them. `complete` says that the phase
    has come to its end. `shortened` says that fewer epochs or examples were used
    than the spec says, `ended` why a descent went no further. `best` are the watched values and
    counts when what checkpoints are kept by was smallest. `length` is how long it was to be
    (`Duration.facts`), `note` what a reader of the numbers should know. `threads` says how many the
    updates had, and why (`Governor.told`), where somebody chose; it is of this session alone.
    """

    name: str
    epochs: int = 0
    updates: int = 0
    seconds: float = 0.0
    watch: dict[str, Watched] = field(default_factory=dict)
    history: History = field(default_factory=dict)
    complete: bool = False
    shortened: bool = False
    ended: str = ""
    best: dict[str, Watched] = field(default_factory=dict)
    length: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    threads: dict[str, Any] = field(default_factory=dict)
    first: dict[str, NDArray[Any]] | None = None
    before: dict[str, NDArray[Any]] | None = None
    after: dict[str, NDArray[Any]] | None = None

    def facts(self) -> dict[str, Any]:
        """What a checkpoint holds: all but the arrays and the threads, as plain data."""
        apart = (*ARRAYS, "threads")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in apart}


ARRAYS = ("first", "before", "after")
"""The fields of a result that are arrays by name."""


def result_from(
    facts: Mapping[str, Any], kept: Mapping[str, dict[str, NDArray[Any]]]
) -> PhaseResult:
    """The result that `facts` described, with the arrays that were kept of it: `first`, `before`
    and `after`, each by name."""
    known = {f.name: facts[f.name] for f in fields(PhaseResult) if f.name in facts}
    return PhaseResult(**{**known, **kept, "history": history_from(facts["history"])})


def number_of(results: Mapping[str, PhaseResult], number: PhaseNumber) -> float:
    """The number called `sse.error`, `sse.seconds` or `curve.reach[10]`.

    Raises `Fault` E562 where that phase has not run, or has not come as far.
    """
    result, name = results.get(number.phase, PhaseResult("")), number.name
    counts = {"epochs": result.epochs, "updates": result.updates, "seconds": result.seconds}
    found: Watched | None = result.watch.get(name, counts.get(name))
    if number.best:
        found = result.best.get(name)
    elif number.at is not None:
        found = report_at(result.history.get(name, []), number.at)
    if number.phase in results and found is not None:
        return entry(found, number.entry)
    if number.at is not None and name in result.history:
        times = len(result.history[name])
        often = "once" if times == 1 else f"{times} times"
        message = f"there is no {number.spoken}: {result.name} has reported {name} {often}"
        raise Fault(message, f"{number.changed(at=0).spoken} is the first report", "E562")
    message = f'{number.spoken} is not known before the phase "{number.phase}" has run'
    raise Fault(message, "train it first", "E562")


def entry(value: Watched, at: int | None) -> float:
    """A number, or of several the one that is asked for."""
    return float(value) if not isinstance(value, list) else value[at or 0]


def report_at(rows: Sequence[Reading], at: int) -> Watched | None:
    """The value of report number `at`, or of so many before the latest where it is negative; None
    where there is no such report yet."""
    index = len(rows) - 1 + at if at < 0 else at
    return rows[index].value if 0 <= index < len(rows) else None
