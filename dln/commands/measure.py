"""`dln time` and `dln gradcheck`: what a step costs by line of the spec, and whether its gradient
is right."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from dln.commands.options import Settings
from dln.commands.plan import chosen
from dln.grammar.diagnostics import DlnError, Problem
from dln.printing.terminal import Terminal, columns, number, painted, plural
from dln.spec import Compiled

if TYPE_CHECKING:
    from dln.runtime.gradcheck import Row
    from dln.runtime.profiler import LineTime, Profile

WRONG = 1e-6  # relative errors above this are a wrong gradient (float64, central differences)
EXAMPLES = 32  # of a minibatch, for `gradcheck`


def measured_phases(compiled: Compiled, given: Settings, learning: bool) -> list[str]:
    """The phases asked for; of all, those that minimise something where that is wanted."""
    names = chosen(given.phase, compiled.plan.phases, "phase")
    if not learning or given.phase is not None:
        return names
    return [n for n in names if f"grad:{n}" in compiled.plan.programs]


# ---- time --------------------------------------------------------------------------------------


def time(terminal: Terminal, compiled: Compiled, given: Settings) -> int:
    """Time an update of each phase, and the share of each line of the spec in it."""
    from dln.runtime.profiler import profile

    names = measured_phases(compiled, given, learning=False)
    session = compiled.session(given.seed)
    found = [profile(session, name) for name in names]
    for p in found:
        terminal.result(profile_text(compiled, p) + "\n")
    data = {p.phase: profile_data(p) for p in found}
    terminal.data({"spec": compiled.spec.name, "phases": data})
    return 0


def profile_text(compiled: Compiled, p: Profile) -> str:
    """The head line of a phase, then its lines, the slowest first."""
    rate = p.examples / p.milliseconds * 1e3 if p.milliseconds else 0.0
    head = f"{p.phase}: {p.milliseconds:.4g} ms for an update of {plural(p.examples, 'example')}"
    head += f", {rate:,.0f} examples/s, {p.flops:,} floating-point operations"
    rows = [_line_cells(compiled, p, line) for line in p.lines]
    table = columns([("ms", "share", "calls", "place", "line"), *rows], right=[0, 1, 2], lead="  ")
    return f"{head}\n{table}"


def _line_cells(compiled: Compiled, p: Profile, line: LineTime) -> tuple[str, ...]:
    share = line.milliseconds / p.milliseconds if p.milliseconds else 0.0
    cells = (f"{line.milliseconds:.4f}", f"{share:.0%}", str(line.statements))
    if line.place is None:
        return (*cells, "", line.formula)
    text = compiled.plan.texts.get(line.place.path, "").split("\n")
    said = text[line.place.line - 1].strip() if line.place.line <= len(text) else line.formula
    return (*cells, f"{Path(line.place.path).name}:{line.place.line}", said[:72])


def profile_data(p: Profile) -> dict[str, object]:
    lines = [{"at": str(x.place) if x.place else None, "formula": x.formula,
              "milliseconds": x.milliseconds, "statements": x.statements, "flops": x.flops,
              "bytes": x.bytes} for x in p.lines]  # fmt: skip
    return {"examples": p.examples, "milliseconds": p.milliseconds, "flops": p.flops,
            "bytes": p.bytes, "lines": lines}  # fmt: skip


# ---- gradcheck ---------------------------------------------------------------------------------


def gradcheck(terminal: Terminal, compiled: Compiled, given: Settings) -> int:
    """Each parameter's gradient against central differences; 1 if one is wrong."""
    from dln.runtime.gradcheck import gradcheck

    session = compiled.session(given.seed)
    names = measured_phases(compiled, given, learning=True)
    if not names:
        text = f"{compiled.spec.name} minimises nothing, so it has no gradients"
        raise DlnError([Problem("E570", text)])
    cut = [n for n in names if compiled.plan.phases[n].stops and given.phase is None]
    for name in cut:
        text = "not compared: stop(...) or a chain cuts its gradients on purpose"
        terminal.result(f"{name}\n  {text}\n")
    names = [n for n in names if n not in cut]
    found = {name: gradcheck(session, name, examples=EXAMPLES) for name in names}
    for name, rows in found.items():
        terminal.result(f"{name}\n{_table(rows)}\n")
    rows = [r for of_phase in found.values() for r in of_phase]
    wrong, out = sum(map(_wrong, rows)), sum(bool(r.reason) for r in rows)
    text = f"{plural(len(rows) - out, 'gradient')} checked, {wrong} wrong"
    text += f" (relative error above {WRONG:g})" + (f", {out} not compared" if out else "")
    terminal.result(text)
    phases = {n: [_row_data(r) for r in rows] for n, rows in found.items()}
    terminal.data({"spec": compiled.spec.name, "tolerance": WRONG, "phases": phases})
    return 1 if wrong else 0


def _wrong(row: Row) -> bool:
    return not row.reason and not row.error <= WRONG


def _table(rows: list[Row]) -> str:
    head = ("parameter", "analytic", "numeric", "relative error", "directions")
    cells = [(r.parameter, *_compared(r), _points(r)) for r in rows]
    lines = columns([head, *cells], right=[1, 2, 3], lead="  ").split("\n")
    marks = ["", *(painted("  wrong", "red") if _wrong(r) else "" for r in rows)]
    return "\n".join(line + mark for line, mark in zip(lines, marks, strict=True))


def _compared(row: Row) -> tuple[str, str, str]:
    if row.reason:
        return "", "", ""
    return number(row.analytic), number(row.numeric), f"{row.error:.1e}"


def _points(row: Row) -> str:
    if row.reason:
        return f"not compared: {row.reason}"
    kinks = f", {row.skipped} at a kink" if row.skipped else ""
    return f"{row.points}{kinks}" + (f", {row.beyond} without numbers" if row.beyond else "")


def _row_data(row: Row) -> dict[str, object]:
    found = {"analytic": row.analytic, "numeric": row.numeric, "error": row.error}
    numbers = {k: v if isfinite(v) and not row.reason else None for k, v in found.items()}
    return {"parameter": row.parameter, **numbers, "points": row.points, "skipped": row.skipped,
            "beyond": row.beyond, "wrong": _wrong(row), "reason": row.reason}  # fmt: skip
