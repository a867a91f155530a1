"""Print the programs, their buffers, memory and arithmetic."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from dln.compiler.plan import (
    PhaseSpec,
    Program,
    ProgramKind,
    ProgramTable,
    RoundSpec,
    item_size,
    memory,
    program_to_json,
    sum_layout,
)
from dln.compiler.schema.quantities import bytes_of, said
from dln.compiler.schema.tables import DTYPES
from dln.compiler.show import plan_text
from dln.options import Whole, Wrong, compiled, loaded, settings, takes
from dln.options import shown as word
from dln.printing.terminal import Terminal, columns, plural
from dln.running.training import foreseen, select
from dln.runtime.footprint.process import resident
from dln.settings import Settings, chosen
from dln.spec import Compiled

ORDER = 30
SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
NETWORK = re.compile(r"(\d+(?:\.\d+)?) ?(ns|us|ms|s) ?, ?(.+)/s")


class Speeds(click.ParamType[Any]):
    """The latency and the bandwidth of a network."""

    name = "network"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Seconds, and bytes a second. Raises `Wrong`."""
        found = NETWORK.fullmatch(str(value).strip())
        rate = bytes_of(found[3]) if found else None
        if not found or not rate:
            message = "--network takes a latency and a bandwidth, as in 10us,10GB/s"
            raise Wrong(f"{message}, not {word(str(value))}", "--network 10us,10GB/s")
        return float(found[1]) * SECONDS[found[2]], float(rate)


@click.command(help=__doc__)
@click.argument("spec")
@click.option(
    "--mpi",
    "ranks",
    type=Whole(1),
    metavar="N",
    help="What it would cost in N processes of MPI instead.",
)
@click.option(
    "--network",
    type=Speeds(),
    metavar="10us,10GB/s",
    help="Latency and bandwidth between them, with --mpi.",
)
@takes("program", "training", "target", "memory", "spec")
def command(
    terminal: Terminal, /, spec: str, program: str | None, ranks: int | None,
    network: tuple[float, float] | None, **given: Any,
) -> int:  # fmt: skip
    """The program texts with their buffer tables, and what each costs."""
    asked = settings(terminal, given)
    if ranks is not None:
        return _in_ranks(terminal, spec, asked, ranks, network)
    if network is not None:
        raise Wrong("--network says how quick messages are, of which there are none", "--mpi 8")
    made = compiled(terminal, spec, asked)
    before = _before()
    programs = made.plan.programs
    shown = chosen(program, programs, "program")
    if program is None:  # first values are in float64 for either precision: the same text twice
        single, double = (str(ProgramKind.INIT.of(dtype)) for dtype in DTYPES)
        shown = [n for n in shown if n != double or single not in shown]
        undivided = {str(k) for ph in made.plan.phases.values() if ph.cuts for k in ph.steps}
        shown = [n for n in shown if n not in undivided]  # what does not run in shards
    terminal.result("\n\n\n".join(plan_text(programs[n]) for n in shown))
    if program is None:
        terminal.result(f"\n\n{summary(programs, shown)}")
        for phase in made.plan.phases.values():
            for i, rounds in enumerate(phase.cuts):
                terminal.result(f"\n\n{cut_text(programs, phase, i, rounds)}")
            for each in phase.uncut:
                why = f"{each.place}: {each.label}"
                terminal.result(f"\n\n{phase.name} cannot be cut into shards: {why}")
    told: dict[str, Any] = {}
    if program is None:
        told = {"peak": _peak(terminal, made, asked, before)}
    terminal.data({"spec": made.spec.name, "backend": made.backend,
                   "programs": {n: program_data(programs[n]) for n in shown}, **told})  # fmt: skip
    return 0


def _in_ranks(
    terminal: Terminal, name: str, given: Settings, ranks: int, network: tuple[float, float] | None
) -> int:
    from dln.running import wiring  # late: with --mpi alone
    from dln.runtime.wire import Link  # late: with --mpi alone

    link = wiring.USUAL if network is None else Link(*network)
    made = compiled(terminal, name, wiring.divided(loaded(name, given), given, ranks))
    before = _before()
    found = wiring.foreseen(made, ranks, link)
    terminal.result(wiring.told(found, link))
    peak = foreseen(made, select(made.spec, given), given, ranks, before)
    terminal.result(f"\na rank takes {said(peak.bytes)} of memory at its peak: {peak.what}")
    memory = {"bytes": peak.bytes, "when": peak.what}
    told = {"spec": made.spec.name, "ranks": ranks, "memory": memory}
    terminal.data({**told, **wiring.data(found, link)})
    return 0


def _before() -> int:
    """Bytes of a process that has compiled a spec and is about to run it."""
    import_module("dln.commands.run")  # what a run has loaded by then
    return resident()


def _peak(terminal: Terminal, made: Compiled, given: Settings, before: int) -> dict[str, Any]:
    """What a run takes in memory, itemised, beside what this process had `before` it wrote out the
    programs, as a run does not; raises `DlnError` where that is more than the limit."""
    peak = foreseen(made, select(made.spec, given), given, before=before)
    rows = [("what", "bytes", "place")]
    rows += [(i.what, f"{i.bytes:,}", str(i.place or "")) for i in peak.largest]
    terminal.result(f"\n\na run takes {said(peak.bytes)} of memory at its peak: {peak.what}\n")
    terminal.result(columns(rows, right=[1], lead="  "))
    items = [{"what": i.what, "bytes": i.bytes, "at": str(i.place or "")} for i in peak.largest]
    return {"bytes": peak.bytes, "when": peak.what, "items": items}


def summary(programs: Mapping[str, Program], names: list[str]) -> str:
    """One row for each program: examples, calls, memory, arithmetic."""
    rows = [["program", "examples", "calls", "bytes", "operations"]]
    for name in names:
        p = programs[name]
        total = sum(memory(p, p.capacity).values())
        counts = (p.capacity, len(p.lines), total, p.flops(p.capacity))
        rows.append([name, *(f"{n:,}" for n in counts)])
    return columns(rows, right=[1, 2, 3, 4])


def cut_text(
    programs: ProgramTable, phase: PhaseSpec, turn: int, rounds: Sequence[RoundSpec]
) -> str:
    """The rounds of an update in shards: what goes over from each shard, and what it keeps."""
    which = f"{phase.name}, update {turn} of a round" if len(phase.cuts) > 1 else phase.name
    rows = [["round", "sums", "bytes of a shard", "operations of a shard", "of the sums"]]
    for i, each in enumerate(rounds, 1):
        join = programs[each.join]
        sums, size, work = 0, 0, 0
        if each.shard is not None:
            shard = programs[each.shard]
            layout, work = sum_layout(shard), shard.flops(shard.capacity)
            sums = len(layout.places)
            size = layout.numbers * item_size("real", shard.dtype)
        counts = (i, sums, size, work, join.flops(join.capacity))
        rows.append([f"{n:,}" for n in counts])
    head = f"an update of {which} in {phase.shards} shards: {plural(len(rounds), 'round')}"
    return f"{head}\n{columns(rows, right=range(5), lead='  ')}"


def program_data(program: Program) -> dict[str, Any]:
    n = program.capacity
    cost = {"memory": memory(program, n), "flops": program.flops(n), "traffic": program.traffic(n)}
    return {**program_to_json(program), **cost}
