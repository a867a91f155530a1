"""`dln results`: run the recipes of the specs, keep what they measured, write the table.

Each spec runs in a process of its own, several side by side. What was measured is kept in one file
for each spec beside the table, so a figure that took hours stays until it is measured again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import DlnError, Fault, Problem, nearest
from dln.printing.files import put, spared
from dln.printing.terminal import Terminal, plural, present
from dln.reading.facts import facts_of, remarks_of
from dln.reading.mentions import seeds
from dln.results import published, records
from dln.results.page import Known, document, is_page
from dln.results.published import About
from dln.results.records import Measurements
from dln.results.taking import Taken, taken
from dln.running import processes
from dln.running.expectations import waiting
from dln.runtime.interrupts import terminable
from dln.settings import Settings
from dln.spec import LIBRARIES, from_source, lecture, read, specs_folder
from dln.sweep.workers import cores


def results(
    terminal: Terminal, given: Settings, asked: Sequence[str], *, folder: str | None, to: str,
    table: bool, take: Sequence[str], force: bool,
) -> int:  # fmt: skip
    """Run the specs of a folder, or take the figures of directories, record, and write the table:
    the records of docs/results.md are in docs/results. 1 if something failed, 130 if interrupted.
    Raises `DlnError` E010 for a spec that there is not, `Fault` E611 for a file that is there and
    no such page."""
    spared(Path(to), force=force or is_page(Path(to)))
    paths = found_specs(folder)
    for name in asked:
        if name not in paths:
            near = nearest(Path(name).stem, paths)
            remedy = near or ("" if folder else "dln, which lists the shipped specs")
            raise DlnError([Problem("E010", f"no such spec: {name}", remedy=remedy)])
    names = list(asked) or list(paths)
    about = published.about(specs_folder() if folder is None else Path(folder))
    known = {name: known_of(path) for name, path in paths.items()}
    keeper = Keeper(terminal, Path(to).with_suffix(""), known, given)
    with terminable():
        interrupted = False
        try:
            if take:
                names = [keeper.take(Path(p)) for p in take]
            elif not table:
                _all(keeper, {name: str(paths[name]) for name in names})
        except KeyboardInterrupt:
            interrupted = True
        return _closing(keeper, about, to, names, interrupted)


def found_specs(folder: str | None) -> dict[str, Path]:
    """The specs of a folder, or those of the lecture in its order. Raises `DlnError` E010
    where there are none."""
    if folder is None:
        found = {name: path for name, path in lecture().items() if name not in LIBRARIES}
    else:
        found = {p.stem: p for p in Path(folder).glob("*.dln")}
    if not found:
        raise DlnError([Problem("E010", f"there are no specs in {folder}")])
    return dict(sorted(found.items(), key=lambda item: facts_of(item[1]).order))


def known_of(path: Path) -> Known:
    """What the text of a spec says: its facts, its digest, its expectations, its sweeps."""
    try:
        spec = from_source(read(path), path.stem, functions=False)
    except DlnError as error:
        return Known(facts_of(path), "", [], {}, f"it cannot be read: {error.problems[0].message}")
    why = {True: "slow: needs --slow", False: "not run yet"}
    figures = [{"check": c.text, **waiting(c.text, e, why[c.slow]).as_data(),
                "seconds": 0.0, "run": None}
               for c in spec.model.checks for e in c.expects]  # fmt: skip
    turned = {name: spec.constants.get(name) for name in sorted(seeds(spec.syntax))}
    sweeps = {name: [dict(run) for run in s.runs] for name, s in spec.model.sweeps.items()}
    return Known(facts_of(path), records.digest(spec.syntax), figures, sweeps,
                 seeds=turned, remarks=remarks_of(spec.source.text))  # fmt: skip


# ---- running -----------------------------------------------------------------------------------


def _all(keeper: Keeper, paths: Mapping[str, str]) -> None:
    """The runs side by side, those that took longest first, what was never run before all; then,
    with --slow, the sweeps, each with as many runs side by side."""
    given, terminal = keeper.given, keeper.terminal
    jobs = min(given.jobs or cores(), len(paths))
    took = {n: [r["seconds"] for r in records.read(keeper.folder, n).runs] for n in paths}
    runs = sorted(paths, key=lambda name: -max(took[name], default=inf))
    terminal.say(f"{plural(len(runs), 'spec')}, {jobs} side by side: {', '.join(runs)}")
    silent = ("--json", "--quiet")
    commands = [(n, ["run", paths[n], *silent, *words(given, jobs)]) for n in runs]
    for done in processes.side_by_side(commands, jobs):
        keeper.measured(done)
    side = ["--jobs", str(given.jobs or cores())]
    for name in runs if given.slow else ():
        if keeper.known[name].sweeps:
            terminal.say(f"{name}: its sweeps")
            command = ["sweep", paths[name], *silent, *side, *words(given, 1)]
            for done in processes.side_by_side([(name, command)], 1):
                keeper.measured(done)


def words(given: Settings, jobs: int) -> list[str]:
    """The options of each command; one thread each where several are at work."""
    threads = given.threads or (1 if jobs > 1 else None)
    options = {"--backend": given.backend, "--dtype": given.dtype, "--threads": threads,
               "--shards": given.shards, "--seed": given.seed}  # fmt: skip
    found = [w for k, v in options.items() if v is not None for w in (k, str(v))]
    return [*found, "--slow"] if given.slow else found


@dataclass(frozen=True)
class Keeper:
    """Keeps in `folder` what was measured of the specs that are known."""

    terminal: Terminal
    folder: Path
    known: Mapping[str, Known]
    given: Settings

    def measured(self, done: processes.Finished) -> None:
        """Keep the figures of a command, or why it gave none."""
        found, given = printed(done), self.given
        if "problems" not in found and done.code != 130:
            run = records.provenance(self.known[done.key].digest, given.seed, done.seconds,
                                     given.backend, "--slow" if given.slow else "")  # fmt: skip
            [(kind, data)] = found.items()
            self.keep(Taken(done.key, kind, data, run), f"{done.seconds:.0f} s")
            return
        record = records.read(self.folder, done.key)
        record.problem = problem_of(found, done)
        self.terminal.say(f"{done.key}: {record.problem}")
        self._save(record)

    def take(self, folder: Path) -> str:
        """The figures of a run directory, or of a sweep's, as if they had been measured now; the
        name of the spec. Raises `Fault` E541 for one of a spec that is not known."""
        found = taken(folder)
        if found.spec not in self.known:
            message = f"{folder} is a run of {found.spec}, which is not among the specs"
            raise Fault(message, code="E541")
        self.keep(found, f"from {folder}")
        return found.spec

    def keep(self, found: Taken, how: str) -> None:
        """Put what a run or a sweep has measured into its record; say how misses have changed."""
        record, data = records.read(self.folder, found.spec), found.data
        if found.kind == "run":
            changed = record.changes(data) if record.figures else []
            record.take_run(data, found.run)
        else:
            changed = [c for name, some in data["sweeps"].items() if name in record.sweeps
                       for r in some for c in record.changes(r, name)]  # fmt: skip
            record.take_sweeps(data, found.run)
        self._save(record)
        for said in (f"{tally(data)}, {how}", *changed):
            self.terminal.say(f"{found.spec}: {said}")

    def _save(self, record: Measurements) -> None:
        record.only(self.known[record.spec].sweeps)
        records.save(self.folder, record)


def printed(done: processes.Finished) -> dict[str, Any]:
    """The object that a command printed, under `run` or `sweep`, or its `problems`."""
    data = {}
    with suppress(ValueError):
        data = json.loads(done.out)
    for key, sign in (("run", "checks"), ("sweep", "sweeps")):
        if sign in data:
            return {key: data}
    return {"problems": data.get("problems", [])}


def problem_of(found: Mapping[str, Any], done: processes.Finished) -> str:
    """Why a command gave no figures, in a line."""
    if done.code == 130:
        return "the last run was interrupted"
    said = [p["message"] for p in found["problems"]]
    lines = done.err.strip().splitlines() or [f"exit code {done.code}"]
    return f"the last run failed: {said[0] if said else lines[-1][:200]}"


def tally(found: Mapping[str, Any]) -> str:
    """`4 of 5 passed`, of a run or of all rows of a sweep."""
    rows = [r for some in found.get("sweeps", {}).values() for r in some]
    checks = [c for r in rows or [found] for c in r.get("checks", ())]
    return f"{sum(c['status'] == 'passed' for c in checks)} of {len(checks)} passed"


# ---- what came out -----------------------------------------------------------------------------


def _closing(keeper: Keeper, about: About, to: str, names: Sequence[str], interrupted: bool) -> int:
    """Write the table; the exit code."""
    terminal, known = keeper.terminal, keeper.known
    found = {name: records.read(keeper.folder, name) for name in {*known, *about.specs}}
    put(Path(to), document(known, found, about).encode(), records.ELSEWHERE)
    missed = [n for n in names if _failed(found[n]) or known[n].problem]
    terminal.result(f"{to}: {plural(len(known), 'spec')}")
    if missed:
        terminal.result("missed or failed: " + ", ".join(missed))
    data = {n: found[n].as_data() for n in names if found[n].figures or found[n].problem}
    terminal.data({"table": to, "specs": data, "failed": missed,
                   **present(interrupted=interrupted)})  # fmt: skip
    if interrupted:
        terminal.say("interrupted; what was finished is kept")
        return 130
    return 1 if missed else 0


def _failed(record: Measurements) -> bool:
    checks = [*record.figures, *(c for r in record.rows for c in r["checks"])]
    broken = record.problem or any("problem" in r for r in record.rows)
    return bool(broken) or any(c["status"] == "failed" for c in checks)
