"""Which programs a plan has, and what each is made of: a function for each kind of owner.

A new kind of program is one more that its owner's function gives, and a name in `ProgramKind`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.meeting import meet
from dln.compiler.ir.structure import is_input
from dln.compiler.model import Applied, DataSet, FieldOf, Model, Phase, Tasking, Turn, Watching
from dln.compiler.pipeline.losses import added, gradients, learned_lines, reported
from dln.compiler.pipeline.wholes import Round, rounds
from dln.compiler.schema import keys
from dln.compiler.schema.keys import Output, ProgramKey, ProgramKind, new_param, new_state, value
from dln.compiler.schema.records import On
from dln.compiler.schema.tables import DTYPE, DTYPES
from dln.compiler.shards import rounds as rounds_of_shards
from dln.grammar.diagnostics import DlnError

CHUNK = 1000  # examples that data, watches and applied instances take at a time

REPORTED = frozenset({value("loss")})
"""What a step leaves that only a report reads. A watch of a whole epoch adds up all updates, and a
descent chooses its way by the loss."""


@dataclass(frozen=True)
class Recipe:
    """What a program is made of: its outputs, for how many examples, in which precision.

    Of `chunked` examples fewer may be taken at a time. What is `reported` only a report reads. A
    part of a step in shards is `begun`: its graph has been through all stages but the last ones.
    """

    outputs: Mapping[Output, Node]
    capacity: int
    dtype: str
    chunked: bool = False
    reported: frozenset[Output] = frozenset()
    begun: Graph | None = None


@dataclass(frozen=True)
class Cutting:
    """How phases are cut into shards. Why one cannot be cut is left in `uncut`, by its name. Shards
    may hand on maps with their examples `last`."""

    uncut: dict[str, DlnError] | None = None
    last: bool = True


Made: TypeAlias = Iterator[tuple[ProgramKey, Recipe]]


def recipes(
    model: Model, dtype: str | None = None, cutting: Cutting | None = None
) -> dict[ProgramKey, Recipe]:
    """What each program of a model is made of. `dtype` overrides what the phases say. Raises
    `DlnError` E437 where a phase cannot be cut into shards and `cutting` does not take note."""
    base = dtype or common_dtype(model)
    # First values of parameters: worked out in double precision, in whichever they are asked.
    params = {k: v.init for k, v in model.params.items() if v.init is not None and not v.checks}
    first = Recipe(values(params), 1, "float64")
    found = {ProgramKind.INIT.of(precision): first for precision in DTYPES}
    for data in model.data.values():
        found |= of_data(data)
    for ph in model.phases.values():
        found |= of_phase(model, ph, dtype or ph.dtype or base, cutting or Cutting())
    for a in model.functions.applied.values():
        found |= of_instance(a, base)
    for t in model.tasks.values():
        found |= of_task(model, t, base)
    return found


def common_dtype(model: Model) -> str:
    """float64 where every phase asks for it, else float32."""
    asked = {ph.dtype for ph in model.phases.values()}
    return asked.pop() or DTYPE if len(asked) == 1 else DTYPE


def values(nodes: Mapping[str, Node]) -> dict[Output, Node]:
    """Nodes as the values that a program leaves."""
    return {value(k): v for k, v in nodes.items()}


# ---- of data sets ------------------------------------------------------------------------------


def of_data(data: DataSet) -> Made:
    """In double precision: a phase may ask for it, and casting down is exact enough."""
    fields = {f.name: f.value for f in data.fields.values()}
    asked = {name: f.value for name, f in claimed(data).items()}
    count = min(CHUNK, max(data.count, 1))
    yield (
        ProgramKind.DATA.of(data.name),
        Recipe(values(fields), count, "float64"),
    )
    if told_by := data.division.told_by:
        yield (
            ProgramKind.LABELS.of(data.name),
            Recipe(values({name: fields[name] for name in told_by}), count, "float64"),
        )
    for name, m in data.measured.items():
        yield (
            ProgramKind.MEASURES.of(data.name, name),
            Recipe(values({name: m.value}), count, "float64"),
        )
    if asked:
        yield (
            ProgramKind.CLAIMS.of(data.name),
            Recipe(values(asked), count, "float64"),
        )


def claimed(data: DataSet) -> dict[str, FieldOf]:
    """What is checked before the fields are made: what is asserted inside of them, and where some
    are drawn at each visit, those that stay as they are."""
    found = {f"{i}": c for i, c in enumerate(data.claims)}
    if any(f.drawn for f in data.fields.values()):
        found |= {f.name: f for f in data.fields.values() if not f.drawn}
    return found


# ---- of phases ---------------------------------------------------------------------------------


def of_phase(model: Model, ph: Phase, dtype: str, cutting: Cutting) -> Made:
    """An update, what is asked of its loss, what begins, ends and keeps the phase, watches."""
    name, batch = ph.name, batch_of(model, ph)
    slopes, lines = gradients(model, ph), list(learned_lines(model, ph))
    yield from of_steps(model, ph, slopes, dtype, cutting)
    if lines:
        losses = {value("loss"): added(model, list(dict.fromkeys(ph.objectives)))}
        losses |= {value(key): o for (key, *_), o in zip(lines, ph.objectives, strict=True)}
        yield ProgramKind.LOSS.of(name), Recipe(losses, batch, dtype)
    left = {
        keys.LeftValue(i, k): v for i, (*_, after) in enumerate(lines) for k, v in after.items()
    }
    if left:
        yield (
            ProgramKind.LEFT.of(name),
            Recipe({value(k): v for k, v in left.items()}, batch, dtype),
        )
    if slopes:
        yield ProgramKind.GRAD.of(name), Recipe(values(slopes), batch, dtype)
    if ph.state_init:
        rows = rows_of(model, ph) if ph.kept else 1
        yield ProgramKind.STATES.of(name), Recipe(values(ph.state_init), rows, dtype)
    for i, ((sample, _), states) in enumerate(estimated(ph).items()):
        count = max(1, min(sample, examples(model, ph.on), CHUNK))
        yield ProgramKind.ESTIMATE.of(name, i or None), Recipe(values(states), count, dtype)
    if ph.starts:
        begun = {s.path: s.value for s in ph.starts}
        yield ProgramKind.START.of(name), Recipe(values(begun), 1, dtype)
    for i, node in enumerate(ph.until):
        yield ProgramKind.UNTIL.of(name, i or None), Recipe(values({"until": node}), 1, "float64")
    for i, keep in enumerate(ph.keeps):
        if keep.best is not None:
            yield ProgramKind.BEST.of(name, i), Recipe(values({"best": keep.best}), 1, dtype)
    for w in ph.watches:
        if not in_step(w) or w.name in ph.heard:
            if found := taken_apart(model, w):
                yield from of_rounds(model, ph, w, found, dtype)
                continue
            outputs = {value("watch"): w.value} | {new_state(k): v for k, v in w.states.items()}
            apart = w.per_example and not w.stream and not together(w)
            recipe = Recipe(outputs, at_once(model, ph, w), dtype, apart)
            yield ProgramKind.WATCH.of(name, w.name), recipe


def of_steps(
    model: Model, ph: Phase, slopes: Mapping[str, Node], dtype: str,
    cutting: Cutting,
) -> Made:  # fmt: skip
    """The update of each turn, undivided and cut into shards."""
    name, batch = ph.name, batch_of(model, ph)
    looked = frozenset[Output]() if ph.descent is not None else REPORTED
    turns: tuple[Phase | Turn, ...] = ph.turns or (ph,)
    steps = dict[ProgramKey, Recipe]()
    for i, turn in enumerate(turns):
        outputs = {new_param(k): v for k, v in turn.updates.items()}
        if ph.descent is not None:
            outputs = {value(keys.GradientValue(k)): v for k, v in slopes.items()}
        outputs |= {new_state(k): v for k, v in turn.states.items()}
        outputs |= {value(keys.WatchValue(w.name)): w.value for w in ph.watches if in_step(w)}
        if turn.losses:
            outputs[value("loss")] = added(model, reported(turn))
        key = ProgramKind.STEP.of(name, i or None)
        steps[key] = Recipe(outputs, batch, dtype, reported=looked)
    yield from steps.items()
    if ph.shards is not None:
        try:
            yield from [made for i, step in enumerate(steps.values())
                        for made in of_shards(model, ph, i, step, cutting.last)]  # fmt: skip
        except DlnError as error:
            if cutting.uncut is None:
                raise
            cutting.uncut[name] = error


def of_shards(model: Model, ph: Phase, turn: int, step: Recipe, last: bool) -> Made:
    """The rounds of an update in shards, which does what a `step` does. Raises `DlnError` E437
    where it cannot be cut."""
    batch, rows = step.capacity, -(-step.capacity // (ph.shards or 1))
    found = rounds_of_shards(model, ph, step.outputs, step.reported, rows if last else 0)
    for i, each in enumerate(found):
        for kind, graph, n in (
            (ProgramKind.SHARD, each.shard, rows),
            (ProgramKind.JOIN, each.join, batch),
        ):
            if graph is not None:
                made = {k: v for k, v in graph.outputs.items() if isinstance(k, Output)}
                left = Recipe(made, n, step.dtype, reported=each.reported, begun=graph)
                yield kind.of(ph.name, f"{turn}.{i}"), left


def taken_apart(model: Model, w: Watching) -> list[Round]:
    """The rounds of a watch of a whole part that is no sum over examples; none of others."""
    whole = w.on is not None and not w.per_example and not (w.stream and w.total)
    return rounds(model.graph, w.value) if whole else []


def of_rounds(model: Model, ph: Phase, w: Watching, found: list[Round], dtype: str) -> Made:
    """What is added up in each round, some examples at a time, and what is made of it: in double
    precision, where no parameters are asked that are held in another."""
    assert w.on is not None
    count = w.stream or fewer(min(max(examples(model, w.on), 1), CHUNK), [w.value])
    for i, each in enumerate(found):
        outputs = values(each.sums) | {new_state(k): v for k, v in w.states.items()}
        yield ProgramKind.TALLY.of(ph.name, f"{w.name}.{i}"), Recipe(outputs, count, dtype)
        last = Recipe(values(each.then), 1, dtype if each.owned else "float64")
        yield ProgramKind.MADE.of(ph.name, f"{w.name}.{i}"), last


def at_once(model: Model, ph: Phase, w: Watching) -> int:
    """How many examples a watch takes at a time."""
    if w.stream:
        return w.stream
    if together(w):
        return batch_of(model, ph)
    count = batch_of(model, ph) if w.on is None else examples(model, w.on)
    return fewer(min(count, CHUNK) if w.on and w.per_example else count, [w.value])


def together(w: Watching) -> bool:
    """Whether a watch of each example depends on its minibatch: it is taken over minibatches as
    they are learned from, also on other data."""
    return w.per_example and meet(w.value.operands)


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
    return model.data[on.data].parts[on.part].count


def rows_of(model: Model, ph: Phase) -> int:
    """How many examples a full minibatch would have."""
    return ph.batch or max(examples(model, ph.on), 1)


def batch_of(model: Model, ph: Phase) -> int:
    """How many examples a minibatch has."""
    return min(rows_of(model, ph), max(examples(model, ph.on), 1))


# ---- of instances ------------------------------------------------------------------------------


def of_instance(a: Applied, dtype: str) -> Made:
    """All of it, and where it takes sequences one step: what that carries goes in and comes out."""
    count = fewer(CHUNK, a.results.values())
    yield ProgramKind.APPLY.of(a.path), Recipe(values(a.results), count, dtype)
    if a.step is not None:
        after = {k: v for k, (_, _, v) in a.step.carried.items()}
        first = {k: v for k, (v, _, _) in a.step.carried.items()}
        step = Recipe(values(a.step.results) | values(after), 1, dtype)
        yield ProgramKind.ONE_STEP.of(a.path), step
        yield ProgramKind.FIRST.of(a.path), Recipe(values(first), 1, dtype)


def fewer(count: int, values: Iterable[Node]) -> int:
    """So many examples at a time that sequences take no more memory than single examples do."""
    steps = [n.type.size_of("time").constant for n in ancestors(values) if runs_over_time(n)]
    return max(1, min(count, CHUNK // max(steps, default=1) + 1)) if steps else count


def runs_over_time(node: Node) -> bool:
    """Whether a node is a sequence that comes in."""
    return is_input(node) and "time" in node.type.running


# ---- of tasks ----------------------------------------------------------------------------------


def of_task(model: Model, t: Tasking, dtype: str) -> Made:
    """What a task emits, and apart from that, with a number, what it makes of examples."""
    outputs = {
        value(keys.EmittedValue(i, k)): part.value
        for i, e in enumerate(t.emits)
        for k, part in enumerate(e.parts)
        if isinstance(part.value, Node) and e.on is None
    }
    yield ProgramKind.TASK.of(t.name), Recipe(outputs, 1, dtype)
    for i, e in enumerate(t.emits):
        if e.on is not None:
            asked = {part.key: part.value for part in e.parts if isinstance(part.value, Node)}
            if e.where is not None:
                asked["where"] = e.where
            capacity = min(max(examples(model, e.on), 1), CHUNK)
            yield ProgramKind.TASK.of(t.name, i), Recipe(values(asked), capacity, dtype, True)
