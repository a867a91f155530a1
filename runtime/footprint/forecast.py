"""The memory of a whole run: first values, each phase in turn, tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, prod, sqrt
from pathlib import PurePath

from dln.compiler.plan import (
    PICTURES,
    EmitSpec,
    PhaseSpec,
    Plan,
    Program,
    ProgramKind,
    RoundSpec,
    SharedValue,
    WatchSpec,
    buffer_bytes,
    item_size,
    memory,
)
from dln.runtime.device.threads import cores
from dln.runtime.footprint.ledger import Item, Moment
from dln.runtime.footprint.walk import AskedRun, RunWalk, inside, row_bytes, sized

ORDERS = {"file": (8, 8), "stream": (16, 8), "shuffled": (20, 16), "replacement": (24, 16),
          "balanced": (96, 16), "even": (96, 16)}  # fmt: skip
"""Bytes for each example while the order of an epoch is worked out, and while it is copied."""
SIDE, GAP, INCH = 96, 6, 150
"""Pixels of a tile's side and between tiles, and of an inch of a picture."""
TILE, EVEN, FILLED, NUMBER, POINT, CURVES = 145, 40, 72, 75, 6_000, 4_000_000
"""Bytes while a picture is drawn (matplotlib 3.11): for a pixel of tiles, and of the picture of a
matrix that keeps its shape or fills the picture; for a number of it; for a point of a curve, and
for curves without any."""
WHOLE_VECTORS = 7
"""The vectors of double precision that a search along a line has at once, and one as it came."""


def forecast(plan: Plan, asked: AskedRun) -> Moment:
    """The moment at which a run takes most memory, with all that is held then.

    A pure function of the plan and of what the headers of data files say. Raises `DlnError` where
    these cannot be read.
    """
    walk = RunWalk(plan, asked)
    first_values(walk)
    for name in asked.phases:
        phase(walk, plan.phases[name])
    if asked.tasks:
        tasks(walk)
    return walk.ledger.peak


def first_values(walk: RunWalk) -> None:
    """Parameters are drawn in double precision, and brought into their own from where they lie."""
    plan = walk.plan
    if not plan.params:
        return
    phases = plan.phases.values()
    wide = any((p.dtype or plan.dtype) == "float64" for p in phases)
    walk.precision = dict.fromkeys(plan.params, "float64" if wide else plan.dtype)
    keys = map(ProgramKind.INIT.of, (plan.dtype, "float64", "float32"))
    key = next(key for key in keys if key in plan.programs)
    program, what = walk.ready(key), "first values of the parameters"
    walk.ledger.hold(*parameters(walk))
    walk.ledger.moment(what, walk.taken(program, 1, what), *inside(program, 1))


def parameters(walk: RunWalk) -> list[Item]:
    """The parameters, each with its line, and which entries of them there are."""
    found = []
    for path, spec in walk.plan.params.items():
        numbers = prod(spec.shape)
        size = numbers * item_size("real", walk.precision[path]) + numbers * (spec.live is not None)
        found.append(Item(f"parameter {path}", size, spec.place, "sizes"))
    return found


# ---- a phase -----------------------------------------------------------------------------------


def phase(walk: RunWalk, spec: PhaseSpec) -> None:
    """A phase from its start to its end: what it leaves are its states, its data, and what checks
    will ask of it."""
    plan, name = walk.plan, spec.name
    step = plan.programs[spec.step]
    buffers = [b for key in spec.steps for b in plan.programs[key].buffers]
    cast(walk, [b.key for b in buffers if b.place == "param"], step.dtype)
    if spec.starts:
        walk.passes(ProgramKind.START.of(name), 1, f"what {name} starts from")
    if spec.loads:
        size = sum(prod(plan.params[x.path].shape) for x in spec.loads) * 16
        what = f"what {name} loads"
        walk.ledger.moment(what, Item(what, size, spec.place, "sizes"))
    states(walk, spec, step.dtype)
    for key in spec.run:
        walk.ready(key)
    walk.part(spec.data, spec.part, step.dtype)
    for watch in spec.watches:
        if watch.on is not None and watch.program is not None:
            dtype = plan.programs[watch.program].dtype
            walk.part(watch.on.data, watch.on.part, dtype)
            held = sized(watch.carried, dtype)
            walk.ledger.hold(Item(f"what {name}.{watch.name} carries", held, watch.place))
    kept = name in walk.asked.keep
    if kept:
        keep_first(walk, spec)
    with walk.ledger.passing():
        if spec.handed:
            walk.ledger.hold(at_best(walk, spec))
        training(walk, spec)
        if kept:
            walk.ledger.hold(*snapshot(walk, spec))
        save(walk)
    walk.reserved.clear()
    if kept:
        walk.ledger.hold(*snapshot(walk, spec))


