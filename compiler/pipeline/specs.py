"""The records of the model as plain data for a runtime: nodes become shapes and keys of programs,
spans become places."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from itertools import count as counting
from math import prod

from dln.compiler import model as built
from dln.compiler import plan
from dln.compiler.frontend.data import origins
from dln.compiler.ir.graph import Node
from dln.compiler.ir.masks import live_count
from dln.compiler.ir.op import op_of
from dln.compiler.ir.ops.loop import everything
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_stop
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.schedule import extent
from dln.compiler.pipeline.losses import gradients, learned_lines
from dln.compiler.pipeline.recipes import claimed, estimated, in_step, rows_of, taken_apart
from dln.compiler.schema.headers import WantedField
from dln.compiler.schema.keys import EmittedValue, ProgramKind, value
from dln.grammar.diagnostics import DlnError, Problem, Span

# ---- parameters and data -----------------------------------------------------------------------


def param_spec(v: built.Parameter) -> plan.ParamSpec:
    shape = _numbers(v.node.type.shape)
    live = None if v.joins is None else live_count(v.joins, shape)
    return plan.ParamSpec.extending(v, shape=shape, place=plan.Place.of(v.span), live=live)


def data_spec(d: built.DataSet) -> plan.DataSpec:
    return plan.DataSpec.extending(
        d,
        raw=tuple(_raw_spec(d, k, n.type) for k, n in d.raw.items()),
        fields=tuple(_field_of(d, f) for f in d.fields.values()),
        drawn=any(f.drawn for f in d.fields.values()),
        place=plan.Place.of(d.span),
        claims={name: _field_of(d, f) for name, f in claimed(d).items()},
        measured={name: _measure_spec(m) for name, m in d.measured.items()},
        plain=all(_as_it_stands(d, f) for f in d.fields.values()),
    )


def _as_it_stands(d: built.DataSet, f: built.FieldOf) -> bool:
    """Whether a field is an array of raw of its name, nothing done to it."""
    node = f.value
    while op_of(node).is_("identity"):
        node = node.operands[0]
    return node is d.raw.get(f.name)


def _measure_spec(m: built.Measuring) -> plan.MeasureSpec:
    shape = _numbers(m.value.type.shape[2 if m.timed else 1 :])
    return plan.MeasureSpec.extending(m, shape=shape)


def _raw_spec(d: built.DataSet, name: str, type: TensorType) -> plan.FieldSpec:
    """What a reader gives, or what is to be handed over."""
    for f in d.args:
        if isinstance(f, WantedField) and f.name == name:
            place = plan.Place.of(d.ports[name])
            same = {k: getattr(f, k) for k in f._fields if k != "named"}
            return plan.FieldSpec(**same, place=place)
    return _field_spec(name, type, None)


def _field_of(d: built.DataSet, f: built.FieldOf) -> plan.FieldSpec:
    if f.name in d.lengths:
        beside = (other.node for other in d.fields.values() if other.ends == f.name)
        return _length_spec(f.name, beside, f.span)
    made = _field_spec(f.name, f.node.type, f.span)
    timed = made.timed or f.timed
    ends = f.ends or (d.lengths[0] if timed and len(d.lengths) == 1 else "")
    return made.changed(cells=origins.cells(f.value, d), timed=timed, ends=ends)


def _field_spec(name: str, type: TensorType, span: Span | None) -> plan.FieldSpec:
    size = type.domain.size
    classes = None if size is None else size.constant
    shape = _numbers(type.shape[1:] if type.running[:1] == ("batch",) else type.example)
    timed = "time" in type.running
    return plan.FieldSpec(
        name, shape, type.kind, type.domain.name, classes, plan.Place.of(span), timed=timed
    )


def _length_spec(name: str, beside: Iterable[Node], span: Span | None) -> plan.FieldSpec:
    """A field of lengths: of 1 to the number of steps that others have."""
    steps = (n.type.size_of("time").constant for n in beside if "time" in n.type.running)
    return plan.FieldSpec(name, (), "index", "length", next(steps), plan.Place.of(span))


# ---- phases ------------------------------------------------------------------------------------


def phase_spec(
    model: built.Model, ph: built.Phase, programs: Container[str] = (),
    uncut: DlnError | None = None,
) -> plan.PhaseSpec:  # fmt: skip
    descent, pairs = None, dict[str, tuple[int, ...]]()
    if ph.descent is not None:  # over the parameters that its loss depends on
        descent = plan.DescentSpec.extending(ph.descent, params=tuple(gradients(model, ph)))
        n = sum(prod(_numbers(model.params[path].node.type.shape)) for path in descent.params)
        history = (descent.history, n)  # differences of points and of gradients
        pairs = {plan.POINTS: history, plan.SLOPES: history, plan.COUNT: ()}
    rows = rows_of(model, ph)
    return plan.PhaseSpec.extending(
        ph,
        states={
            k: tuple(plan.at(extent(s), rows) for s in v.type.shape)
            for k, v in ph.state_init.items()
        }
        | pairs,
        watches=tuple(_watch(model, ph, w) for w in ph.watches),
        keeps=tuple(
            plan.KeepSpec(
                k.every, None if k.best is None else ProgramKind.BEST.of(ph.name, i), k.handed
            )
            for i, k in enumerate(ph.keeps)
        ),
        starts=tuple(s.path for s in ph.starts),
        loads=tuple(plan.LoadSpec(x.path, x.file, x.name) for x in ph.loads),
        until=tuple(ProgramKind.UNTIL.of(ph.name, i or None) for i, _ in enumerate(ph.until)),
        place=plan.Place.of(ph.span),
        stops=any(map(is_stop, everything(ph.objectives))),
        estimates=tuple(
            plan.EstimateSpec(ProgramKind.ESTIMATE.of(ph.name, i or None), *alike, tuple(values))
            for i, (alike, values) in enumerate(estimated(ph).items())
        ),
        descent=descent,
        lines=tuple(
            plan.LineSpec(key, tuple(line.slopes), tuple(left))
            for key, line, left in learned_lines(model, ph)
        ),
        cuts=tuple(tuple(_rounds(ph.name, i, programs)) for i in range(len(ph.turns) or 1))
        if ph.shards
        else (),
        uncut=() if uncut is None else tuple(map(_uncut, uncut.problems)),
    )


def _uncut(problem: Problem) -> plan.UncutSpec:
    p, place = problem, plan.Place.of(problem.span)
    return plan.UncutSpec(place, p.message, p.label, p.facts, p.remedy)


def _rounds(phase: str, turn: int, programs: Container[str]) -> Iterator[plan.RoundSpec]:
    """The rounds that an update in shards is cut into, among the programs of a plan."""
    for i in counting():
        shard, join = (k.of(phase, f"{turn}.{i}") for k in (ProgramKind.SHARD, ProgramKind.JOIN))
        if str(join) not in programs:
            return
        yield plan.RoundSpec(shard if str(shard) in programs else None, join)


def _watch(model: built.Model, ph: built.Phase, w: built.Watching) -> plan.WatchSpec:
    sizes = {k: map(model.sizes.resolve, shape) for k, shape in w.carried.items()}
    count = len(taken_apart(model, w))
    turns = (f"{w.name}.{i}" for i in range(count))
    rounds = tuple(
        (ProgramKind.TALLY.of(ph.name, turn), ProgramKind.MADE.of(ph.name, turn)) for turn in turns
    )
    own = None if in_step(w) else ProgramKind.WATCH.of(ph.name, w.name)
    return plan.WatchSpec.extending(
        w,
        program=rounds[0][0] if rounds else own,
        rounds=rounds,
        place=plan.Place.of(w.span),
        carried={k: _numbers(shape) for k, shape in sizes.items()},
        numbers=next(iter(_numbers(w.value.type.example)), None),
    )


# ---- instances and tasks -----------------------------------------------------------------------


def applied_spec(a: built.Applied) -> plan.AppliedSpec:
    """An instance as a function, as plain data."""
    ends = set(a.ends.values())
    ports = tuple(
        _length_spec(k, (a.ports[p] for p, end in a.ends.items() if end == k), None)
        if k in ends
        else _field_spec(k, v.type, None).changed(ends=a.ends.get(k, ""))
        for k, v in a.ports.items()
    )
    step = None
    if a.step is not None:  # what it carries goes in and comes out
        step = plan.AppliedSpec(
            ProgramKind.ONE_STEP.of(a.path),
            tuple(_field_spec(k, v.type, None) for k, v in a.step.ports.items()),
            tuple(a.step.results),
            carried=tuple(a.step.carried),
            first=ProgramKind.FIRST.of(a.path),
        )
    return plan.AppliedSpec(ProgramKind.APPLY.of(a.path), ports, tuple(a.results), step)


def task_spec(t: built.Tasking) -> plan.TaskSpec:
    emits = tuple(_emit(t, e, i) for i, e in enumerate(t.emits))
    return plan.TaskSpec.extending(t, program=ProgramKind.TASK.of(t.name), emits=emits)


def _emit(t: built.Tasking, e: built.Emission, number: int) -> plan.EmitSpec:
    """Each part is a tensor by the key of a value, a watch, or a text."""
    keys = (part.key or EmittedValue(number, k) for k, part in enumerate(e.parts))
    return plan.EmitSpec.extending(
        e,
        parts=tuple(
            plan.PartSpec.extending(
                part, value=value(key) if isinstance(part.value, Node) else part.value
            )
            for key, part in zip(keys, e.parts, strict=True)
        ),
        place=plan.Place.of(e.span),
        program=None if e.on is None else ProgramKind.TASK.of(t.name, number),
    )


def _numbers(shape: Iterable[Size]) -> tuple[int, ...]:
    return tuple(s.constant for s in shape)
