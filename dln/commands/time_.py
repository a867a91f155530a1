"""Time a step of each phase, line by line of the spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dln.commands.options import compiled, settings, takes
from dln.printing.terminal import Terminal, columns, plural
from dln.runtime.profiler import LineTime, Profile, profile
from dln.settings import chosen
from dln.spec import Compiled

ORDER = 80


@click.command("time", help=__doc__)
@click.argument("spec")
@takes("phase", "device", "target", "memory", "spec")
def command(terminal: Terminal, /, spec: str, **given: Any) -> int:
    """Time an update of each phase, and the share of each line of the spec in it."""
    asked = settings(terminal, given)
    made = compiled(terminal, spec, asked)
    names = chosen(asked.phase, made.plan.phases, "phase")
    session = made.session(asked.seed)
    session.affordable(names, {"epochs": 1})
    found = [profile(session, name) for name in names]
    for p in found:
        terminal.result(profile_text(made, p) + "\n")
    terminal.data({"spec": made.spec.name, "phases": {p.phase: profile_data(p) for p in found}})
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
