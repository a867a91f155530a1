"""Print a spec with every default written out and every size."""

from __future__ import annotations

from math import prod
from typing import Any

import click

from dln.compiler.model import DataSet, Model, Phase
from dln.compiler.plan import Plan, Program, ProgramKey, memory
from dln.compiler.schema.tables import DTYPE
from dln.compiler.show import graph_dot, graph_mermaid, graph_text
from dln.kept.facts import shapes
from dln.options import loaded, settings, takes
from dln.printing.terminal import Terminal, columns, plural
from dln.reading.counts import count_text, part_data, part_texts, reader_text
from dln.reading.resolved import resolved
from dln.spec import Spec

ORDER = 20
FORMS = {"graph": graph_text, "dot": graph_dot, "mermaid": graph_mermaid}


@click.command(help=__doc__)
@click.argument("spec")
@click.option("--graph", "form", flag_value="graph", help="The graph as text.")
@click.option("--dot", "form", flag_value="dot", help="The graph for Graphviz.")
@click.option("--mermaid", "form", flag_value="mermaid", help="The graph for Mermaid.")
@takes("spec")
def command(terminal: Terminal, /, spec: str, form: str | None, **given: Any) -> int:
    """The spec, or its graph in one of the forms."""
    found = loaded(spec, settings(terminal, given))
    if form is None:
        return show(terminal, found)
    text = FORMS[form](found.model.graph)
    terminal.result(text)
    terminal.data({"spec": found.name, form: text})
    return 0


def show(terminal: Terminal, spec: Spec) -> int:
    """The spec with all its defaults, then every size that follows from it."""
    plan = spec.compile().plan
    if terminal.json:
        terminal.data(as_data(spec, plan))
        return 0
    model = spec.model
    terminal.result(resolved(spec).rstrip())
    sections = {f"parameters: {spec.facts.parameters:,}": parameter_table(model),
                "applied instances": instance_table(model), "data": data_table(model),
                "phases": phase_table(model, plan)}  # fmt: skip
    for title, body in sections.items():
        if body:
            terminal.result(f"\n# {title}\n{body}")
    return 0


def parameter_table(model: Model) -> str:
    """Path, shape, how many numbers, and whether they stay as they are."""
    rows = []
    for path, (shape, count, trainable) in shapes(model).items():
        remarks = ["partly joined"] * (count < prod(shape)) + ["fixed"] * (not trainable)
        rows.append((path, str(list(shape)), f"{count:,}", ", ".join(remarks)))
    return columns(rows, right=[2])


def instance_table(model: Model) -> str:
    rows = []
    for path, applied in model.functions.applied.items():
        sides = (applied.ports, applied.results)
        ports, results = (", ".join(f"{k}{v.type}" for k, v in s.items()) for s in sides)
        rows.append((path, f"{ports} -> {results}"))
    return columns(rows)


def data_table(model: Model) -> str:
    rows = []
    for data in model.data.values():
        rows.append((data.name, count_text(data), reader_text(data)))
        rows += [("", f"{f.name}{f.node.type}", "drawn" if f.drawn else "")
                 for f in data.fields.values()]  # fmt: skip
        rows += [("", f"{name}: {many} {at}", "") for name, many, at in part_texts(data)]
    return columns(rows)


def phase_table(model: Model, plan: Plan) -> str:
    """Each phase with its clauses, then what a step of it needs and costs."""
    rows = []
    for name, phase in model.phases.items():
        costs = [_cost(plan.programs[key], key, phase) for key in plan.phases[name].steps]
        first, *more = [*phase_lines(phase), *costs]
        rows += [(name, first), *(("", line) for line in more)]
    return columns(rows)


def _cost(program: Program, key: ProgramKey, phase: Phase) -> str:
    """What an update needs and costs; where rounds have several kinds of them, one of this kind."""
    n, number = program.capacity, key.at or 0
    places = [str(k) for k, i in enumerate(phase.rounds, 1) if i == number]
    if len(places) > 4 and int(places[-1]) - int(places[0]) == len(places) - 1:
        places = [f"{places[0]} to {places[-1]}"]
    which = f"update {', '.join(places)} of a round of" if places else "one update of"
    total, flops = sum(memory(program, n).values()), program.flops(n)
    said = f"{total:,} bytes, {flops:,} floating-point operations"
    return f"{which} {plural(n, 'example')}: {said}"


def phase_lines(phase: Phase) -> list[str]:
    """What a phase does, defaults included, and how many updates that is where it is known."""
    count, unit = phase.duration
    lines = [f"on {phase.on} {_reading(phase)} for {plural(count, unit)}"]
    seed = "the run's seed" if phase.seed is None else f"seed {phase.seed}"
    facts = [f"dtype {phase.dtype or DTYPE}", seed]
    facts += [f"in {phase.shards} shards"] if phase.shards else []
    facts += [f"after {', '.join(phase.after)}"] if phase.after else []
    facts += ["only for slow checks"] if phase.slow else []
    lines.append(", ".join(facts))
    if phase.updates:
        lines.append(f"changes {', '.join(phase.updates)}")
    for w in phase.watches:
        on = f" on {w.on}" if w.on is not None else ""
        every = "at the end" if w.every is None else f"every {plural(*w.every)}"
        lines.append(f"watches {'total ' if w.total else ''}{w.name}{on} {every}")
    return lines


def _reading(phase: Phase) -> str:
    """How many examples are read at once, and in which order."""
    if phase.order == "stream":
        return f"stream {phase.batch}"
    batch = "all" if phase.batch is None else str(phase.batch)
    order = f"{phase.order}({phase.balanced})" if phase.balanced else phase.order
    return f"batch {batch} order {order}"


def _part(data: DataSet, name: str) -> Any:
    """A part for programs: begin and number of examples, where it is one stretch of the file."""
    return data.stretch(name) or part_data(data, data.parts[name])


def as_data(spec: Spec, plan: Plan) -> dict[str, Any]:
    """What `show --json` prints."""
    model = spec.model
    return {
        "spec": spec.name,
        "text": resolved(spec),
        "constants": dict(model.constants),
        "parameters": spec.facts.parameters,
        "tensors": {k: list(shape) for k, (shape, *_) in shapes(model).items()},
        "data": {d.name: {"examples": d.count if d.counted else None,
                 "fields": {k: str(f.node.type) for k, f in d.fields.items()},
                 "parts": {k: _part(d, k) for k in d.parts} if d.counted
                 else {p.name: p.text for p in d.asked}}
                 for d in model.data.values()},
        "phases": {p.name: {"on": str(p.on), "batch": p.batch, "order": p.order, "for": p.duration,
                   "dtype": p.dtype or plan.dtype, "after": p.after, "slow": p.slow,
                   "watch": [w.name for w in p.watches]} for p in model.phases.values()},
    }  # fmt: skip