def cast(walk: RunWalk, paths: list[str], dtype: str) -> None:
    """Parameters of another precision are brought into this one, by way of a copy."""
    changed = {p for p in paths if walk.precision[p] != dtype}
    if not changed:
        return
    sizes = [prod(walk.plan.params[p].shape) for p in changed]
    walk.ledger.moment("parameters in another precision", Item("a copy", 2 * 8 * max(sizes)))
    walk.precision |= dict.fromkeys(changed, dtype)
    names = {f"parameter {p}" for p in changed}
    now = {item.what: item for item in parameters(walk)}
    walk.ledger.held = [now[i.what] if i.what in names else i for i in walk.ledger.held]


def states(walk: RunWalk, spec: PhaseSpec, dtype: str) -> None:
    """First values in double precision, zeros where nothing else is said, then as they stay."""
    if not spec.states:
        return
    key, what = ProgramKind.STATES.of(spec.name), f"states of {spec.name}"
    first = Item(what, sized(spec.states, "float64"), spec.place)
    if key in walk.plan.programs:
        walk.passes(key, spec.rows or 1, what, first)
    walk.ledger.hold(Item(what, sized(spec.states, dtype), spec.place, "sizes"))
    walk.ledger.moment(what, first)


def at_best(walk: RunWalk, spec: PhaseSpec) -> Item:
    """Copies of what a phase was at its best report, which checkpoints hold too."""
    dtype = walk.plan.programs[spec.step].dtype
    size = sum(i.bytes for i in parameters(walk)) + sized(spec.states, dtype)
    what = f"states of {spec.name} at its best report, and parameters"
    return Item(what, size, spec.place, "sizes")


def keep_first(walk: RunWalk, spec: PhaseSpec) -> None:
    """The first minibatch and the parameters before it, for checks."""
    n, step = batch_of(walk, spec), walk.plan.programs[spec.step]
    one = sum(
        prod(f.shape) * item_size(f.kind, step.dtype) for f in walk.plan.data[spec.data].fields
    )
    item = Item(
        f"the first minibatch of {spec.name}, for checks", n * one, spec.place, "batch", spec.name
    )
    walk.ledger.hold(item)
    walk.ledger.moment(item.what, item)
    walk.ledger.hold(*snapshot(walk, spec))


def snapshot(walk: RunWalk, spec: PhaseSpec) -> list[Item]:
    """Copies of parameters, and of what a phase keeps, for checks."""
    held = sum(i.bytes for i in parameters(walk))
    kept = {k: spec.states[k] for k in spec.kept}
    held += sized(kept, walk.plan.programs[spec.step].dtype)
    return [Item(f"parameters of {spec.name} as checks ask of them", held, spec.place, "sizes")]


def batch_of(walk: RunWalk, spec: PhaseSpec) -> int:
    """How many examples a minibatch has."""
    n, batch = walk.count(spec.data, spec.part), walk.asked.batch.get(spec.name, spec.batch)
    return n if batch is None else min(batch, n)


