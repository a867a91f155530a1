"""Which programs a plan has: a table of kinds, each with what its programs are made of.

A new kind of program is a function and a row here, and its name in `ProgramKind`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_input
from dln.compiler.model import Applied, DataSet, FieldOf, Model, Phase, Tasking, Watching
from dln.compiler.pipeline.losses import added, gradients, learned_lines, once, reported
from dln.compiler.schema.keys import (
    EmittedValue,
    GradientValue,
    LeftValue,
    Output,
    ProgramKey,
    ProgramKind,
    WatchValue,
    new_param,
    new_state,
    value,
)
from dln.compiler.schema.records import On
from dln.compiler.schema.tables import DTYPE, DTYPES

CHUNK = 1000  # examples that data, watches and applied instances take at a time


@dataclass(frozen=True)
class Recipe:
    """What a program is made of: its outputs, for how many examples, in which precision where that
    is not its owner's.

    Of `chunked` examples fewer may be taken at a time.
    """

    outputs: Mapping[Output, Node]
    capacity: int
    dtype: str = ""
    chunked: bool = False


At: TypeAlias = str | int | None
"""What tells programs of a kind and an owner apart."""

Owner = TypeVar("Owner")
Maker: TypeAlias = Callable[[Model, Owner], Iterable[tuple[At, Recipe]]]
"""The programs of a kind of one owner."""


def recipes(model: Model, dtype: str | None = None) -> dict[ProgramKey, Recipe]:
    """What each program of a model is made of. `dtype` overrides what the phases say."""
    base = dtype or common_dtype(model)
    found = {ProgramKind.INIT.of(precision): recipe for precision, recipe in _init(model)}
    for data in model.data.values():
        found |= _made(OF_DATA, model, data.name, data, base)
    for ph in model.phases.values():
        found |= _made(OF_PHASE, model, ph.name, ph, dtype or ph.dtype or base)
    for path, a in model.functions.applied.items():
        found |= _made(OF_INSTANCE, model, path, a, base)
    for t in model.tasks.values():
        found |= _made(OF_TASK, model, t.name, t, base)
    return found


def _made(
    table: Mapping[ProgramKind, Maker[Owner]], model: Model, name: str, owner: Owner, dtype: str
) -> Iterator[tuple[ProgramKey, Recipe]]:
    for kind, make in table.items():
        for at, recipe in make(model, owner):
            yield kind.of(name, at), replace(recipe, dtype=recipe.dtype or dtype)


def common_dtype(model: Model) -> str:
    """float64 where every phase asks for it, else float32."""
    asked = {ph.dtype for ph in model.phases.values()}
    return asked.pop() or DTYPE if len(asked) == 1 else DTYPE


def _init(model: Model) -> Iterator[tuple[str, Recipe]]:
    """First values of parameters: worked out in double precision, in whichever they are asked."""
    params = {k: v for k, v in model.params.items() if v.init is not None and not v.checks}
    recipe = Recipe(
        {value(k): v.init for k, v in params.items() if v.init is not None}, 1, "float64"
    )
    return ((precision, recipe) for precision in DTYPES)


# ---- of data sets ------------------------------------------------------------------------------


def _fields(model: Model, data: DataSet) -> Iterator[tuple[At, Recipe]]:
    # In double precision: a phase may ask for it, and casting down is exact enough.
    outputs = {value(f.name): f.value for f in data.fields.values()}
    yield None, Recipe(outputs, min(CHUNK, max(data.count, 1)), "float64")


def _claims(model: Model, data: DataSet) -> Iterator[tuple[At, Recipe]]:
    if asked := claimed(data):
        outputs = {value(name): f.value for name, f in asked.items()}
        yield None, Recipe(outputs, min(CHUNK, data.count), "float64")


def claimed(data: DataSet) -> dict[str, FieldOf]:
    """What is checked before the fields are made: what is asserted inside of them, and where some
    are drawn at each visit, those that stay as they are."""
    found = {f"{i}": c for i, c in enumerate(data.claims)}
    if any(f.drawn for f in data.fields.values()):
        found |= {f.name: f for f in data.fields.values() if not f.drawn}
    return found


# ---- of phases ---------------------------------------------------------------------------------


def _step(model: Model, ph: Phase) -> Iterator[tuple[At, Recipe]]:
    outputs = {new_param(k): v for k, v in ph.updates.items()}
    if ph.descent is not None:
        outputs = {value(GradientValue(k)): v for k, v in gradients(model, ph).items()}
    outputs |= {new_state(k): v for k, v in ph.states.items()}
    outputs |= {value(WatchValue(w.name)): w.value for w in ph.watches if in_step(w)}
    if ph.losses:
        outputs[value("loss")] = added(model, reported(ph))
    yield None, Recipe(outputs, batch_of(model, ph))


def _loss(model: Model, ph: Phase) -> Iterator[tuple[At, Recipe]]:
    lines = list(learned_lines(model, ph))
    if lines:
        outputs = {value("loss"): added(model, once(ph.objectives))}
        for (key, _, _), objective in zip(lines, ph.objectives, strict=True):
            outputs[value(key)] = objective
        yield None, Recipe(outputs, batch_of(model, ph))


def _left(model: Model, ph: Phase) -> Iterator[tuple[At, Recipe]]:
    outputs = {
        value(LeftValue(i, path)): node
        for i, (_, _, left) in enumerate(learned_lines(model, ph))
        for path, node in left.items()
    }
    if outputs:
        yield None, Recipe(outputs, batch_of(model, ph))


def _grad(model: Model, ph: Phase) -> Iterator[tuple[At, Recipe]]:
    if found := gradients(model, ph):
        outputs = {value(path): node for path, node in found.items()}
        yield None, Recipe(outputs, batch_of(model, ph))


def _states(model: Model, ph: Phase) -> Iterator[tuple[At, Recipe]]:
    if ph.state_init:
        outputs = {value(k): v for k, v in ph.state_init.items()}
        yield None, Recipe(outputs, rows_of(model, ph) if ph.kept else 1)


def _estimates(model: Model, ph: Phase) -> Iterator[tuple[At, Recipe]]:
    count = examples(model, ph.on)
    for i, ((sample, _), values) in enumerate(estimated(ph).items()):
        outputs = {value(path): node for path, node in values.items()}
        yield i or None, Recipe(outputs, max(1, min(sample, count, CHUNK)))


def _start(model: Model, ph: Phase) -> Iterator[tuple[At, Recipe]]:
    if ph.starts:
        yield None, Recipe({value(s.path): s.value for s in ph.starts}, 1)


def _until(model: Model, ph: Phase) -> Iterator[tuple[At, Recipe]]:
    for i, condition in enumerate(ph.until):
        yield i or None, Recipe({value("until"): condition}, 1, "float64")


def _best(model: Model, ph: Phase) -> Iterator[tuple[At, Recipe]]:
    for i, keep in enumerate(ph.keeps):
        if keep.best is not None:
            yield i, Recipe({value("best"): keep.best}, 1, "float64")


def _watch(model: Model, ph: Phase) -> Iterator[tuple[At, Recipe]]:
    for w in ph.watches:
        if not in_step(w):
            outputs = {value("watch"): w.value} | {new_state(k): v for k, v in w.states.items()}
            chunked = w.per_example and w.stream is None
            yield w.name, Recipe(outputs, _watched_at_once(model, ph, w), chunked=chunked)


def _watched_at_once(model: Model, ph: Phase, w: Watching) -> int:
    """How many examples a watch takes at a time."""
    if w.on is None:
        return w.stream or fewer(batch_of(model, ph), [w.value])
    count = examples(model, w.on)
    return w.stream or fewer(min(count, CHUNK) if w.per_example else count, [w.value])


def in_step(w: Watching) -> bool:
    """Whether a watch is taken by the step itself: on every minibatch of an epoch."""
    return w.on is None and (w.every is None or w.every[1] == "epoch")


def estimated(ph: Phase) -> dict[tuple[int, int], dict[str, Node]]:
    """The states of a phase that are estimated, by sample and epochs: those alike are one program's
    work."""
    alike: dict[tuple[int, int], dict[str, Node]] = {}
    for e in ph.estimates:
        alike.setdefault((e.sample, e.every), {})[e.path] = e.value
    return alike


def examples(model: Model, on: On) -> int:
    """How many examples a part has."""
    return model.data[on.data].parts[on.part][1]


def rows_of(model: Model, ph: Phase) -> int:
    """How many examples a full minibatch would have."""
    return ph.batch or max(examples(model, ph.on), 1)


def batch_of(model: Model, ph: Phase) -> int:
    """How many examples a minibatch has."""
    return min(rows_of(model, ph), max(examples(model, ph.on), 1))


# ---- of instances ------------------------------------------------------------------------------


def _apply(model: Model, a: Applied) -> Iterator[tuple[At, Recipe]]:
    outputs = {value(k): v for k, v in a.results.items()}
    yield None, Recipe(outputs, fewer(CHUNK, a.results.values()))


def _one_step(model: Model, a: Applied) -> Iterator[tuple[At, Recipe]]:
    """What it carries goes in and comes out."""
    if a.step is not None:
        outputs = {value(k): v for k, v in a.step.results.items()}
        after = {value(k): v for k, (_, _, v) in a.step.carried.items()}
        yield None, Recipe(outputs | after, 1)


def _first(model: Model, a: Applied) -> Iterator[tuple[At, Recipe]]:
    if a.step is not None:
        yield None, Recipe({value(k): v for k, (v, _, _) in a.step.carried.items()}, 1)


def fewer(count: int, values: Iterable[Node]) -> int:
    """So many examples at a time that sequences take no more memory than single examples do."""
    steps = [n.type.size_of("time").constant for n in ancestors(values) if runs_over_time(n)]
    return max(1, min(count, CHUNK // max(steps, default=1) + 1)) if steps else count


def runs_over_time(node: Node) -> bool:
    """Whether a node is a sequence that comes in."""
    return is_input(node) and "time" in node.type.running


# ---- of tasks ----------------------------------------------------------------------------------


def _task(model: Model, t: Tasking) -> Iterator[tuple[At, Recipe]]:
    """What a task emits, and apart from that, with a number, what it makes of examples."""
    outputs = {
        value(EmittedValue(i, k)): part.value
        for i, e in enumerate(t.emits)
        for k, part in enumerate(e.parts)
        if isinstance(part.value, Node) and e.on is None
    }
    yield None, Recipe(outputs, 1)
    for i, e in enumerate(t.emits):
        if e.on is not None:
            nodes = {part.key: part.value for part in e.parts if isinstance(part.value, Node)}
            asked = nodes if e.where is None else {**nodes, "where": e.where}
            capacity = min(max(examples(model, e.on), 1), CHUNK)
            picked = {value(key): node for key, node in asked.items()}
            yield i, Recipe(picked, capacity, chunked=True)


# ---- the table ---------------------------------------------------------------------------------

OF_DATA: dict[ProgramKind, Maker[DataSet]] = {
    ProgramKind.DATA: _fields,
    ProgramKind.CLAIMS: _claims,
}
OF_PHASE: dict[ProgramKind, Maker[Phase]] = {
    ProgramKind.STEP: _step,
    ProgramKind.LOSS: _loss,
    ProgramKind.LEFT: _left,
    ProgramKind.GRAD: _grad,
    ProgramKind.STATES: _states,
    ProgramKind.ESTIMATE: _estimates,
    ProgramKind.START: _start,
    ProgramKind.UNTIL: _until,
    ProgramKind.BEST: _best,
    ProgramKind.WATCH: _watch,
}
OF_INSTANCE: dict[ProgramKind, Maker[Applied]] = {
    ProgramKind.APPLY: _apply,
    ProgramKind.ONE_STEP: _one_step,
    ProgramKind.FIRST: _first,
}
OF_TASK: dict[ProgramKind, Maker[Tasking]] = {ProgramKind.TASK: _task}
