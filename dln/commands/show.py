"""`dln check` and `dln show`: what a spec is, without training it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from dln.compiler.ir.masks import live_count
from dln.compiler.model import DataSet, Model, Phase
from dln.grammar.diagnostics import clean
from dln.printing import verdict_text
from dln.printing.terminal import Terminal, columns, plural
from dln.reading import tables
from dln.running import expectations
from dln.spec import Spec

if TYPE_CHECKING:
    from dln.compiler.plan import Plan


def numbers_of(shape: Any) -> tuple[int, ...]:
    """The sizes of a parameter, which are all known."""
    return tuple(size.constant for size in shape)


def shapes(model: Model) -> dict[str, tuple[tuple[int, ...], int, bool]]:
    """Each parameter of the spec with its shape, how many numbers it has (dead entries left out)
    and whether it may be trained."""
    found = {}
    for path, p in model.params.items():
        if not p.checks:
            shape = numbers_of(p.node.type.shape)
            found[path] = (shape, live_count(p.joins, shape), p.trainable)
    return found


def parameters(model: Model) -> int:
    """How many numbers can be trained."""
    return sum(count for _, count, trainable in shapes(model).values() if trainable)


# ---- check -------------------------------------------------------------------------------------


def check(terminal: Terminal, spec: Spec, seed: int = 0) -> int:
    """Test what needs no training; 1 if an expectation failed."""
    model = spec.model
    tables.check_tables(model)
    found = expectations.verdicts(model, None, seed=seed)
    for note in model.notes:
        terminal.say(f"note: {note}")
    terminal.warn(model.warnings)
    verdict_text.brief(terminal, model, found)
    terminal.result(headline(spec))
    verdict_text.tally(terminal, found)
    terminal.data(
        {
            "spec": spec.name,
            "parameters": parameters(model),
            "phases": list(model.phases),
            "notes": list(model.notes),
            "warnings": [w.as_data() for w in model.warnings],
            "checks": verdict_text.as_data(found),
        }
    )
    return 1 if verdict_text.failed(found) else 0


def headline(spec: Spec) -> str:
    """`mlp: 79,400 parameters in 2 tensors, 1 phase, 2 data sets`."""
    model = spec.model
    tensors = plural(len(shapes(model)), "tensor")
    parts = [f"{plural(parameters(model), 'parameter')} in {tensors}"]
    parts += [plural(len(model.phases), "phase"), plural(len(model.data), "data set")]
    return f"{clean(spec.name)}: {', '.join(parts)}"


# ---- show --------------------------------------------------------------------------------------


def show(terminal: Terminal, spec: Spec) -> int:
    """The spec with all its defaults, then every size that follows from it."""
    from dln.reading.resolved import resolved

    plan = spec.compile().plan
    if terminal.json:
        terminal.data(as_data(spec, plan))
        return 0
    terminal.result(resolved(spec).rstrip())
    for title, body in sections(spec, plan):  # compiles the steps, to say what they cost
        if body:
            terminal.result(f"\n# {title}\n{body}")
    return 0


def sections(spec: Spec, plan: Plan) -> list[tuple[str, str]]:
    model = spec.model
    return [
        (f"parameters: {parameters(model):,}", parameter_table(model)),
        ("applied instances", instance_table(model)),
        ("data", data_table(model)),
        ("phases", phase_table(model, plan)),
    ]


def parameter_table(model: Model) -> str:
    """Path, shape, how many numbers, and whether they stay as they are."""
    rows = [
        (path, str(list(shape)), f"{count:,}", _remarks(count < prod(shape), trainable))
        for path, (shape, count, trainable) in shapes(model).items()
    ]
    return columns(rows, right=[2])


def _remarks(partly: bool, trainable: bool) -> str:
    return ", ".join(["partly joined"] * partly + ["fixed"] * (not trainable))


def instance_table(model: Model) -> str:
    rows = []
    for path, applied in model.functions.applied.items():
        ports = ", ".join(f"{k}{v.type}" for k, v in applied.ports.items())
        results = ", ".join(f"{k}{v.type}" for k, v in applied.results.items())
        rows.append((path, f"{ports} -> {results}"))
    return columns(rows)


def data_table(model: Model) -> str:
    rows = []
    for data in model.data.values():
        rows.append((data.name, f"{data.count:,} examples", _reader(data)))
        rows += [("", f"{f.name}{f.node.type}", "drawn" if f.drawn else "")
                 for f in data.fields.values()]  # fmt: skip
        rows += [("", f"{name}: {count:,} from {start:,}", "")
                 for name, (start, count) in data.parts.items() if name != "all"]  # fmt: skip
    return columns(rows)


def _reader(data: DataSet) -> str:
    if data.override is not None:
        return f"{data.reader} from {data.override}"
    text = ", ".join(str(a) for a in data.args)
    return f"{data.reader}({text if len(text) <= 60 else text[:57] + '...'})"


def phase_table(model: Model, plan: Plan) -> str:
    """Each phase with its clauses, then what a step of it needs and costs."""
    rows = [(name, line) for name, phase in model.phases.items() for line in phase_lines(phase)]
    for name, phase in model.phases.items():
        rows.append((name, step_line(plan, phase)))
    rows.sort(key=lambda row: list(model.phases).index(row[0]))
    seen: set[str] = set()
    out = []
    for name, line in rows:
        out.append(("" if name in seen else name, line))
        seen.add(name)
    return columns(out)


def phase_lines(phase: Phase) -> list[str]:
    """What a phase does, defaults included, and how many updates that is where it is known."""
    count, unit = phase.duration or (1, "epoch")
    lines = [f"on {phase.on} {_reading(phase)} for {plural(count, unit)}"]
    facts = [f"dtype {phase.dtype or 'float32'}"]
    facts.append("the run's seed" if phase.seed is None else f"seed {phase.seed}")
    facts += [f"after {', '.join(phase.after)}"] if phase.after else []
    facts += ["only for slow checks"] if phase.slow else []
    lines.append(", ".join(facts))
    if phase.updates:
        lines.append(f"changes {', '.join(phase.updates)}")
    lines += [_watch_line(w) for w in phase.watches]
    return lines


def _reading(phase: Phase) -> str:
    """How many examples are read at once, and in which order."""
    if phase.order == "stream":
        return f"stream {phase.batch}"
    batch = "all" if phase.batch is None else str(phase.batch)
    order = f"balanced({phase.balanced})" if phase.balanced else phase.order
    return f"batch {batch} order {order}"


def _watch_line(w: Any) -> str:
    on = f" on {w.on}" if w.on is not None else ""
    every = "at the end" if w.every is None else f"every {plural(*w.every)}"
    return f"watches {'total ' if w.total else ''}{w.name}{on} {every}"


def step_line(plan: Plan, phase: Phase) -> str:
    """Memory and arithmetic of one update."""
    from dln.compiler.plan import memory

    program = plan.programs[f"step:{phase.name}"]
    n = program.capacity
    total, flops = sum(memory(program, n).values()), program.flops(n)
    each = plural(n, "example")
    return f"one update of {each}: {total:,} bytes, {flops:,} floating-point operations"


def as_data(spec: Spec, plan: Plan) -> dict[str, Any]:
    """What `show --json` prints."""
    from dln.reading.resolved import resolved

    model = spec.model
    return {
        "spec": spec.name,
        "text": resolved(spec),
        "constants": dict(model.constants),
        "parameters": parameters(model),
        "tensors": {k: list(shape) for k, (shape, *_) in shapes(model).items()},
        "data": {d.name: {"examples": d.count, "fields": {k: str(f.node.type) for k, f in
                 d.fields.items()}, "parts": dict(d.parts)} for d in model.data.values()},
        "phases": {p.name: {"on": str(p.on), "batch": p.batch, "order": p.order, "for": p.duration,
                   "dtype": p.dtype or plan.dtype, "after": p.after, "slow": p.slow,
                   "watch": [w.name for w in p.watches]} for p in model.phases.values()},
    }  # fmt: skip


def draw(terminal: Terminal, spec: Spec, form: str) -> int:
    """The graph of the spec: `graph` as text, `dot` and `mermaid` as drawings."""
    from dln.compiler import show as drawing

    text = getattr(drawing, f"graph_{'text' if form == 'graph' else form}")(spec.model.graph)
    terminal.result(text)
    terminal.data({"spec": spec.name, form: text})
    return 0
