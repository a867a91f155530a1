"""`dln sweep SPEC --part 3/20 --out DIR`, a share of the rows, and `--gather DIR`, all of them.

Parts are processes that know nothing of one another: jobs of a scheduler, on any machines that
share a folder. One that is started again runs what is missing of its share, and goes on from the
checkpoints of what was begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dln.grammar.diagnostics import Fault
from dln.printing.files import as_json
from dln.printing.terminal import Terminal, plain, plural, present
from dln.runtime.checkpoint.rundir import SPEC
from dln.runtime.interrupts import terminable
from dln.settings import MANY, Settings, chosen
from dln.spec import Spec, find, read
from dln.sweep import grid
from dln.sweep.begun import removed
from dln.sweep.directory import CLAIM, MACHINE, SweepDirectory
from dln.sweep.row import Row, named, run_one
from dln.sweep.shared import SharedDirectory

AWAY = {
    "part": ("resume", "jobs", "gather"),
    "gather": ("out", "resume", "jobs", "memory_limit"),
}
"""Options that have no meaning beside another one."""


def refuse_together(given: Settings) -> None:
    """Raise `Fault` E594 for options that have no meaning beside `--part` or `--gather`."""
    for one, others in AWAY.items():
        for other in others:
            if getattr(given, one) is not None and getattr(given, other) is not None:
                said = f"--{one} and --{other.replace('_', '-')} do not go together"
                raise Fault(said, f"leave out --{other.replace('_', '-')}", "E594")
    if given.part is not None and given.out is None:
        k, n = given.part
        message = "--part adds rows to a directory that all parts share, which --out names"
        raise Fault(message, f"--part {k}/{n} --out runs/rows", "E594")


def rows_of(
    spec: Spec, only: str | None, part: tuple[int, int] = (1, 1)
) -> Iterator[tuple[str, int]]:
    """The rows of a share, by sweep and number: every n-th of all, so that shares are of one size
    and alike, whatever a row costs.

    >>> [row % 3 for row in range(7) if row % 3 == 2 - 1]
    [1, 1]
    """
    k, n = part
    sweeps = spec.model.sweeps
    every = [(name, i) for name in chosen(only, sweeps, "sweep")
             for i in range(len(sweeps[name].runs))]  # fmt: skip
    yield from every[k - 1 :: n]


# ---- a part ------------------------------------------------------------------------------------


def part(terminal: Terminal, name: str, only: str | None, given: Settings) -> int:
    """Run a share of the rows; 1 if a run or an expectation failed, 130 if interrupted. Raises
    `Fault` E593 where the directory holds something else."""
    path = find(name)
    text, folder, threads = read(path).text, Path(given.out or ""), given.threads or 1
    if (folder / CLAIM).exists():
        shared = SharedDirectory.opened(folder, path.stem, text, given)
    else:  # threads as where runs go side by side
        grid.sweeping(name, path, given)
        first = replace(given, threads=threads)
        shared = SharedDirectory.claimed(path.stem, text, first)
    spec = grid.sweeping(name, path, shared.settings)
    grid.say_overruled(terminal, spec, only, given)
    if notes := shared.notes(given):
        terminal.say(f"note: as {folder} was begun: {notes}")
    share = given.part or (1, 1)
    mine = list(rows_of(spec, only, share))
    work = SweepPart(terminal, path, spec, shared, mine)
    if not mine:
        terminal.say(f"part {share[0]} of {share[1]} has no rows: there are fewer rows than parts")
    interrupted = ""
    with terminable():
        try:
            work.run()
        except KeyboardInterrupt as stopped:
            interrupted = str(stopped) or "interrupted"
    return work.closing(name, share, interrupted)


class SweepPart:
    """A share of the rows, and what there is of it."""

    def __init__(
        self, terminal: Terminal, path: Path, spec: Spec, shared: SharedDirectory,
        mine: list[tuple[str, int]],
    ) -> None:  # fmt: skip
        self.terminal, self.path, self.spec, self.shared = terminal, path, spec, shared
        self.mine, self.left = mine, 0
        self.done: dict[str, dict[int, Row]] = {}

    def run(self) -> None:
        """Run what is missing. Raises KeyboardInterrupt."""
        there = {(name, i): self._there(name, i) for name, i in rows_of(self.spec, None)}
        there = {each: there[each] for each in self.mine}  # but what others have must fit, too
        ready = sum(row is not None for row in there.values())
        text = plural(len(self.mine), "row") + (f", {ready} of them done" if ready else "")
        self.terminal.say(f"{text}, in {self.shared.path}")
        printed: dict[str, grid.PrintedRows] = {}
        for name, i in self.mine:
            if name not in printed:
                printed[name] = grid.PrintedRows(self.terminal, self.spec.model.sweeps[name])
                self.done[name] = {}
            row = there[name, i] or self._one(name, i)
            if row is not None:
                self.done[name][len(self.done[name])] = row
                printed[name].add_from(self.done[name])

    def _there(self, name: str, i: int) -> Row | None:
        """A row that is done; one that broke off is run again."""
        row = self.shared.row(name, i, self.spec.model.sweeps[name].runs[i])
        return None if row is None or row.problems else row

    def _one(self, name: str, i: int) -> Row | None:
        """A row that is missing; None where another process is at work on it."""
        constants = self.spec.model.sweeps[name].runs[i]
        case, folder = f"{name}: {named(constants)}", self.shared.begun(name, i)
        with self.shared.held(name, i) as held:
            if not held:
                self.left += 1
                self.terminal.say(f"{case}: left to another process, which is at work on it")
                return None
            row = self._there(name, i)  # by who held it a moment ago
            if row is None:
                saved = sorted((folder / "checkpoints").glob("update-*.safetensors"))
                self.terminal.say(case + (f", from {saved[-1].stem}" if saved else ""))
                row = run_one(self.terminal, self.path, name, constants, self.shared.settings,
                              folder)  # fmt: skip
                if row.interrupted:
                    raise KeyboardInterrupt(row.interrupted)
                self.shared.add(name, i, row)
            if row.problems:
                self.terminal.say(f"with {case}:\n{row.error}")
            else:
                removed(folder)
        return row

    def closing(self, name: str, share: tuple[int, int], interrupted: str) -> int:
        """The tally; the exit code."""
        rows = [row for some in self.done.values() for row in some.values()]
        self.terminal.result()
        grid.say_tally(self.terminal, rows)
        count = f"{len(rows)} of {plural(len(self.mine), 'row')}"
        self.terminal.result(f"part {share[0]} of {share[1]}: {count} in {self.shared.path}")
        gathered = f"all parts together: dln sweep {name} --gather {self.shared.path}"
        self.terminal.say(
            f"{interrupted}; go on with the same command" if interrupted else gathered
        )
        data = {k: [r.as_data() for r in some.values()] for k, some in self.done.items()}
        more: dict[str, Any] = present(interrupted=bool(interrupted), left=self.left)
        self.terminal.data({"spec": self.shared.spec, "part": list(share), "sweeps": data,
                            "sweep_dir": str(self.shared.path), **more})  # fmt: skip
        if interrupted:
            return 130
        return 1 if any(r.status == "failed" for r in rows) else 0


# ---- all parts ---------------------------------------------------------------------------------


def gather(terminal: Terminal, name: str, only: str | None, given: Settings) -> int:
    """The table and the pictures of the rows that are there, and which are missing; 1 if one is
    missing, or a run or an expectation failed. Raises `Fault` E593 where the directory holds
    something else, E595 where a row is damaged."""
    path = find(name)
    text = read(path).text
    shared = SharedDirectory.opened(Path(given.gather or ""), path.stem, text, given)
    spec = grid.sweeping(name, path, shared.settings)
    folder = SweepDirectory(shared.path, path.stem, text, only, shared.settings)
    missing: dict[str, list[dict[str, Any]]] = {}
    for swept, i in rows_of(spec, only):
        constants = spec.model.sweeps[swept].runs[i]
        rows = folder.rows.setdefault(swept, {})
        if (row := shared.row(swept, i, constants)) is not None:
            rows[i] = row
        else:
            begun = (shared.begun(swept, i) / "checkpoints").is_dir()
            facts = {"number": i + 1, "constants": plain(dict(constants)), "begun": begun}
            missing.setdefault(swept, []).append(facts)
    for swept, rows in folder.rows.items():
        terminal.say(f"{swept}: {len(rows)} of {plural(len(spec.model.sweeps[swept].runs), 'row')}")
        printed = grid.PrintedRows(terminal, spec.model.sweeps[swept])
        printed.add_from(dict(enumerate(folder.done(swept))))
        grid.summary(terminal, spec.model.sweeps[swept], folder.done(swept), grid.repeated(spec))
    if unlike := shared.unlike():
        terminal.say(f"note: rows are of machines that differ ({unlike}): last bits may, too")
    folder.put(SPEC, text.encode())
    if not missing:  # as if one process had done it: for `dln results --take`
        folder.put(MACHINE, as_json(shared.machines[0]))
        folder.save()
    code = grid.closing(terminal, name, spec, folder, False, missing)
    _say_missing(terminal, name, only, shared, missing)
    return code


def _say_missing(
    terminal: Terminal, name: str, only: str | None, shared: SharedDirectory,
    missing: dict[str, list[dict[str, Any]]],
) -> None:  # fmt: skip
    for swept, rows in missing.items():
        said = [f"{r['number']} ({named(r['constants'])}{', begun' if r['begun'] else ''})"
                for r in rows[:MANY]]  # fmt: skip
        more = f", and {len(rows) - MANY} more" if len(rows) > MANY else ""
        terminal.result(f"{swept}: {plural(len(rows), 'row')} missing: {', '.join(said)}{more}")
    if missing:
        sweep = f"{name} {only}" if only else name
        terminal.say(f"start their parts again, or all that is missing here: "
                     f"dln sweep {sweep} --part 1/1 --out {shared.path}")  # fmt: skip
