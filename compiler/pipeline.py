"""Model to plan: which programs there are, and the stages that each goes through.

The graph stages stand in `stages`; here the target's own follow: schedule, lower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from dln.compiler import plan as p
from dln.compiler.fingerprint import fingerprint
from dln.compiler.frontend.data import origins
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.masks import live_count
from dln.compiler.ir.op import elements
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.emit import lower
from dln.compiler.lower.schedule import extent
from dln.compiler.lower.targets import TARGETS, Target
from dln.compiler.model import (
    Applied,
    DataSet,
    Emission,
    FieldOf,
    Model,
    Parameter,
    Phase,
    Watching,
)
from dln.compiler.schema.keys import (
    EmittedValue,
    GradientValue,
    LeftValue,
    LineLoss,
    Output,
    ProgramKey,
    ProgramKind,
    ValueKey,
    WatchValue,
    new_param,
    new_state,
    value,
)
from dln.compiler.stages import optimise, part
from dln.grammar.diagnostics import Fault, Span

CHUNK = 1000  # examples that data, watches and applied instances take at a time
LARGEST = 1 << 24  # elements that examples held against whole data may fill at a time


# ---- programs ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """What a program is made of: its outputs, for how many examples, in which precision.

    Of `chunked` examples fewer may be taken at a time.
    """

    outputs: Mapping[Output, Node]
    capacity: int
    dtype: str
    chunked: bool = False


class Compiled(Mapping[str, p.Program]):
    """Programs by the texts of their keys, each compiled when it is first asked for."""

    def __init__(
        self,
        model: Model,
        target: Target,
        recipes: Mapping[ProgramKey, Recipe],
        seen: Sequence[Callable[[p.Program], None]] = (),
    ) -> None:
        self.model, self.target, self.seen = model, target, seen
        self.recipes = {str(key): recipe for key, recipe in recipes.items()}
        self.made: dict[str, p.Program] = {}

    def __getitem__(self, name: str) -> p.Program:
        if name not in self.made:
            same = [n for n in self.made if self.recipes[n] is self.recipes[name]]
            made = self.made[same[0]] if same else self._compile(name, self.recipes[name])
            self.made[name] = made
        return self.made[name]

    def _compile(self, name: str, recipe: Recipe) -> p.Program:
        graph = optimise(part(self.model, recipe.outputs))
        capacity = bearable(graph, recipe.capacity) if recipe.chunked else recipe.capacity
        made = lower(name, graph, self.target, recipe.dtype, capacity)
        for look in self.seen:
            look(made)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self.recipes)

    def __len__(self) -> int:
        return len(self.recipes)


def bearable(graph: Graph, count: int) -> int:
    """So many examples at a time that what holds each against whole data stays of a size."""
    nodes = ancestors(graph.outputs.values())
    if not any(node.op == "whole" for node in nodes):
        return count
    each = (elements(n.type) for n in nodes if "batch" in n.type.running)
    most = max((c for size in each for _, c in size.terms), default=1)
    return max(1, min(count, LARGEST // most))


def compile_model(
    model: Model,
    target: str,
    dtype: str | None,
    name: str,
    seen: Sequence[Callable[[p.Program], None]] = (),
) -> p.Plan:
    """The plan of an inferred model. `dtype` overrides what the phases say; those in `seen` are
    shown each program when it is compiled."""
    if target not in TARGETS:
        raise Fault(f"there is no backend {target}", "one of " + ", ".join(TARGETS), "E522")
    base = dtype or _common_dtype(model)
    recipes: dict[ProgramKey, Recipe] = {}
    _init_recipes(model, recipes)
    for data in model.data.values():
        outputs = {value(f.name): f.value for f in data.fields.values()}
        # In double precision: a phase may ask for it, and casting down is exact enough.
        recipes[ProgramKind.DATA.of(data.name)] = Recipe(
            outputs, min(CHUNK, max(data.count, 1)), "float64"
        )
        if asked := claimed(data):
            outputs = {value(name): f.value for name, f in asked.items()}
            recipes[ProgramKind.CLAIMS.of(data.name)] = Recipe(
                outputs, min(CHUNK, data.count), "float64"
            )
    phases = {
        n: _phase(model, ph, dtype or ph.dtype or base, recipes) for n, ph in model.phases.items()
    }
    applied = {path: _applied(a, base, recipes) for path, a in model.functions.applied.items()}
    tasks = _tasks(model, base, recipes)
    return p.Plan(
        name=name,
        target=target,
        dtype=base,
        programs=p.ProgramTable(Compiled(model, TARGETS[target], recipes, seen)),
        params={k: _param(k, v) for k, v in model.params.items() if not v.checks},
        data={n: data_spec(d) for n, d in model.data.items()},
        phases=phases,
        applied=applied,
        refused=model.functions.refused,
        tasks=tasks,
        texts={path: s.text for path, s in model.sources.items()},
        constants=dict(model.constants),
        fingerprint=fingerprint(model),
        wholes=tuple(sorted({n["name"] for n in model.graph.topological() if n.op == "whole"})),
    )


def claimed(data: DataSet) -> dict[str, FieldOf]:
    """What is checked before the fields are made: what is asserted inside of them, and where some
    are drawn at each visit, those that stay as they are."""
    found = {f"{i}": c for i, c in enumerate(data.claims)}
    if any(f.drawn for f in data.fields.values()):
        found |= {f.name: f for f in data.fields.values() if not f.drawn}
    return found


def _param(path: str, v: Parameter) -> p.ParamSpec:
    shape = _numbers(v.node.type.shape)
    live = None if v.joins is None else live_count(v.joins, shape)
    return p.ParamSpec(path, shape, v.trainable, place(v.span), v.joins, live)


def _common_dtype(model: Model) -> str:
    """float64 where every phase asks for it, else float32."""
    asked = {ph.dtype for ph in model.phases.values()}
    return asked.pop() or "float32" if len(asked) == 1 else "float32"


def _init_recipes(model: Model, recipes: dict[ProgramKey, Recipe]) -> None:
    outputs = {
        value(k): v.init for k, v in model.params.items() if v.init is not None and not v.checks
    }
    recipe = Recipe(outputs, 1, "float64")
    recipes.update({ProgramKind.INIT.of(dtype): recipe for dtype in ("float32", "float64")})


def _phase(model: Model, ph: Phase, dtype: str, recipes: dict[ProgramKey, Recipe]) -> p.PhaseSpec:
    count = model.data[ph.on.data].parts[ph.on.part][1]
    rows = ph.batch or max(count, 1)
    batch = min(rows, max(count, 1))
    grads = _gradients(model, ph)
    recipes[ProgramKind.STEP.of(ph.name)] = Recipe(_step_outputs(model, ph, grads), batch, dtype)
    descent = _descent(ph, grads)
    lines = _lines(model, ph, batch, dtype, recipes)
    if grads:
        outputs = {value(path): node for path, node in grads.items()}
        recipes[ProgramKind.GRAD.of(ph.name)] = Recipe(outputs, batch, dtype)
    if ph.state_init:
        first = {value(k): v for k, v in ph.state_init.items()}
        recipes[ProgramKind.STATES.of(ph.name)] = Recipe(first, rows if ph.kept else 1, dtype)
    estimates = _estimates(ph, count, dtype, recipes)
    if ph.starts:
        handed = {value(s.path): s.value for s in ph.starts}
        recipes[ProgramKind.START.of(ph.name)] = Recipe(handed, 1, dtype)
    until = []
    for i, condition in enumerate(ph.until):
        until.append(ProgramKind.UNTIL.of(ph.name, i or None))
        recipes[until[-1]] = Recipe({value("until"): condition}, 1, "float64")
    keeps = []
    for i, k in enumerate(ph.keeps):
        key = None if k.best is None else ProgramKind.BEST.of(ph.name, i)
        if key is not None and k.best is not None:
            recipes[key] = Recipe({value("best"): k.best}, 1, "float64")
        keeps.append(p.KeepSpec(k.every, key))
    watches = tuple(_watch(model, ph, w, batch, dtype, recipes) for w in ph.watches)
    return p.PhaseSpec(
        name=ph.name,
        data=ph.on.data,
        part=ph.on.part,
        batch=ph.batch,
        duration=ph.duration or (1, "epoch"),
        order=ph.order,
        balanced=ph.balanced,
        dtype=ph.dtype,
        seed=ph.seed,
        after=ph.after,
        fields=ph.fields,
        states={k: _for_rows(v.type.shape, rows) for k, v in ph.state_init.items()}
        | _pairs(model, descent),
        watches=watches,
        keeps=tuple(keeps),
        starts=tuple(s.path for s in ph.starts),
        until=tuple(until),
        slow=ph.slow,
        place=place(ph.span),
        carried=ph.carried,
        kept=ph.kept,
        stops=_stops(ph.objectives),
        estimates=estimates,
        descent=descent,
        lines=lines,
    )


def _lines(
    model: Model, ph: Phase, batch: int, dtype: str, recipes: dict[ProgramKey, Recipe]
) -> tuple[p.LineSpec, ...]:
    """The `minimize` lines, and the programs of their losses: at given parameters, and of what
    earlier steps leave in parameters."""
    if not any(line.slopes for line in ph.lines):
        return ()
    loss = {value("loss"): _sum(model, _once(ph.objectives))}
    left, made = dict[Output, Node](), list[p.LineSpec]()
    alone = len(set(ph.objectives)) == 1
    for i, (objective, line) in enumerate(zip(ph.objectives, ph.lines, strict=True)):
        key: ValueKey = "loss" if alone else LineLoss(i)
        needed = set(ancestors([objective]))
        loss[value(key)] = objective
        found = {k: v for k, v in line.left.items() if model.params[k].node in needed}
        left |= {value(LeftValue(i, path)): node for path, node in found.items()}
        made.append(p.LineSpec(key, tuple(line.slopes), tuple(found)))
    recipes[ProgramKind.LOSS.of(ph.name)] = Recipe(loss, batch, dtype)
    if left:
        recipes[ProgramKind.LEFT.of(ph.name)] = Recipe(left, batch, dtype)
    return tuple(made)


def _estimates(
    ph: Phase, count: int, dtype: str, recipes: dict[ProgramKey, Recipe]
) -> tuple[p.EstimateSpec, ...]:
    """One program for all states of a phase that are estimated alike."""
    alike: dict[tuple[int, int], dict[str, Node]] = {}
    for e in ph.estimates:
        alike.setdefault((e.sample, e.every), {})[e.path] = e.value
    made = []
    for i, ((sample, every), values) in enumerate(alike.items()):
        name = ProgramKind.ESTIMATE.of(ph.name, i or None)
        outputs = {value(path): node for path, node in values.items()}
        recipes[name] = Recipe(outputs, max(1, min(sample, count, CHUNK)), dtype)
        made.append(p.EstimateSpec(name, sample, every, tuple(values)))
    return tuple(made)


def _stops(values: Iterable[Node]) -> bool:
    """Whether a `stop` takes part in some values, in a loop or outside."""
    nodes = ancestors(values)
    inner = (v for n in nodes if n.op == "scan" for v in ancestors(n["body"].nexts))
    asked = (v for n in nodes if n.op == "item" for v in ancestors([n["value"]]))
    return any(n.op == "stop" for part in (nodes, inner, asked) for n in part)


def in_step(w: Watching) -> bool:
    """Whether a watch is taken by the step itself: on every minibatch of an epoch."""
    return w.on is None and (w.every is None or w.every[1] == "epoch")


def _descent(ph: Phase, grads: Mapping[str, Node]) -> p.DescentSpec | None:
    """The rules of a descent, over the parameters that its loss depends on."""
    d, params = ph.descent, tuple(grads)
    if d is None:
        return None
    return p.DescentSpec(params, d.history, d.c1, d.c2, d.trials, d.grad_tol, d.change_tol)


def _pairs(model: Model, descent: p.DescentSpec | None) -> dict[str, tuple[int, ...]]:
    """The states of a descent: differences of points and of gradients, and how many there were."""
    if descent is None:
        return {}
    n = sum(prod(_numbers(model.params[path].node.type.shape)) for path in descent.params)
    return {p.POINTS: (descent.history, n), p.SLOPES: (descent.history, n), p.COUNT: ()}


def _step_outputs(model: Model, ph: Phase, grads: Mapping[str, Node]) -> dict[Output, Node]:
    outputs = {new_param(k): v for k, v in ph.updates.items()}
    if ph.descent is not None:
        outputs = {value(GradientValue(k)): v for k, v in grads.items()}
    outputs |= {new_state(k): v for k, v in ph.states.items()}
    outputs |= {value(WatchValue(w.name)): w.value for w in ph.watches if in_step(w)}
    if ph.losses:
        outputs[value("loss")] = _sum(model, _reported(ph))
    return outputs


def _reported(ph: Phase) -> list[Node]:
    """The losses that the reported loss adds up, as the steps meet them: an objective of several
    lines counts once."""
    first: dict[Node, Node] = {}
    for objective, loss in zip(ph.objectives, ph.losses, strict=True):
        first.setdefault(objective, loss)
    return list(first.values())


def _once(nodes: Iterable[Node]) -> list[Node]:
    return list(dict.fromkeys(nodes))


def _sum(model: Model, nodes: Sequence[Node]) -> Node:
    total = nodes[0]
    for node in nodes[1:]:
        total = model.graph.add("add", (total, node), total.type)
    return total


def _gradients(model: Model, ph: Phase) -> dict[str, Node]:
    """The gradient that moves each parameter: that of the lines over it, as its updates use it."""
    slopes = {path: ph.slopes(path) for path in ph.updates}
    return {path: _sum(model, found) for path, found in slopes.items() if found}


def _watch(
    model: Model, ph: Phase, w: Watching, batch: int, dtype: str, recipes: dict[ProgramKey, Recipe]
) -> p.WatchSpec:
    program = None
    if not in_step(w):
        program = ProgramKind.WATCH.of(ph.name, w.name)
        capacity = batch
        if w.on is not None:
            count = model.data[w.on.data].parts[w.on.part][1]
            capacity = min(count, CHUNK) if w.per_example else count
        capacity = w.stream or _fewer(capacity, [w.value])
        outputs = {value("watch"): w.value} | {new_state(k): v for k, v in w.states.items()}
        recipes[program] = Recipe(outputs, capacity, dtype, w.per_example and w.stream is None)
    on = None if w.on is None else (w.on.data, w.on.part)
    return p.WatchSpec(
        w.name,
        program,
        w.per_example,
        w.total,
        on,
        w.every,
        w.fields,
        place(w.span),
        w.stream,
        {k: _numbers(tuple(map(model.sizes.resolve, shape))) for k, shape in w.carried.items()},
    )


def _fewer(count: int, values: Iterable[Node]) -> int:
    """So many examples at a time that sequences take no more memory than single examples do."""
    steps = [n.type.size_of("time").constant for n in ancestors(values) if runs_over_time(n)]
    return max(1, min(count, CHUNK // max(steps, default=1) + 1)) if steps else count


def runs_over_time(node: Node) -> bool:
    return node.op == "input" and "time" in node.type.running


def _applied(a: Applied, dtype: str, recipes: dict[ProgramKey, Recipe]) -> p.AppliedSpec:
    outputs = {value(k): v for k, v in a.results.items()}
    key = ProgramKind.APPLY.of(a.path)
    recipes[key] = Recipe(outputs, _fewer(CHUNK, a.results.values()), dtype)
    steps = [v.type.size_of("time").constant for v in a.ports.values() if runs_over_time(v)]
    ports = tuple(
        p.FieldSpec(k, (), "index", "length", steps[0])
        if k == a.length
        else _field_spec(k, v.type, None)
        for k, v in a.ports.items()
    )
    step = None if a.step is None else _step(a.step, dtype, recipes)
    return p.AppliedSpec(key, ports, tuple(a.results), step)


def _step(a: Applied, dtype: str, recipes: dict[ProgramKey, Recipe]) -> p.AppliedSpec:
    """One step of an instance: what it carries goes in and comes out."""
    name, first = ProgramKind.ONE_STEP.of(a.path), ProgramKind.FIRST.of(a.path)
    after = {value(k): v for k, (_, _, v) in a.carried.items()}
    outputs = {value(k): v for k, v in a.results.items()} | after
    recipes[name] = Recipe(outputs, 1, dtype)
    recipes[first] = Recipe({value(k): v for k, (v, _, _) in a.carried.items()}, 1, dtype)
    ports = tuple(_field_spec(k, v.type, None) for k, v in a.ports.items())
    return p.AppliedSpec(name, ports, tuple(a.results), None, tuple(a.carried), first)


def _tasks(model: Model, dtype: str, recipes: dict[ProgramKey, Recipe]) -> dict[str, p.TaskSpec]:
    out = {}
    for t in model.tasks.values():
        outputs = {
            value(EmittedValue(i, k)): piece.value
            for i, e in enumerate(t.emits)
            for k, piece in enumerate(e.parts)
            if isinstance(piece.value, Node) and e.on is None
        }
        key = ProgramKind.TASK.of(t.name)
        recipes[key] = Recipe(outputs, 1, dtype)
        emits = []
        for i, e in enumerate(t.emits):
            made = _emit(e, i)
            if e.on is not None:
                picked = ProgramKind.TASK.of(t.name, i)
                made = replace(made, program=picked)
                capacity = min(max(model.data[e.on.data].parts[e.on.part][1], 1), CHUNK)
                recipes[picked] = Recipe(_examples(e), capacity, dtype, chunked=True)
            emits.append(made)
        out[t.name] = p.TaskSpec(t.name, key, tuple(emits), t.after)
    return out


def _examples(e: Emission) -> dict[Output, Node]:
    """What a program that picks examples leaves."""
    nodes = {piece.key: piece.value for piece in e.parts if isinstance(piece.value, Node)}
    asked = nodes if e.where is None else {**nodes, "where": e.where}
    return {value(key): node for key, node in asked.items()}


def _emit(e: Emission, number: int) -> p.EmitSpec:
    """What is emitted, as plain data: tensors by the names of the task's values."""
    parts = []
    for k, piece in enumerate(e.parts):
        if isinstance(piece.value, Node):
            key = piece.key or str(EmittedValue(number, k))
            facts = (piece.label, piece.alphabet, piece.axis, piece.rows)
            parts.append(p.PartSpec("value", key, *facts))
        else:
            source = "text" if e.form == "text" else "history"
            parts.append(p.PartSpec(source, piece.value, piece.label, axis=piece.axis))
    on = None if e.on is None else (e.on.data, e.on.part)
    return p.EmitSpec(e.form, tuple(parts), e.to, place(e.span), None, on, e.count)


