"""Print what each pass rewrote: rule, place, before, after."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from dln.compiler.ir.graph import Graph
from dln.compiler.passes.rewriting import Log
from dln.compiler.pipeline import Cutting, in_shards, recipes
from dln.compiler.plan import PARTS, Program, SharedValue, at, buffer_bytes
from dln.compiler.stages import APART, STAGES, optimise, part
from dln.grammar.diagnostics import clean
from dln.options import Some, compiled, settings, takes
from dln.printing.terminal import Terminal, plural
from dln.settings import chosen
from dln.spec import Compiled

ORDER = 40


@click.command(help=__doc__)
@click.argument("spec")
@click.option(
    "--pass", "only", type=Some(), metavar="NAME", help="Only this pass, for instance stabilise."
)
@takes("program", "target", "spec")
def command(
    terminal: Terminal, /, spec: str, only: str | None, program: str | None, **given: Any
) -> int:
    """Each use of a rule by a pass: which rule, exact or not, where, before and after."""
    asked = settings(terminal, given)
    made = compiled(terminal, spec, asked)
    names = list(dict.fromkeys(n for n, _ in STAGES))
    chosen(only, [*names, *LAID_OUT], "pass")
    programs = chosen(program, made.plan.programs, "program")
    if only in LAID_OUT:
        found = [row for name in programs for row in LAID_OUT[only](made.plan.programs[name])]
    else:
        found = [row for n in programs for row in firings(made, n, only, asked.shards)]
        found = found if program is not None else _merged(found)
    for row in found:
        terminal.result(_firing_text(row) + "\n")
    terminal.result(plural(len(found), "row" if only in LAID_OUT else "rewrite"))
    terminal.data({"spec": made.spec.name, "rewrites": found})
    return 0


def firings(
    compiled: Compiled, name: str, only: str | None = None, shards: int | None = None
) -> list[dict[str, Any]]:
    """What the passes did to the graph of one program, in order; to a part of an update in shards
    what they did after the cut."""
    found: list[dict[str, Any]] = []

    def seen(stage: str, before: Graph, after: Graph, log: Log) -> None:
        found.extend(_row(name, stage, f.rule, f.before, f.after, f.spans, f.exact)
                     for f in log if only in (None, stage))  # fmt: skip

    model = in_shards(compiled.spec.model, shards)
    recipe = next(
        found for key, found in recipes(model, cutting=Cutting({})).items() if str(key) == name
    )
    if recipe.begun is not None:
        optimise(recipe.begun, APART, seen)
    else:
        optimise(part(model, recipe.outputs), seen=seen)
    return found


def scheduled(program: Program) -> list[dict[str, Any]]:
    """The order of a program: what each step computes, where it was written, and the step."""
    return [
        _row(program.name, "schedule", f"step {i}", line.formula, line.code,
             [line.place] if line.place else ())
        for i, line in enumerate(program.lines, 1)
    ]  # fmt: skip


def allocated(program: Program) -> list[dict[str, Any]]:
    """The arena: which buffers share a slot, and from which step to which each is in use."""
    rows = []
    for slot, size in enumerate(program.slots):
        held = [b for b in program.buffers if b.place == "arena" and b.slot == slot]
        lives = [f"{b.name} {_life(program, b.name)}: {b.note}" for b in held]
        after = f"{at(size, program.capacity):,} bytes"
        rows.append(_row(program.name, "allocate", f"slot {slot}", "\n    ".join(lives), after))
    return rows


def _life(program: Program, name: str) -> str:
    """The first and the last step that touch a buffer; the names of views stand for theirs."""
    views = {name, *(line.writes for line in program.setup if line.writes and name in line.reads)}
    steps = [i for i, line in enumerate(program.lines, 1)
             if views & {*line.reads, line.writes}]  # fmt: skip
    return f"steps {steps[0]} to {steps[-1]}" if steps else "unused"


def summed(program: Program) -> list[dict[str, Any]]:
    """What each shard of a minibatch adds to sums in a round, where it was written, and its
    size."""
    lines, found = {line.writes: line for line in program.lines}, []
    for b in program.values:
        key, line = SharedValue.parse(b.key), lines.get(b.name)
        if key is not None and key.kind in PARTS:
            after = f"{key.kind} over the shards: {buffer_bytes(program, b, 0):,} bytes"
            place = [line.place] if line and line.place else ()
            formula = line.formula if line else b.note
            found.append(_row(program.name, "shards", b.key, formula, after, place))
    return found


LAID_OUT = {"schedule": scheduled, "allocate": allocated, "shards": summed}


def _row(
    program: str, stage: str, rule: str, before: str, after: str, places: Iterable[object] = (),
    exact: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """What `--json` prints of a rewrite."""
    return {"programs": [program], "pass": stage, "rule": rule, "exact": exact,
            "at": list(map(str, places)), "before": before, "after": after}  # fmt: skip


def _merged(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rewrite in several programs is told once."""
    rows: dict[str, dict[str, Any]] = {}
    for row in found:
        key = repr([row[k] for k in ("pass", "rule", "at", "before", "after")])
        old = rows.setdefault(key, row)
        if old is not row:
            old["programs"] += [p for p in row["programs"] if p not in old["programs"]]
    return list(rows.values())


def _firing_text(row: dict[str, Any]) -> str:
    kind, programs = "exact" if row["exact"] else "equal up to rounding", row["programs"]
    where = ", ".join(programs[:3]) + (f" and {len(programs) - 3} more" if programs[3:] else "")
    lines = [f"{row['pass']}: {row['rule']} ({kind}) in {where}"]
    lines += [f"  at {place}" for place in row["at"][:3]]
    lines += [f"  - {row['before']}", f"  + {row['after']}"]
    return clean("\n".join(lines))
