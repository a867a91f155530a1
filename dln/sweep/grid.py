"""`dln sweep`: a spec for every combination of the constants it varies.

Runs go side by side in processes, with one thread each; rows are printed in the order of the
sweep, each as soon as all before it are there, and kept in a directory.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dln.compiler.model import Sweeping
from dln.grammar.diagnostics import DlnError, Problem
from dln.printing import pictures
from dln.printing.terminal import Terminal, columns, number, painted, plural, present, verdict
from dln.reading import mentions
from dln.running.verdict_text import comparison, tally
from dln.runtime.interrupts import terminable
from dln.settings import Settings, chosen
from dln.spec import Spec, find
from dln.sweep import plot, workers
from dln.sweep.directory import SweepDirectory, rows_as_csv
from dln.sweep.row import Row, load, named


def sweep(terminal: Terminal, name: str, only: str | None, given: Settings) -> int:
    """Run one sweep of a spec, or all; 1 if a run or an expectation failed, 130 if interrupted.
    Raises `DlnError` E016 for a spec without one."""
    path = find(name)
    spec = sweeping(name, path, given)
    say_overruled(terminal, spec, only, given)
    folder = _folder(spec, path, only, given)
    with terminable():
        interrupted = False
        try:
            _all(terminal, path, spec, folder)
        except KeyboardInterrupt:
            interrupted = True
        return closing(terminal, name, spec, folder, interrupted)


def sweeping(name: str, path: Path, given: Settings) -> Spec:
    """A spec that has a sweep. Raises `DlnError` E016 for one without."""
    spec = load(path, given)
    if not spec.model.sweeps:
        raise DlnError([Problem("E016", f"{name} has no sweep", remedy="sweep width { ... }")])
    return spec


def say_overruled(terminal: Terminal, spec: Spec, only: str | None, given: Settings) -> None:
    """A note for each option that changes nothing."""
    for word in _overruled(spec, only, given):
        terminal.say(f"note: {word} changes nothing: the sweep has values of its own for it")


def _overruled(spec: Spec, only: str | None, given: Settings) -> list[str]:
    """The options in whose place stands what every sweep varies."""
    sweeps = (spec.model.sweeps[name] for name in chosen(only, spec.model.sweeps, "sweep"))
    varied = set[str].intersection(*(set(s.vary) for s in sweeps))
    said = {name: f"-D {name}" for name in given.constants}
    said |= {"seed": "--seed"} if "seed" in given.asked else {}
    return [word for name, word in said.items() if name in varied]


def _folder(spec: Spec, path: Path, only: str | None, given: Settings) -> SweepDirectory:
    """A new directory, or that of `--resume`."""
    text, sweeps = spec.source.text, spec.model.sweeps
    wanted = {name: sweeps[name].runs for name in chosen(only, sweeps, "sweep")}
    if given.resume is not None:
        return SweepDirectory.reopen(path.stem, text, only, given, wanted)
    runs = sum(map(len, wanted.values()))
    if _processes(given, runs) > 1 and given.threads is None:
        given = replace(given, threads=1)
    return SweepDirectory.create(path.stem, text, only, given)


# ---- the runs ----------------------------------------------------------------------------------


def _all(terminal: Terminal, path: Path, spec: Spec, folder: SweepDirectory) -> None:
    """Run what is not done yet of each sweep."""
    sweeps, given = spec.model.sweeps, folder.settings
    for turn, name in enumerate(chosen(folder.only, sweeps, "sweep")):
        runs, done = sweeps[name].runs, folder.rows.setdefault(name, {})
        jobs = [workers.Job(i, path, name, c) for i, c in enumerate(runs) if i not in done]
        processes = _processes(given, len(jobs))
        terminal.say(f"{name}: {_how(given, len(runs), len(jobs), processes)}")
        if turn == 0:
            _hint(terminal, given, len(jobs), processes)
        _one(terminal, sweeps[name], folder, jobs, processes)
        summary(terminal, sweeps[name], folder.done(name), repeated(spec))


def _processes(given: Settings, runs: int) -> int:
    """How many runs go side by side. A GPU is one, and threads that nobody fixed are the
    machine's: there the runs go one after another unless `--jobs` says otherwise."""
    one = given.jobs is None and given.backend != "numpy"
    machines = given.resume is not None and given.threads is None
    if one or machines or not workers.available():
        return 1
    return max(1, min(given.jobs or workers.cores(), runs))


