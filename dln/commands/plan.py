"""Print the programs, their buffers, memory and arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from dln.commands.options import compiled, settings, takes
from dln.compiler.plan import Program, ProgramKind, memory, program_to_json
from dln.compiler.schema.tables import DTYPES
from dln.compiler.show import plan_text
from dln.printing.terminal import Terminal, columns
from dln.settings import chosen

ORDER = 30


@click.command(help=__doc__)
@click.argument("spec")
@takes("program", "target", "spec")
def command(terminal: Terminal, /, spec: str, program: str | None, **given: Any) -> int:
    """The program texts with their buffer tables, and what each costs."""
    made = compiled(terminal, spec, settings(terminal, given))
    programs = made.plan.programs
    shown = chosen(program, programs, "program")
    if program is None:  # first values are in float64 for either precision: the same text twice
        single, double = (str(ProgramKind.INIT.of(dtype)) for dtype in DTYPES)
        shown = [n for n in shown if n != double or single not in shown]
    terminal.result("\n\n\n".join(plan_text(programs[n]) for n in shown))
    if program is None:
        terminal.result(f"\n\n{summary(programs, shown)}")
    terminal.data({"spec": made.spec.name, "backend": made.backend,
                   "programs": {n: program_data(programs[n]) for n in shown}})  # fmt: skip
    return 0


def summary(programs: Mapping[str, Program], names: list[str]) -> str:
    """One row for each program: examples, calls, memory, arithmetic."""
    rows = [["program", "examples", "calls", "bytes", "operations"]]
    for name in names:
        p = programs[name]
        total = sum(memory(p, p.capacity).values())
        counts = (p.capacity, len(p.lines), total, p.flops(p.capacity))
        rows.append([name, *(f"{n:,}" for n in counts)])
    return columns(rows, right=[1, 2, 3, 4])


def program_data(program: Program) -> dict[str, Any]:
    n = program.capacity
    cost = {"memory": memory(program, n), "flops": program.flops(n), "traffic": program.traffic(n)}
    return {**program_to_json(program), **cost}
