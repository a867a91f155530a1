"""`dln results`: run the recipes of the specs, keep what they measured, write the table.

Each spec runs in a process of its own, several side by side. What was measured is kept in one file
for each spec beside the table, so a figure that took hours stays until it is measured again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import DlnError, Fault, Problem, nearest
from dln.printing.files import put
from dln.printing.terminal import Terminal, plural
from dln.reading.facts import facts_of, remarks_of
from dln.reading.mentions import seeds
from dln.results import published, records
from dln.results.page import Known, document
from dln.results.published import About
from dln.results.records import Record
from dln.results.taking import Taken, taken
from dln.running import processes
from dln.running.expectations import Worker
from dln.running.interrupts import terminable
from dln.settings import Settings
from dln.spec import LIBRARIES, from_source, read, shipped, specs_folder
from dln.sweep.workers import cores


@dataclass(frozen=True)
class Wanted:
    """What `dln results` is asked for, beside the settings that its runs are given."""

    names: tuple[str, ...]
    specs: str | None
    to: str
    table: bool
    taken: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where the records are: docs/results for the table docs/results.md."""
        return Path(self.to).with_suffix("")


def results(terminal: Terminal, wanted: Wanted, given: Settings) -> int:
    """Run, record, and write the table; 1 if something failed, 130 if interrupted."""
    paths = found_specs(wanted.specs)
    names = _chosen(wanted.names, paths)
    about = published.about(specs_folder() if wanted.specs is None else Path(wanted.specs))
    known = {name: known_of(path) for name, path in paths.items()}
    with terminable() as interrupted:
        if wanted.taken:
            names = [_take(terminal, known, wanted, Path(p)) for p in wanted.taken]
        elif not wanted.table:
            _all(terminal, {n: known[n] for n in names}, paths, wanted, given)
    return _closing(terminal, known, about, wanted, names, interrupted.is_set())


def found_specs(folder: str | None) -> dict[str, Path]:
    """The specs of a folder, or those shipped, in the order of the lecture."""
    found = shipped() if folder is None else {p.stem: p for p in Path(folder).glob("*.dln")}
    if not found:
        raise DlnError([Problem("E010", f"there are no specs in {folder}")])
    libraries = LIBRARIES if folder is None else ()
    order = sorted((facts_of(p).order, n) for n, p in found.items() if n not in libraries)
    return {name: found[name] for _, name in order}


def _chosen(names: Sequence[str], paths: Mapping[str, Path]) -> list[str]:
    for name in names:
        if name not in paths:
            remedy = nearest(name, paths) or "one of " + ", ".join(paths)
            raise DlnError([Problem("E010", f"no such spec: {name}", remedy=remedy)])
    return list(names) or list(paths)


def known_of(path: Path) -> Known:
    """What the text of a spec says: its facts, its digest, its expectations, its sweeps."""
    try:
        spec = from_source(read(path), path.stem, functions=False)
    except DlnError as error:
        return Known(facts_of(path), "", [], {}, f"it cannot be read: {error.problems[0].message}")
    worker = Worker(spec.model, None, 0)
    why = {True: "slow: needs --slow", False: "not run yet"}
    waiting = [worker.waiting(c.text, e, why[c.slow]).as_data()
               for c in spec.model.checks for e in c.expects]  # fmt: skip
    turned = {name: spec.constants.get(name) for name in sorted(seeds(spec.syntax))}
    sweeps = {name: [dict(run) for run in s.runs] for name, s in spec.model.sweeps.items()}
    return Known(facts_of(path), records.digest(spec.syntax), waiting, sweeps,
                 seeds=turned, remarks=remarks_of(spec.source.text))  # fmt: skip


# ---- running -----------------------------------------------------------------------------------


def _all(
    terminal: Terminal, known: Mapping[str, Known], paths: Mapping[str, Path], wanted: Wanted,
    given: Settings,
) -> None:  # fmt: skip
    """The runs side by side, those that took longest first; then, with --slow, the sweeps, each
    with as many runs side by side."""
    if not known:
        return
    jobs = min(given.jobs or cores(), len(known))
    runs = sorted(known, key=lambda name: -_took(wanted.folder, name))
    options = words(given, jobs)
    terminal.say(f"{plural(len(runs), 'spec')}, {jobs} side by side: {', '.join(runs)}")
    commands = [(n, ["run", str(paths[n]), "--json", "--quiet", *options]) for n in runs]
    for done in processes.side_by_side(commands, jobs):
        _measured(terminal, known[done.key], wanted, given, done, "run")
    swept = [n for n in runs if known[n].sweeps] if given.slow else []
    side = ["--jobs", str(given.jobs or cores())]
    for name in swept:
        terminal.say(f"{name}: its sweeps")
        command = ["sweep", str(paths[name]), "--json", "--quiet", *side, *words(given, 1)]
        for done in processes.side_by_side([(name, command)], 1):
            _measured(terminal, known[done.key], wanted, given, done, "sweep")


