"""An earlier run, what one that goes on from it may change, and what is refused with both values.

How long phases last may change, and what decides no number: tasks, checks, which phases are
trained. Whatever else differs would make it a run that nobody could repeat: E544.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.printing.terminal import plain
from dln.runtime.checkpoint.rundir import Restored, RunDirectory
from dln.runtime.device.source_map import placed
from dln.runtime.training import further
from dln.settings import Settings
from dln.spec import Compiled, Spec

FIXED = ("seed", "dtype", "backend", "limit")
"""Options that decide numbers from the first update on."""
SAID = {"dtype": "that of the spec", "limit": "all examples", "threads": "those of the machine"}
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
    found = list(_options(first, given))
    if given.resume and given.out and given.out != given.resume:
        found.append(f"--out {given.out}, but a run goes on in its own directory")
    if found:
        message = f"{folder} cannot go on: " + "; ".join(found)
        raise Fault(message, "leave that out, or start a new run without --resume", "E544")


def _options(first: Settings, given: Settings) -> Iterator[str]:
    for name in FIXED:
        was, now = getattr(first, name), getattr(given, name)
        if name in given.asked and was != now:
            yield f"--{name} is {now}, was {SAID.get(name, 'none') if was is None else was}"
    for name, path in given.data.items():
        if first.data.get(name) != path:
            was = first.data.get(name, "the file of the spec")
            yield f"--data {name} is {path}, was {was}"


def joined(first: Settings, given: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings of a run that goes on, and what is to be said of them."""
    changed = {k: getattr(given, k) for k in ("epochs", "phase", "slow", "threads")}
    changed = {k: v for k, v in changed.items() if k in given.asked}
    notes = []
    if "threads" in changed and changed["threads"] != first.threads:
        was = SAID["threads"] if first.threads is None else first.threads
        said = f"threads: {changed['threads']}, were {was}"
        notes.append(f"{said}; the last bits of large products may differ")
    if given.constants and "epochs" not in given.asked and first.epochs is not None:
        changed["epochs"] = None
        notes.append(f"--epochs {first.epochs} of before no longer counts, the constants do")
    constants = {**first.constants, **given.constants}
    return replace(first, constants=constants, **changed), tuple(notes)


def refuse_spec(before: Earlier, spec: Spec, compiled: Compiled, phases: Sequence[str]) -> None:
    """Raise `DlnError` where the spec, as it is now, decides other numbers than the run had, or
    asks for more of a phase that others have come after."""
    restored, plan = before.restored, compiled.plan
    if restored is None:
        return
    if restored.meta.get("fingerprint") == plan.fingerprint:
        with placed(plan.texts):
            further.refuse(plan.phases, restored.meta, phases, before.settings.epochs)
        return
    facts = tuple(differences(before, spec)) or (
        "a file that it uses, its data, or the version of dln is another",
    )
    message = f"{before.rundir.path} cannot go on: it is a run of another spec, or other constants"
    remedy = f"start a new run: dln run {before.spec}"
    raise DlnError([Problem("E544", message, None, "", (), facts, remedy)])


def differences(before: Earlier, spec: Spec) -> Iterator[str]:
    """Constants with both values, and lines of the text with both readings."""
    was: Mapping[str, Any] = before.rundir.manifest()["constants"]
    now: Mapping[str, Any] = json.loads(json.dumps(plain(dict(spec.constants))))
    for name in [*was, *(k for k in now if k not in was)]:
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
