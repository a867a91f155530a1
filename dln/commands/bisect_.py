"""Find the rewrite that changes a result of a spec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from dln.bisecting.given import Given
from dln.bisecting.lowering import Lowered, Misstep
from dln.bisecting.rewrites import Bisection, Rewrite
from dln.compiler.pipeline import recipes
from dln.compiler.plan import PIECES, ProgramKey
from dln.compiler.stages import part
from dln.grammar.diagnostics import clean
from dln.options import compiled, settings, takes
from dln.printing.terminal import Terminal, number, plural
from dln.settings import chosen
from dln.spec import Compiled

ORDER = 95
SHOWN = 3  # results that are shown of those that change


@click.command("bisect", help=__doc__)
@click.argument("spec")
@takes("program", "device", "spec")
def command(terminal: Terminal, /, spec: str, program: str | None, **given: Any) -> int:
    """Each program as the passes and lowering make it, held against the evaluator on the graph as
    it was built; 1 where results differ by more than rounding."""
    asked = settings(terminal, {**given, "dtype": "float64"})
    made = compiled(terminal, spec, asked)
    programs = recipes(made.spec.model, "float64")
    alike = {id(recipe): name for name, recipe in reversed(programs.items())}  # one work, once
    whole = [n for n in made.plan.programs if ProgramKey.parse(n).kind not in PIECES]
    names = chosen(program, whole, "program")
    if program is None:
        names = [n for n in names if ProgramKey.parse(n) in alike.values()]
    drawn = Given(made.spec.model, made.plan, asked.seed)
    found = {name: bisected(made, name, drawn) for name in names}
    faults = [row["fault"] for row in found.values() if row["fault"]]
    for row in faults:
        terminal.result(fault_text(row) + "\n")
    fired = sum(row["rewrites"] for row in found.values())
    text = f"{plural(len(found), 'program')}, {plural(fired, 'rewrite')}: "
    text += f"{len(faults)} with wrong results" if faults else "no result changes"
    terminal.result(text)
    terminal.data({"spec": made.spec.name, "programs": found})
    return 1 if faults else 0


def bisected(made: Compiled, name: str, given: Given) -> dict[str, Any]:
    """One program: how many rewrites were made of it, and which one is wrong, if any is."""
    key = ProgramKey.parse(name)
    recipe = recipes(made.spec.model, "float64")[key]
    given = given.to(recipe, key)
    passes = Bisection(given, part(made.spec.model, recipe.outputs))
    graph, log = passes.optimised()
    fault: Rewrite | Misstep | None = None
    if passes.wrong(graph, log):
        fault = passes.first()
    elif (lowered := Lowered(name, graph, given)).wrong():
        fault = lowered.first() or Misstep(None, None, lowered.wrong())
    return {"rewrites": len(log), "fault": fault and fault_data(name, fault)}


def fault_data(program: str, fault: Rewrite | Misstep) -> dict[str, Any]:
    """What `--json` prints of a rewrite, or of a step of a program."""
    changed = [{"result": d.output, "at": list(d.at), "before": d.before, "after": d.after}
               for d in fault.results]  # fmt: skip
    if isinstance(fault, Misstep):
        line, rule = fault.line, "copies" if fault.line is None else f"line {fault.number}"
        row = _row(program, "lower", rule)
        if line is not None:
            places = [line.place] if line.place else ()
            row = _row(program, "lower", rule, line.formula, line.code, places)
    elif (firing := fault.firing) is None:
        row = _row(program, fault.stage, "outside of its rules")
    else:
        row = _row(program, fault.stage, firing.rule, firing.before, firing.after, firing.spans)
        row |= {"exact": firing.exact, "number": fault.number, "of": fault.of}
    return {**row, "changes": changed}


def _row(
    program: str, stage: str, rule: str, before: str | None = None, after: str | None = None,
    places: Iterable[object] = (),
) -> dict[str, Any]:  # fmt: skip
    return {"program": program, "pass": stage, "rule": rule, "at": list(map(str, places)),
            "before": before, "after": after}  # fmt: skip


def fault_text(row: Mapping[str, Any]) -> str:
    """The rewrite as `dln explain` prints it, and what it changes."""
    kind = "exact" if row.get("exact") else "equal up to rounding"
    said = f" ({kind}), rewrite {row['number']} of {row['of']}" if "number" in row else ""
    lines = [f"{row['pass']}: {row['rule']}{said} in {row['program']}"]
    lines += [f"  at {place}" for place in row["at"][:SHOWN]]
    lines += [f"  - {row['before']}", f"  + {row['after']}"] if row["before"] is not None else []
    for d in row["changes"][:SHOWN]:
        element = f"[{', '.join(map(str, d['at']))}]" if d["at"] else ""
        lines.append(f"  {d['result']}{element}: {number(d['before'])}, then {number(d['after'])}")
    more = len(row["changes"]) - SHOWN
    lines += [f"  and {plural(more, 'result')} more"] if more > 0 else []
    return clean("\n".join(lines))