def _how(given: Settings, runs: int, left: int, processes: int) -> str:
    """`5 runs, 2 side by side with one thread each`."""
    text = plural(runs, "run") + (f", {left} of them left" if left < runs else "")
    threads = "one thread" if given.threads == 1 else plural(given.threads or 1, "thread")
    return text + (f", {processes} side by side with {threads} each" if processes > 1 else "")


def _hint(terminal: Terminal, given: Settings, runs: int, processes: int) -> None:
    """Why runs go one after another, and how more go at once."""
    if runs < 2 or processes > 1:
        return
    if given.jobs != 1 and not workers.available():
        terminal.say("one after another: pip install 'dln[sweep]' to run them side by side")
    elif given.jobs != 1 and given.resume is not None and given.threads is None:
        terminal.say("one after another, for it was begun with the threads of the machine")
    elif workers.cores() > 1:
        terminal.say("one after another: --jobs N runs N side by side, with one thread each")


def _one(
    terminal: Terminal, swept: Sweeping, folder: SweepDirectory, jobs: Sequence[workers.Job],
    processes: int,
) -> None:  # fmt: skip
    """The runs of one sweep: each is kept as it is done, and printed when its turn has come."""
    shown, done = PrintedRows(terminal, swept), folder.rows[swept.name]
    shown.add_from(done)
    given, several = folder.settings, processes > 1
    rows = (workers.side_by_side(jobs, given, processes) if several
            else workers.one_by_one(terminal, jobs, given))  # fmt: skip
    for index, row in rows:
        folder.add(swept.name, index, row)
        case = named(row.constants)
        if row.problems:
            terminal.say(f"with {case}:\n{row.error}")
        if several:
            terminal.say(f"{swept.name}: {len(done)} of {len(swept.runs)} done: {case}")
        shown.add_from(done)


# ---- what came out -----------------------------------------------------------------------------


