"""Compare each gradient with differences of the loss."""

from __future__ import annotations

from math import isfinite
from typing import Any

import click

from dln.compiler.plan import ProgramKind
from dln.grammar.diagnostics import Fault
from dln.options import compiled, settings, takes
from dln.printing.terminal import Terminal, columns, number, painted, plural
from dln.runtime.gradcheck import Comparison, gradcheck
from dln.settings import chosen

ORDER = 90
WRONG = 1e-6  # relative errors above this are a wrong gradient (float64, central differences)
EXAMPLES = 32  # of a minibatch


@click.command(help=__doc__)
@click.argument("spec")
@takes("phase", "device", "memory", "spec")
def command(terminal: Terminal, /, spec: str, **given: Any) -> int:
    """Each gradient of all phases that minimise something, or of one, against central differences
    in double precision; 1 if one is wrong. Raises `Fault` E570 where the spec minimises nothing."""
    asked = settings(terminal, {**given, "dtype": "float64"})
    made = compiled(terminal, spec, asked)
    session, plan = made.session(asked.seed), made.plan
    names = chosen(asked.phase, plan.phases, "phase")
    if asked.phase is None:
        names = [n for n in names if ProgramKind.GRAD.of(n) in plan.programs]
    if not names:
        raise Fault(f"{made.spec.name} minimises nothing, so it has no gradients", code="E570")
    session.affordable(names, {"epochs": 1})
    cut = [n for n in names if plan.phases[n].stops and asked.phase is None]
    for name in cut:
        text = "not compared: stop(...) or a chain cuts its gradients on purpose"
        terminal.result(f"{name}\n  {text}\n")
    found = {n: gradcheck(session, n, examples=EXAMPLES) for n in names if n not in cut}
    for name, rows in found.items():
        terminal.result(f"{name}\n{_table(rows)}\n")
    rows = [r for of_phase in found.values() for r in of_phase]
    wrong, out = sum(map(_wrong, rows)), sum(bool(r.reason) for r in rows)
    text = f"{plural(len(rows) - out, 'gradient')} checked, {wrong} wrong"
    text += f" (relative error above {WRONG:g})" + (f", {out} not compared" if out else "")
    terminal.result(text)
    phases = {n: [_row_data(r) for r in rows] for n, rows in found.items()}
    terminal.data({"spec": made.spec.name, "tolerance": WRONG, "phases": phases})
    return 1 if wrong else 0


def _wrong(row: Comparison) -> bool:
    return not row.reason and not row.error <= WRONG


def _table(rows: list[Comparison]) -> str:
    head = ("parameter", "analytic", "numeric", "relative error", "directions")
    lines = columns([head, *map(_cells, rows)], right=[1, 2, 3], lead="  ").split("\n")
    marks = ["", *(painted("  wrong", "red") if _wrong(r) else "" for r in rows)]
    return "\n".join(line + mark for line, mark in zip(lines, marks, strict=True))


def _cells(row: Comparison) -> tuple[str, ...]:
    if row.reason:
        return row.parameter, "", "", "", f"not compared: {row.reason}"
    points = f"{row.points}" + (f", {row.skipped} at a kink" if row.skipped else "")
    points += f", {row.beyond} without numbers" if row.beyond else ""
    return row.parameter, number(row.analytic), number(row.numeric), f"{row.error:.1e}", points


def _row_data(row: Comparison) -> dict[str, object]:
    found = {"analytic": row.analytic, "numeric": row.numeric, "error": row.error}
    numbers = {k: v if isfinite(v) and not row.reason else None for k, v in found.items()}
    return {"parameter": row.parameter, **numbers, "points": row.points, "skipped": row.skipped,
            "beyond": row.beyond, "wrong": _wrong(row), "reason": row.reason}  # fmt: skip
