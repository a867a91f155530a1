"""An earlier run, what one that goes on from it may change, and what is refused with both values.

How long phases last may change, and what decides no number: tasks, checks, which phases are
trained. Whatever else differs would make it a run that nobody could repeat: E544.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.printing.terminal import plain
from dln.running import recording
from dln.runtime.checkpoint.rundir import Restored, RunDirectory
from dln.runtime.device.source_map import placed
from dln.runtime.training import facts, further
from dln.settings import Settings
from dln.spec import Compiled, Spec

FIXED = ("seed", "dtype", "shards", "backend", "limit")  # decide numbers from the first update on
SAID = {
    "dtype": "that of the spec",
    "shards": "those of the spec",
    "limit": "all examples",
    "threads": "those of the machine",
}
SHOWN = 3  # lines of a text that are shown


@dataclass(frozen=True)
class Earlier:
    """An earlier run: its directory, spec and settings as they are to be now, and the checkpoint
    to go on from. `notes` are what is to be said of the difference."""

    rundir: RunDirectory
    spec: str
    settings: Settings
    restored: Restored | None
    first: Settings
    first_spec: str
    notes: tuple[str, ...] = ()


def refuse_options(folder: str, first: Settings, given: Settings) -> None:
    """Raise `Fault` for options that a run that goes on cannot change."""
    found = [f"--{name} is {now}, was {SAID.get(name, 'none') if was is None else was}"
             for name, now, was in changed(FIXED, first, given)]  # fmt: skip
    found += [f"--data {name} is {path}, was {first.data.get(name, 'the file of the spec')}"
              for name, path in given.data.items() if first.data.get(name) != path]  # fmt: skip
    refuse(folder, "run", found, given, "start a new run without --resume", "E544")


def changed(names: Iterable[str], first: Settings, given: Settings) -> list[tuple[str, Any, Any]]:
    """Options that are given and are not as they were: name, now, before."""
    both = [(name, getattr(given, name), getattr(first, name)) for name in names]
    return [(name, now, was) for name, now, was in both if name in given.asked and now != was]


def refuse(
    folder: object, kind: str, found: list[str], given: Settings, anew: str, code: str
) -> None:
    """Raise `Fault` where something is found that a run, or a sweep, cannot go on with."""
    if given.resume and given.out and given.out != given.resume:
        found.append(f"--out {given.out}, but a {kind} goes on in its own directory")
    if found:
        raise Fault(
            f"{folder} cannot go on: {'; '.join(found)}", f"leave that out, or {anew}", code
        )


def joined(first: Settings, given: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings of a run that goes on, and what is to be said of them."""
    new = {k: now for k, now, _ in changed(("epochs", "phase", "slow", "threads"), first, given)}
    notes = []
    if "threads" in new:
        was = SAID["threads"] if first.threads is None else first.threads
        notes.append(f"threads: {new['threads']}, were {was}")
    if given.constants and "epochs" not in given.asked and first.epochs is not None:
        new["epochs"] = None
        notes.append(f"--epochs {first.epochs} of before no longer counts, the constants do")
    constants = {**first.constants, **given.constants}
    limit = given.memory_limit
    return replace(first, constants=constants, memory_limit=limit, **new), tuple(notes)


def refuse_spec(before: Earlier, spec: Spec, compiled: Compiled, phases: Sequence[str]) -> None:
    """Raise `DlnError` where the spec, as it is now, decides other numbers than the run had, or
    asks for more of a phase that others have come after."""
    restored, plan = before.restored, compiled.plan
    if restored is None:
        return
    if restored.meta.get("fingerprint") == plan.fingerprint:
        refuse_data(before, compiled)
        with placed(plan.texts):
            facts.refuse(plan, before.settings.seed, restored.arrays, restored.meta)
            further.refuse(plan.phases, restored.meta, phases, before.settings.epochs)
        return
    other = "a file that it uses, its data, or the version of dln is another"
    told = tuple(differences(before, spec)) or (other,)
    message = f"{before.rundir.path} cannot go on: it is a run of another spec, or other constants"
    remedy = f"start a new run: dln run {before.spec}"
    raise DlnError([Problem("E544", message, None, "", (), told, remedy)])


def refuse_data(before: Earlier, compiled: Compiled) -> None:
    """Raise `Fault` where a file of data holds something else than when the run began."""
    was: Mapping[str, Any] = before.rundir.manifest().get("data", {})
    for name, files in recording.data_hashes(compiled).items():
        for file, digest in files.items():
            if was.get(name, {}).get(file, digest) != digest:
                message = f"{before.rundir.path} cannot go on: {file} of {name} has been changed"
                remedy = "put back the file as it was, or start a new run"
                raise Fault(message, remedy, "E544")


def differences(before: Earlier, spec: Spec) -> Iterator[str]:
    """Constants with both values, and lines of the text with both readings."""
    was: Mapping[str, Any] = before.rundir.manifest()["constants"]
    now: Mapping[str, Any] = json.loads(json.dumps(plain(dict(spec.constants))))
    for name in {**was, **now}:
        if was.get(name) != now.get(name):
            yield f"{name} is {now.get(name, 'gone')}, was {was.get(name, 'not there')}"
    yield from changed_lines(before.rundir.spec_text(), spec.source.text)


def changed_lines(was: str, now: str) -> list[str]:
    """`line 9 is "...", was "..."`: the first lines that differ, and how many more do."""
    old, new = was.splitlines(), now.splitlines()
    found = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for i in range(max(b - a, d - c) if tag != "equal" else 0):
            before = f'"{old[a + i].strip()}"' if a + i < b else "not there"
            after = f'"{new[c + i].strip()}"' if c + i < d else "gone"
            found.append(f"line {min(c + i, max(d - 1, c)) + 1} is {after}, was {before}")
    more = len(found) - SHOWN
    lines = f"{more} more line{'s differ' if more > 1 else ' differs'}"
    return found[:SHOWN] + ([lines] if more > 0 else [])