def training(walk: RunWalk, spec: PhaseSpec) -> None:
    """Updates and what comes between them. Programs keep their memory until the phase ends."""
    name, n, examples = spec.name, batch_of(walk, spec), walk.count(spec.data, spec.part)
    drawing, copying = ORDERS[spec.order]
    order = Item(f"the order of {name}'s examples", 8 * examples, spec.place)
    walk.ledger.moment(order.what, replace(order, bytes=max(drawing, copying) * examples))
    walk.ledger.hold(order)
    if again(walk, spec):
        walk.ledger.moment(order.what, replace(order, bytes=max(drawing, copying) * examples))
    for estimate in () if idle(walk, spec) else spec.estimates:
        size = min(examples, estimate.sample, walk.plan.programs[estimate.program].capacity)
        drawn(walk, spec.data, size)
        walk.runs(estimate.program, size, f"{name}: an estimate on {some(size)}", spec.place)
    drawn(walk, spec.data, n)
    update = f"{name}: an update on {some(n)}"
    for i, key in () if idle(walk, spec) else enumerate(spec.steps):
        if spec.cuts:
            in_shards(walk, spec, spec.cuts[i], n, update)
        else:
            walk.runs(key, n, update, spec.place, *search(walk, spec))
    if walk.asked.saves:
        walk.ledger.moment("the hash of the parameters", copied(walk))
    for watch in spec.watches:
        if watch.on is not None or not idle(walk, spec):
            watching(walk, spec, watch, n)
    keeps = [k.program for k in spec.keeps if k.program is not None]
    for key in (*spec.until, *keeps):
        walk.runs(key, 1, f"{name}: when it ends")


