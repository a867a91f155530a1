"""Time a step of each phase, line by line of the spec."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from dln.options import compiled, settings, takes
from dln.printing.terminal import Terminal, columns, plural, present
from dln.runtime.device.limits import Limits, limits
from dln.runtime.profiler import Cost, LineTime, Profile, profile
from dln.settings import chosen
from dln.spec import Compiled

ORDER = 80
SECONDS = 1.0  # that a phase is timed for
PASSED = 1.1  # of a limit: it was measured while the machine was busy


@click.command("time", help=__doc__)
@click.argument("spec")
@click.option("--operations", is_flag=True, help="Below each line, the operations it became.")
@click.option("--anew", is_flag=True, help="Measure the limits of the machine again.")
@takes("phase", "device", "target", "spec")
def command(terminal: Terminal, /, spec: str, operations: bool, anew: bool, **given: Any) -> int:
    """Time an update of each phase, and the share of each line of the spec in it."""
    asked = settings(terminal, given)
    made = compiled(terminal, spec, asked)
    names = chosen(asked.phase, made.plan.phases, "phase")
    session = made.session(asked.seed)
    phases = {}
    for name in names:
        found = profile(session, name, seconds=SECONDS)
        dtype = made.plan.programs[session.phase(name).step].dtype
        threads = found.threads.get("threads", 1)
        most = limits(session.device, dtype, anew, threads)
        if not anew and any(reached(x.cost, most) > PASSED for x in found.lines):
            most = limits(session.device, dtype, threads=threads, passed=True)
        text = profile_text(made, found, most, operations)
        terminal.result(f"{text}\n{limits_text(most, found, dtype)}\n")
        if made.plan.phases[name].cuts:  # it runs as many programs, of which none does all
            shards = made.plan.phases[name].shards
            terminal.result(
                f"  this is the undivided update; {name} is learned in {shards} shards\n"
            )
        phases[name] = profile_data(found, most)
        anew = False
    terminal.data({"spec": made.spec.name, "phases": phases})
    return 0


def profile_text(compiled: Compiled, p: Profile, most: Limits, operations: bool) -> str:
    """The head line of a phase, then its lines, the slowest first."""
    rate = p.examples / p.milliseconds * 1e3 if p.milliseconds else 0.0
    head = f"{p.phase}: {p.milliseconds:.4g} ms for an update of {plural(p.examples, 'example')}"
    head += f", {rate:,.0f} examples/s, {p.flops:,} floating-point operations"
    titles = ("ms", "share", "calls", "GFLOP/s", "GB/s", "of limit", "place", "line")
    rows: list[tuple[str, ...]] = [titles]
    for line in p.lines:
        rows.append((*_cells(p, line.cost, most), *_said(compiled, line)))
        inner = line.operations.items() if operations else ()
        rows += [(*_cells(p, cost, most), "", f"  {op}") for op, cost in inner]
    table = columns(rows, right=range(6), lead="  ")
    return f"{head}\n{table}"


def _cells(p: Profile, cost: Cost, most: Limits) -> tuple[str, ...]:
    """What statements cost: rates are left out where they have nothing to count."""
    seconds = cost.milliseconds / 1e3
    share = cost.milliseconds / p.milliseconds if p.milliseconds else 0.0
    rates = [f"{n / seconds / 1e9:.2f}" if n and seconds else "" for n in (cost.flops, cost.bytes)]
    limit = reached(cost, most)
    return (f"{cost.milliseconds:.4f}", f"{share:.0%}", str(cost.statements), *rates,
            f"{limit:.0%}" if any(rates) else "")  # fmt: skip


def _said(compiled: Compiled, line: LineTime) -> tuple[str, str]:
    """Where a line stands, and what."""
    if line.place is None:
        return "", line.formula
    text = compiled.plan.texts.get(line.place.path, "").split("\n")
    said = text[line.place.line - 1].strip() if line.place.line <= len(text) else line.formula
    return f"{Path(line.place.path).name}:{line.place.line}", said[:72]


def limits_text(most: Limits, found: Profile, dtype: str) -> str:
    """What the machine can do, which the last column is a part of, and with how many threads."""
    said = f"  limits: {most.flops / 1e9:.3g} GFLOP/s in products, {most.cached / 1e9:.3g} GB/s in "
    said += f"caches, {most.memory / 1e9:.3g} GB/s in memory; {dtype}"
    told = found.threads or {"threads": 1, "why": "too small an update for more"}
    return f"{said}\n  {plural(told['threads'], 'thread')}: {told['why']}"


def profile_data(p: Profile, most: Limits) -> dict[str, object]:
    lines = [{"at": str(x.place) if x.place else None, "formula": x.formula,
              **_data(x.cost, most),
              "operations": {op: _data(cost, most) for op, cost in x.operations.items()}}
             for x in p.lines]  # fmt: skip
    return {"examples": p.examples, "milliseconds": p.milliseconds, "flops": p.flops,
            "bytes": p.bytes, "limits": asdict(most), "lines": lines,
            **present(threads=p.threads)}  # fmt: skip


def _data(cost: Cost, most: Limits) -> dict[str, object]:
    return {**asdict(cost), "of_limit": reached(cost, most)}


def reached(cost: Cost, most: Limits) -> float:
    """Which part of its time the machine would need at least."""
    return most.share(cost.milliseconds / 1e3, cost.flops, cost.bytes, cost.calls)