# ---- from the graph's types to plain data ------------------------------------------------------


def place(span: Span | None) -> p.Place | None:
    """A span as plain data."""
    if span is None:
        return None
    return p.Place(span.source.path, span.line, span.column, span.start, span.stop)


def _numbers(shape: Iterable[Size]) -> tuple[int, ...]:
    return tuple(s.constant for s in shape)


def _for_rows(shape: Iterable[Size], rows: int) -> tuple[int, ...]:
    """A shape for so many examples."""
    return tuple(p.at(extent(s), rows) for s in shape)


def _field_spec(name: str, type: TensorType, span: Span | None) -> p.FieldSpec:
    size = type.domain.size
    classes = None if size is None else size.constant
    shape = _numbers(type.shape[1:] if type.running[:1] == ("batch",) else type.example)
    timed = "time" in type.running
    return p.FieldSpec(name, shape, type.kind, type.domain.name, classes, place(span), timed=timed)


def data_spec(d: DataSet) -> p.DataSpec:
    """A data set as plain data."""
    steps = [f.node.type.size_of("time").constant for f in d.fields.values() if _timed(f)]

    def spec(f: FieldOf) -> p.FieldSpec:
        if f.name == d.length:  # one of 1 to the number of steps
            return p.FieldSpec(f.name, (), "index", "length", steps[0], place(f.span))
        made = _field_spec(f.name, f.node.type, f.span)
        return replace(made, cells=origins.cells(f.value, d), timed=made.timed or f.timed)

    raw = tuple(_field_spec(k, n.type, None) for k, n in d.raw.items())
    return p.DataSpec(
        d.name,
        d.reader,
        d.args,
        d.options,
        d.base,
        d.override,
        raw,
        tuple(spec(f) for f in d.fields.values()),
        any(f.drawn for f in d.fields.values()),
        d.parts,
        d.count,
        place(d.span),
        {name: spec(f) for name, f in claimed(d).items()},
    )


def _timed(f: FieldOf) -> bool:
    return "time" in f.node.type.running