def in_shards(
    walk: RunWalk, spec: PhaseSpec, rounds: Sequence[RoundSpec], n: int, what: str
) -> None:
    """An update in shards: an arena for each thread that shards may go side by side on, what each
    leaves beside what the others leave, the fields of the whole minibatch once."""
    fields, count = dict[str, int](), spec.shards or 1
    lanes = min(count, cores())
    for each in rounds:
        for key, rows, times in ((each.shard, -(-n // count), count), (each.join, n, 1)):
            if key is None:
                continue
            program = walk.ready(key)
            parts = memory(program, rows)
            for b in program.inputs:
                if SharedValue.parse(b.key) is None:
                    fields[b.key] = buffer_bytes(program, b, n)
            size = parts["arena"] * min(times, lanes) + (parts["value"] + parts["scalar"]) * times
            walk.ledger.put(str(key), Item(what, size, spec.place, "batch", spec.name))
            walk.ledger.moment(what, *inside(program, rows))
    held = Item(what, sum(fields.values()), spec.place, "batch", spec.name)
    walk.ledger.put(f"fields of {spec.name}", held)
    walk.ledger.moment(what, *search(walk, spec))


def idle(walk: RunWalk, spec: PhaseSpec) -> bool:
    """Whether a phase does no update at all: it is there for what is asked of its start."""
    count, unit = spec.duration
    asked = walk.asked.epochs
    return asked == 0 or count == 0 and (asked is None or unit == "update")


def some(n: int) -> str:
    return f"{n:,} example" + "s" * (n != 1)


def again(walk: RunWalk, spec: PhaseSpec) -> bool:
    """Whether there is more than one epoch, so that two orders meet."""
    if spec.order in ("file", "stream"):
        return False
    if walk.asked.epochs is not None:
        return walk.asked.epochs > 1
    count, unit = spec.duration
    each = -(-walk.count(spec.data, spec.part) // batch_of(walk, spec))
    return count > (1 if unit == "epoch" else each)


def drawn(walk: RunWalk, name: str, n: int) -> None:
    """Fields that are drawn at each visit come from a program of their own."""
    key = ProgramKind.DATA.of(name)
    if walk.stays(name):
        program = walk.ready(key)
        looked = Item("examples as they are looked up", row_bytes(program, program.inputs, n))
        walk.runs(key, n, f"{name} looked up on {some(n)}", None, looked)
    elif walk.plan.data[name].drawn:
        walk.runs(key, n, f"{name} drawn on {some(n)}")


def search(walk: RunWalk, spec: PhaseSpec) -> tuple[Item, ...]:
    """The vectors of a descent: point, direction, gradients, and what is worked out of them."""
    if spec.descent is None:
        return ()
    numbers = sum(prod(walk.plan.params[p].shape) for p in spec.descent.params)
    own = item_size("real", walk.plan.programs[spec.step].dtype)
    size = numbers * (8 * WHOLE_VECTORS + own)
    return (Item(f"{spec.name}: a search along a line", size, spec.place, "sizes"),)


def watching(walk: RunWalk, spec: PhaseSpec, watch: WatchSpec, n: int) -> None:
    """A watch with a program of its own, on minibatches or over a part."""
    key = watch.program
    if key is None and watch.name in spec.heard:  # once, before the first update
        key = ProgramKind.WATCH.of(spec.name, watch.name)
    if key is None:
        return
    program, what = walk.plan.programs[key], f"{spec.name}.{watch.name}"
    order = Item("the order of examples", 0)
    if watch.on is not None:
        examples = walk.count(watch.on.data, watch.on.part)
        apart = watch.per_example or watch.rounds
        n = watch.stream or (min(examples, program.capacity) if apart else examples)
        order = Item("the order of examples", 16 * examples)
        drawn(walk, watch.on.data, n)
    walk.runs(key, n, f"{what} on {some(n)}", watch.place, order)
    for tally, made in watch.rounds:
        walk.runs(tally, n, f"{what} on {some(n)}", watch.place, order)
        walk.runs(made, 1, what, watch.place)


# ---- what is kept and made ---------------------------------------------------------------------


def copied(walk: RunWalk) -> Item:
    """Copies of parameters and states."""
    held = [i for i in walk.ledger.held if i.what.startswith(("parameter ", "states of "))]
    return Item("copies for a checkpoint", sum(i.bytes for i in held), None, "sizes")


def save(walk: RunWalk) -> None:
    """A checkpoint as it is written: copies, their bytes, and the file."""
    if walk.asked.saves:
        kept = [
            i for i in walk.ledger.held if i.what.endswith(("as checks ask of them", "for checks"))
        ]
        copies = copied(walk)
        size = copies.bytes + sum(i.bytes for i in kept)
        file = Item("a checkpoint as it is written", 2 * size, None, "sizes")
        walk.ledger.moment("a checkpoint as it is written", copies, file)


def tasks(walk: RunWalk) -> None:
    """Each task on what its phases have left and on all examples; its values are copied, its
    programs keep their memory."""
    walk.asked = replace(walk.asked, limit=None)
    for task in walk.plan.tasks.values():
        if not set(task.after) <= set(walk.asked.phases):
            continue
        what = f"the task {task.name}"
        program = walk.ready(task.program)
        values = Item(what, 2 * row_bytes(program, program.values, 1))
        walk.runs(task.program, 1, what, None, values)
        for emit in task.emits:
            emitted(walk, emit, program, what)


def emitted(walk: RunWalk, emit: EmitSpec, program: Program, what: str) -> None:
    """What is emitted: made of examples by a program of its own, perhaps drawn."""
    n = 1
    if emit.program is not None and emit.on is not None:
        program = walk.ready(emit.program)
        examples = walk.count(emit.on.data, emit.on.part)
        walk.part(emit.on.data, emit.on.part, program.dtype)
        n = min(examples, program.capacity)
        drawn(walk, emit.on.data, n)
        copies = 2 * row_bytes(program, program.values, n) + 16 * examples
        walk.runs(emit.program, n, what, emit.place, Item(what, copies))
    if emit.to is not None and PurePath(emit.to).suffix in PICTURES:
        if walk.once("matplotlib"):
            walk.ledger.hold(Item("matplotlib", walk.asked.drawing))
        keys = [part.key for part in emit.parts]
        shapes = [b.shape_at(emit.count or n) for b in program.values if b.key in keys]
        walk.ledger.moment(what, Item(f"the picture {emit.to}", picture(shapes), emit.place))


def picture(shapes: list[tuple[int, ...]]) -> int:
    """What drawing takes: an image in grey and its colours at each pixel of tiles, else a figure of
    some inches."""
    tiles = [s for s in shapes if len(s) > 2]
    if not tiles:
        curves = CURVES + POINT * max((s[0] for s in shapes if len(s) == 1), default=0)
        return max((matrix(*s) for s in shapes if len(s) == 2), default=curves)
    *counts, high, wide = tiles[0]
    times, n = max(1, SIDE // max(high, wide, 1)), prod(counts)
    across = counts[-1] if len(counts) > 1 else n if n <= 8 else ceil(sqrt(n))
    n = -(-n // max(across, 1)) * across
    return TILE * n * (high * times + GAP) * (wide * times + GAP)


def matrix(rows: int, columns: int) -> int:
    """What drawing a matrix takes, by the size of the figure that `dln.printing.pictures` makes."""
    shape = rows / max(columns, 1)
    inches = 6.4 * max(2.0, min(8.0, 5.2 * shape + 0.6))
    pixel = EVEN if 1 / 4 <= shape <= 4 else FILLED
    return round(pixel * inches * INCH**2) + NUMBER * rows * columns
