"""A recorded run trained once more, in memory, with the hashes of what it is on its way.

What a log tells of lengths, places and interruptions says how: a run that went on as it was is one
stretch, for it has the bits of an unbroken one; where it went on for longer, or with other threads,
a stretch ends and the next begins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dln.printing.terminal import plain
from dln.running.evidence import Records
from dln.running.training import opened
from dln.runtime.checkpoint.rundir import Restored, RunDirectory
from dln.runtime.session import Session
from dln.runtime.training.phase_trainer import Interrupted
from dln.settings import Settings
from dln.spec import Compiled

Moment = tuple[str, int, bool]


def moment_of(record: Mapping[str, Any]) -> Moment:
    """Where a checkpoint was written: phase, update, whether the phase had come to its end."""
    return str(record["phase"]), int(record["update"]), bool(record["complete"])


@dataclass
class TrainedStretch:
    """Phases trained in one go: their lengths (`Duration.facts`), with so many threads. It ends
    with the last of them, or after the update `stop` of that."""

    threads: int | None
    lengths: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    stop: int | None = None


def stretches(records: Records) -> list[TrainedStretch]:
    """How to train a recorded run again."""
    found: list[TrainedStretch] = []
    threads: int | None = None
    ended = set[str]()
    last = ""
    for record in records:
        event, phase = record.get("event"), str(record.get("phase", ""))
        if event == "run":
            threads = record["threads"]
        elif event == "end" or (event == "checkpoint" and record["complete"]):
            ended.add(phase)
        elif event == "start":
            length = record["length"]
            same = bool(found) and found[-1].threads == threads
            same &= phase != last or found[-1].lengths[phase] == length
            same &= not found or {v["epochs"] for v in found[-1].lengths.values()} == {
                length["epochs"]
            }
            if not same:
                if found and phase == last and phase not in ended:
                    found[-1].stop = int(record["update"])
                found.append(TrainedStretch(threads))
            found[-1].lengths[phase] = length
            ended.discard(phase)
            last = phase
    if found and last not in ended:
        at = [r.get("update", 0) for r in records if r.get("phase") == last]
        found[-1].stop = max(at)
    return [s for s in found if s.lengths]


class Replay(RunDirectory):
    """Takes the place of a run directory, and writes nothing.

    It asks for checkpoints after the updates of `wanted`, by phase, and ends where `most` updates
    are done; the contents of those at the places `held` are kept.
    """

    def __init__(
        self, wanted: Mapping[str, Iterable[int]], held: Iterable[Moment], most: int | None
    ) -> None:
        super().__init__(Path(os.devnull))
        self.wanted = {phase: set(updates) for phase, updates in wanted.items()}
        self.held, self.most = set(held), most
        self.logged: list[dict[str, Any]] = []
        self.saved: dict[Moment, tuple[dict[str, NDArray[Any]], dict[str, Any]]] = {}
        self.latest: Restored | None = None
        self.end: tuple[str, int] | None = None
        self.done: dict[str, int] = {}
        self.reached = False

    def is_set(self) -> bool:
        """Whether to stop: where the stretch, or the whole replay, ends."""
        return self.reached

    @property
    def full(self) -> bool:
        """Whether so many updates are done as were asked for."""
        return self.most is not None and sum(self.done.values()) >= self.most

    @property
    def over(self) -> bool:
        """Whether the run was trained to its end."""
        return not self.reached

    def asked_after(self, phase: str, update: int) -> int | None:
        others = sum(n for name, n in self.done.items() if name != phase)
        ends = [] if self.most is None else [max(1, self.most - others)]
        ends += [self.end[1]] if self.end is not None and self.end[0] == phase else []
        return min((n for n in [*ends, *self.wanted.get(phase, ())] if n > update), default=None)

    def log(self, **record: object) -> None:
        self.logged.append(json.loads(json.dumps(plain(record))))

    def table(self, columns: object) -> None:
        """None is kept."""

    def go_on_from(self, path: object, keep: object) -> None:
        """What was logged stays: it is looked for by its place."""

    def save(
        self, update: int, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, object],
        best: bool = False, record: Mapping[str, Any] | None = None,
    ) -> Path:  # fmt: skip
        assert record is not None
        self.log(**record)
        facts = json.loads(json.dumps(plain(meta)))
        self.latest = Restored(self.path, dict(arrays), facts)
        phase, at, complete = place = moment_of(record)
        if place in self.held:
            self.saved[place] = (dict(arrays), facts)
        self.done[phase] = at
        self.reached |= not complete and ((phase, at) == self.end or self.full)
        return self.path


def replayed(
    compiled: Compiled,
    given: Settings,
    plans: Sequence[TrainedStretch],
    replay: Replay,
    records: Records,
    begin: Callable[[Session], None] = lambda _: None,
) -> Session | None:
    """Train the stretches in order, each session made ready by `begin`; the session at the end.
    Raises what training does."""
    session = None
    for stretch in plans:
        if replay.full:
            break
        if stretch.stop == 0:
            stretch = replace(stretch, lengths=dict(list(stretch.lengths.items())[:-1]), stop=None)
        if not stretch.lengths:
            continue
        names = tuple(stretch.lengths)
        replay.end = None if stretch.stop is None else (names[-1], stretch.stop)
        replay.reached = False
        lasting = lengthened(compiled, stretch, records).changed(threads=stretch.threads)
        session = opened(lasting, given.seed)
        begin(session)
        epochs = stretch.lengths[names[-1]]["epochs"]
        try:
            session.train(names, epochs=epochs, limit=given.limit, rundir=replay, stop=replay,
                          resume=replay.latest)  # fmt: skip
        except Interrupted:
            continue
    return session


def lengthened(compiled: Compiled, stretch: TrainedStretch, records: Records) -> Compiled:
    """The plan with phases as long as they were: what ended by time, by its updates."""
    phases = dict(compiled.plan.phases)
    for name, length in stretch.lengths.items():
        duration = int(length["count"]), str(length["unit"])
        if duration[1] == "second":
            ends = [r["updates"] for r in records if r["event"] == "end" and r["phase"] == name]
            duration = (ends[-1] if ends else 1 << 62), "update"
        phases[name] = phases[name].changed(duration=duration)
    return compiled.changed(plan=compiled.plan.changed(phases=phases))