def words(given: Settings, jobs: int) -> list[str]:
    """The options of each command; one thread each where several are at work."""
    threads = given.threads or (1 if jobs > 1 else None)
    options = {"--backend": given.backend, "--dtype": given.dtype, "--threads": threads,
               "--seed": given.seed}  # fmt: skip
    found = [w for k, v in options.items() if v is not None for w in (k, str(v))]
    return [*found, "--slow"] if given.slow else found


def _took(folder: Path, name: str) -> float:
    """The seconds that the runs of a spec took; one that was never run may take long."""
    runs = records.read(folder, name).runs
    return max((r["seconds"] for r in runs), default=float("inf"))


def _measured(
    terminal: Terminal, known: Known, wanted: Wanted, given: Settings, done: processes.Finished,
    kind: str,
) -> None:  # fmt: skip
    """Keep the figures of a command, or why it gave none."""
    found = printed(done)
    if kind in found and done.code != 130:
        run = records.provenance(known.digest, given.seed, done.seconds, given.backend,
                                 "--slow" if given.slow else "")  # fmt: skip
        measured = Taken(done.key, kind, found[kind], run)
        _keep(terminal, known, wanted, measured, f"{done.seconds:.0f} s")
        return
    record = records.read(wanted.folder, done.key)
    record.problem = problem_of(found, done)
    terminal.say(f"{done.key}: {record.problem}")
    record.only(known.sweeps)
    records.save(wanted.folder, record)


def _take(terminal: Terminal, known: Mapping[str, Known], wanted: Wanted, folder: Path) -> str:
    """The figures of a run directory, or of a sweep's, as if they had been measured now; the name
    of the spec."""
    found = taken(folder)
    if found.spec not in known:
        raise Fault(f"{folder} is a run of {found.spec}, which is not among the specs", code="E541")
    _keep(terminal, known[found.spec], wanted, found, f"from {folder}")
    return found.spec


def _keep(terminal: Terminal, known: Known, wanted: Wanted, found: Taken, how: str) -> None:
    """Put what a run or a sweep has measured into its record; say how the misses have changed."""
    record, data = records.read(wanted.folder, found.spec), found.data
    if found.kind == "run":
        changed = record.changes(data) if record.figures else []
        record.take_run(data, found.run)
    else:
        rows = [(name, r) for name, some in data["sweeps"].items() for r in some]
        changed = [c for name, r in rows if name in record.sweeps for c in record.changes(r, name)]
        record.take_sweeps(data, found.run)
    record.only(known.sweeps)
    records.save(wanted.folder, record)
    for said in (f"{tally(data)}, {how}", *changed):
        terminal.say(f"{found.spec}: {said}")


def printed(done: processes.Finished) -> dict[str, Any]:
    """The object that a command printed, under `run` or `sweep`, or its `problems`."""
    try:
        data = json.loads(done.out)
    except ValueError:
        return {}
    for key, sign in (("run", "checks"), ("sweep", "sweeps")):
        if sign in data:
            return {key: data}
    return {"problems": data.get("problems", [])}


def problem_of(found: Mapping[str, Any], done: processes.Finished) -> str:
    """Why a command gave no figures, in a line."""
    if done.code == 130:
        return "the last run was interrupted"
    first = next(iter(found.get("problems", ())), None)
    if first:
        return f"the last run failed: {first['message']}"
    lines = done.err.strip().splitlines() or [f"exit code {done.code}"]
    return f"the last run failed: {lines[-1][:200]}"


def tally(found: Mapping[str, Any]) -> str:
    """`4 of 5 passed`, of a run or of all rows of a sweep."""
    rows = [r for some in found.get("sweeps", {}).values() for r in some]
    checks = [c for r in rows for c in r["checks"]] if rows else found.get("checks", [])
    return f"{sum(c['status'] == 'passed' for c in checks)} of {len(checks)} passed"


# ---- what came out -----------------------------------------------------------------------------


def _closing(
    terminal: Terminal, known: Mapping[str, Known], about: About, wanted: Wanted,
    names: Sequence[str], interrupted: bool,
) -> int:  # fmt: skip
    """Write the table; the exit code."""
    found = {name: records.read(wanted.folder, name) for name in {*known, *about.specs}}
    text = document(known, found, about)
    put(Path(wanted.to), text.encode(), records.ELSEWHERE)
    missed = [n for n in names if _failed(found[n]) or known[n].problem]
    terminal.result(f"{wanted.to}: {plural(len(known), 'spec')}")
    if missed:
        terminal.result("missed or failed: " + ", ".join(missed))
    data = {n: found[n].as_data() for n in names if found[n].figures or found[n].problem}
    terminal.data({"table": wanted.to, "specs": data, "failed": missed,
                   **({"interrupted": True} if interrupted else {})})  # fmt: skip
    if interrupted:
        terminal.say("interrupted; what was finished is kept")
        return 130
    return 1 if missed else 0


def _failed(record: Record) -> bool:
    rows = [r for some in record.sweeps.values() for r in some]
    checks = [*record.figures, *(c for r in rows for c in r["checks"])]
    broken = any("problem" in r for r in rows)
    return bool(record.problem) or broken or any(c["status"] == "failed" for c in checks)