def closing(
    terminal: Terminal, name: str, spec: Spec, folder: SweepDirectory, interrupted: bool,
    missing: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> int:  # fmt: skip
    """The tally, the table and the pictures; the exit code. `missing` are the runs of each sweep
    that have no row yet."""
    found = {swept: folder.done(swept) for swept in folder.rows}
    rows = [r for some in found.values() for r in some]
    folder.put("table.csv", rows_as_csv(found))
    plots = _plots(terminal, spec, folder)
    terminal.result()
    say_tally(terminal, rows)
    terminal.result(f"sweep directory: {folder.path}")
    if interrupted:
        terminal.say(f"interrupted; go on with: dln sweep {name} --resume {folder.path}")
    data = {k: [r.as_data() for r in some] for k, some in found.items()}
    means = {k: _means(spec.model.sweeps[k], some, repeated(spec)) for k, some in found.items()}
    more: dict[str, Any] = {"interrupted": True} if interrupted else {}
    more |= present(missing=missing)
    terminal.data({"spec": folder.spec, "sweeps": data, "sweep_dir": str(folder.path),
                   "plots": plots, **present(means=present(**means)), **more})  # fmt: skip
    if interrupted:
        return 130
    return 1 if missing or any(r.status == "failed" for r in rows) else 0


def say_tally(terminal: Terminal, rows: Sequence[Row]) -> None:
    """How many expectations passed, and how many runs broke off."""
    tally(terminal, [v for r in rows for v in r.verdicts])
    broken = sum(bool(r.problems) for r in rows)
    if broken:
        terminal.result(f"{plural(broken, 'run')} broke off")


def _plots(terminal: Terminal, spec: Spec, folder: SweepDirectory) -> list[str]:
    """A picture of each sweep that has something to draw."""
    seeds, drawn = repeated(spec), {}
    for name in folder.rows:
        known = plot.references(spec.syntax, spec.model.sweeps[name].vary)
        if panels := plot.panels(folder.done(name), known, seeds):
            drawn[f"{name}.png"] = panels
    if drawn and not pictures.available():
        terminal.say("plots need matplotlib: pip install 'dln[plot]'")
        return []
    return [str(folder.put(name, pictures.of_panels(panels, ".png")))
            for name, panels in drawn.items()]  # fmt: skip


def repeated(spec: Spec) -> dict[str, str]:
    """The constants that make a run another try of the same: seeds, and the fold that is left out;
    each with what several of them are called."""
    keys = (key for data in spec.model.data.values() for key in data.parts if key.endswith("]"))
    parts = {key.partition("[")[0] for key in keys}
    found = dict.fromkeys(mentions.folds(spec.syntax, parts), "folds")
    return found | dict.fromkeys(mentions.seeds(spec.syntax), "seeds")


def summary(
    terminal: Terminal, swept: Sweeping, rows: Sequence[Row], tries: Mapping[str, str]
) -> None:
    """Where seeds or folds are varied: mean and standard deviation of each report over them."""
    groups = over_seeds(rows, tries)
    if not groups:
        return
    others = [k for k in swept.vary if k not in tries]
    called = list(dict.fromkeys(tries[k] for k in swept.vary if k in tries))
    texts = [text for text, _ in swept.reports]
    lines = [[*others, called[0] if len(called) == 1 else "runs", *texts]]
    for some in groups:
        same = [number(some[0].constants[k]) for k in others]
        lines.append(
            [*same, str(len(some)), *(spread([r.reports[t] for r in some]) for t in texts)]
        )
    terminal.result(f"\nmean over the {' and '.join(called)}, and standard deviation\n"
                    + columns(lines, right=range(len(lines[0]))))  # fmt: skip


def _means(swept: Sweeping, rows: Sequence[Row], tries: Mapping[str, str]) -> list[dict[str, Any]]:
    """What `summary` prints, for programs: nothing where a report is not a single number."""
    found = []
    for some in over_seeds(rows, tries):
        same = {k: v for k, v in some[0].constants.items() if k not in tries}
        reports = {}
        for text, _ in swept.reports:
            values = [r.reports[text] for r in some]
            if all(isinstance(v, int | float) for v in values) and len(values) > 1:
                both = statistics.fmean(values), statistics.stdev(values)
                reports[text] = dict(zip(("mean", "deviation"), both, strict=True))
        found.append({"constants": same, "runs": len(some), "reports": reports})
    return found


def over_seeds(rows: Sequence[Row], seeds: Collection[str] = (mentions.SEED,)) -> list[list[Row]]:
    """Rows that differ in their seeds alone, group by group; nothing if no two do."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.constants.keys() & set(seeds) and not row.problems:
            key = named({k: v for k, v in row.constants.items() if k not in seeds})
            groups.setdefault(key, []).append(row)
    return list(groups.values()) if any(len(g) > 1 for g in groups.values()) else []


def spread(values: Sequence[Any]) -> str:
    """
    >>> spread([1.0, 2.0, 3.0]), spread([4.0]), spread([None, 1.0]), spread([[1, 2], [1, 4]])
    ('2 ± 1', '4', '', '[1 ± 0, 3 ± 1.4]')
    """
    if all(isinstance(v, list) for v in values) and len({len(v) for v in values}) == 1:
        return f"[{', '.join(spread(entry) for entry in zip(*values, strict=True))}]"
    if not all(isinstance(v, int | float) for v in values):
        return ""
    mean = number(float(f"{statistics.fmean(values):.6g}"))
    return f"{mean} ± {statistics.stdev(values):.2g}" if len(values) > 1 else mean


class PrintedRows:
    """The rows of a sweep, printed as they come; columns are as wide as they must be by then."""

    def __init__(self, terminal: Terminal, swept: Sweeping) -> None:
        self.terminal, self.printed = terminal, 0
        self.texts = [text for text, _ in swept.reports]
        values = [[number(v[k]) for v in swept.runs] for k in swept.vary]
        self.widths = [max(map(len, [k, *v])) for k, v in zip(swept.vary, values, strict=True)]
        self.widths += [max(10, len(text)) for text in self.texts]
        self._line([*swept.vary, *self.texts])

    def _line(self, cells: Iterable[str], after: str = "") -> None:
        padded = [c.rjust(w) for c, w in zip(cells, self.widths, strict=True)]
        self.terminal.result(columns([padded]) + after)

    def add_from(self, done: Mapping[int, Row]) -> None:
        """The rows whose turn has come."""
        while row := done.get(self.printed):
            self.printed += 1
            values = [*row.constants.values(), *map(row.reports.get, self.texts)]
            self._line(map(number, values), f"  {verdict(row.status, 0)}" if row.status else "")
            for problem in row.problems:
                self.terminal.result(painted(f"  {problem['code']}: {problem['message']}", "red"))
            for v in row.verdicts:
                if v.status == "failed":
                    self.terminal.result(f"  {v.text}: {comparison(v)}")
