"""The text that trains a phase: its minibatches in order, and what is watched between them.

A statement stands in it only where the phase has what it is for, so that what is read is what is
done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dln.compiler.plan import (
    Clock,
    PhaseSpec,
    Plan,
    Program,
    ProgramKey,
    ProgramKind,
    WatchReport,
    WatchSpec,
    site_number,
)
from dln.standalone.layout import broken
from dln.standalone.program_text import ident

ORDERS = {
    "shuffled": "permutation(count, seed, {site}, epoch)",
    "replacement": "replacement(count, count, seed, {site}, epoch)",
    "file": "np.arange(count)",
    "stream": "stream(count, batch)",
    "balanced": 'balanced(part["{by}"], seed, {site}, epoch)',
    "even": 'even(part["{by}"], seed, {site}, epoch)',
}
"""How the examples of an epoch are ordered; of one example there is one order."""

TIME = ("epoch", "update", "progress", "looked")
NOW, THEN = ("update", "epoch"), ("update + 1", "(update + 1) // per_epoch")
"""The update and the epoch before an update, and after it."""


class PhaseText:
    """Writes the function that trains a phase; `names` are those of the programs, `parts` those of
    the parts of data by data set, part and precision."""

    def __init__(
        self, plan: Plan, phase: PhaseSpec, names: Mapping[str, str],
        parts: Mapping[tuple[str, str, str], str],
    ) -> None:  # fmt: skip
        self.plan, self.phase, self.names, self.parts = plan, phase, names, parts
        self.step = plan.programs[phase.step]
        self.real = f"np.{self.step.dtype}"
        self.summed = [w for w in phase.watches if w.on is None and w.program is None]
        self.before = [w for w in phase.watches if w.on is None and w.program is not None]
        self.over = [w for w in phase.watches if w.on is not None]

    def lines(self) -> Iterator[str]:
        """The function, line by line."""
        p, name = self.phase, self.phase.name
        yield f"def train_{ident(name)}(param, data, told, seed=0, epochs=None):"
        yield f'    """{self.said()}"""'
        if p.seed is not None:
            yield f"    seed = {p.seed}  # its own"
        part = self.part(p.data, p.part, self.step)
        yield f'    part, began = data["{part}"], time.perf_counter()'
        batch = "count" if p.batch is None else f"min({p.batch}, count)"
        yield "    count = len(next(iter(part.values())))"
        yield f"    batch = {batch}"
        each = "count // batch" if p.order == "stream" else "-(-count // batch)"
        yield f"    per_epoch = {each}"
        yield self.total()
        yield from self.begin()
        yield from self.weights()
        yield "    bound = {}"
        yield from (
            f"    {ident(w.name)}_sum, {ident(w.name)}_seen = np.zeros(()), 0" for w in self.summed
        )
        yield "    for update in range(total):"
        yield "        epoch, place = divmod(update, per_epoch)"
        yield from self.order()
        yield "        which = order[place * batch : place * batch + batch]"
        for w in self.before:
            k = 1 if w.every is None else w.every[0]
            head = f"        if update % {k} == 0:" if k > 1 else "        "
            yield from self.take(w, "update", "epoch", head)
        yield from self.update()
        yield from self.after()
        yield from self.end()

    def said(self) -> str:
        """What is said of the phase."""
        p = self.phase
        count, unit = p.duration
        size = "all examples" if p.batch is None else f"{p.batch:,} at a time"
        place = "" if p.place is None else f"line {p.place.line}: "
        plural = "" if count == 1 else "s"
        return f"{place}train {p.name}, {count:,} {unit}{plural}, {size}, in the order {p.order}."

    def part(self, data: str, part: str, program: Program) -> str:
        return self.parts[data, part, program.dtype]

    def total(self) -> str:
        count, unit = self.phase.duration
        if unit == "epoch":
            return f"    total = ({count} if epochs is None else epochs) * per_epoch"
        return f"    total = {count} if epochs is None else min({count}, epochs * per_epoch)"

    def begin(self) -> Iterator[str]:
        """Precision, what is handed over, states."""
        p, programs = self.phase, self.plan.programs
        moved = {b.key for key in p.steps for b in programs[key].buffers if b.place == "param"}
        if moved == set(self.plan.params):
            yield f"    param.update(cast(param, {self.real}))"
        elif moved:
            listed = ", ".join(f'"{path}"' for path in sorted(moved))
            yield from broken(f"    mine = [{listed}]")
            yield f"    param.update(cast({{k: param[k] for k in mine}}, {self.real}))"
        start = programs.find(ProgramKind.START.of(p.name))
        if p.starts and start is not None:
            dtype = f"np.{start.dtype}"
            yield f"    run, _, left = {self.names[start.name]}(1, seed, cast(param, {dtype}))"
            yield f"    run({self.zeros(start)})"
            yield "    for path, array in left.items():"
            yield "        param[path][...] = array"
        states = programs.find(ProgramKind.STATES.of(p.name))
        if not stateful(self.plan, p):
            yield "    state = {}"
            return
        shapes = ", ".join(f'"{path}": {shape}' for path, shape in p.states.items())
        made = f"    state = {{path: np.zeros(shape, {self.real}) for path, shape in"
        yield from broken(f"    shapes = {{{shapes}}}")
        yield f"{made} shapes.items()}}"
        if states is not None:
            args = f"{p.rows or 1}, seed, cast(param, np.{states.dtype})"
            yield f"    run, _, left = {self.names[states.name]}({args})"
            yield f"    run({self.zeros(states)})"
            yield "    for path, array in left.items():"
            yield f'        kind = {self.real} if array.dtype.kind == "f" else array.dtype'
            yield "        state[path] = array.astype(kind)"

    def weights(self) -> Iterator[str]:
        """The weights of classes, by what there is to learn from."""
        for path, by in self.phase.weighed:
            value = f'class_weights(part["{by}"], len(state["{path}"]))'
            yield from broken(f'    state["{path}"][...] = {value}')

    def zeros(self, program: Program) -> str:
        return ", ".join("0.0" for _ in program.clocks)

    def order(self) -> Iterator[str]:
        p = self.phase
        site = site_number(f"{p.name}.order")
        form = ORDERS[p.order].format(site=site, by=p.balanced)
        yield "        if place == 0:"
        yield f"            order = {form}"
        if p.carried:
            yield "            # from window to window, from zero on"
            listed = ", ".join(f'"{path}"' for path in p.carried)
            yield from broken(f"            for path in ({listed},):")
            yield "                state[path][...] = 0.0"
        for spec in p.estimates:
            program = self.plan.programs[spec.program]
            yield f"            if epoch % {spec.every} == 0:"
            args = f"n, seed, cast(param, np.{program.dtype}), state"
            yield f"                program = lambda n: {self.names[str(spec.program)]}({args})"
            listed = ", ".join(f'"{path}"' for path in spec.states)
            call = f"estimate(program, part, order[:{spec.sample}], {program.capacity}"
            yield from broken(
                f"                {call}, [{self.clocks(program)}], update, state, ({listed},))"
            )

    def update(self) -> Iterator[str]:
        """The update itself."""
        yield "        if len(which) not in bound:"
        step = self.names[str(self.phase.step)]
        yield f"            bound[len(which)] = {step}(len(which), seed, param, state)"
        yield "        run, into, left = bound[len(which)]"
        if self.plan.data[self.phase.data].drawn:
            yield "        gather(part, which, into, update)"
        else:
            yield "        for key, array in into.items():"
            yield '            part[key].take(which, 0, array, "clip")'
        yield f"        run({self.clocks(self.step, 'update + 1 == total')})"
        for w in self.summed:
            seen = "len(which)" if w.per_example else "1"
            yield f'        {ident(w.name)}_sum = {ident(w.name)}_sum + left["watch:{w.name}"]'
            yield f"        {ident(w.name)}_seen += {seen}"

    def clocks(self, program: Program, looked: str = "True", at: tuple[str, str] = NOW) -> str:
        """What `run` of a program is given, at an update of an epoch."""
        known = {
            "update": at[0],
            "epoch": at[1],
            "progress": f"({at[0]}) / total",
            "looked": looked,
        }
        if at == NOW:
            known["progress"] = "update / total"
        found = dict[Clock, str](known.items())
        for c in program.clocks:
            if isinstance(c, WatchReport):
                found[c] = f'told["{self.phase.name}.{c.watch}"][-1][2]'
        return ", ".join(found[c] for c in program.clocks)

    # ---- watches -------------------------------------------------------------------------------

    def after(self) -> Iterator[str]:
        """Watches after an update, and whether the phase is over."""
        for unit in ("update", "epoch"):
            for w in (*self.summed, *self.over):
                if w.every is not None and w.every[1] == unit:
                    yield from self.take(w, "update + 1", "(update + 1) // per_epoch", self.due(w))
        if self.phase.until:
            clocks = [c for key in self.phase.until for c in self.plan.programs[key].clocks]
            heard = {c.watch: None for c in clocks if isinstance(c, WatchReport)}
            there = "".join(f' and "{self.phase.name}.{watch}" in told' for watch in heard)
            yield f"        if place + 1 == per_epoch{there}:"
            for key in self.phase.until:
                program = self.plan.programs[key]
                args = f"1, seed, cast(param, np.{program.dtype}), state"
                yield f"            run, _, left = {self.names[str(key)]}({args})"
                yield f"            run({self.clocks(program, at=THEN)})"
                yield '            if left["until"]:'
                yield "                total = update + 1"
                yield "                break"

    def due(self, w: WatchSpec) -> str:
        assert w.every is not None
        k, unit = w.every
        if unit == "update":
            return f"        if (update + 1) % {k} == 0:" if k > 1 else "        "
        each = f" and (epoch + 1) % {k} == 0" if k > 1 else ""
        return f"        if place + 1 == per_epoch{each}:"

    def take(self, w: WatchSpec, update: str, epoch: str, head: str) -> Iterator[str]:
        """A watch is taken where the head says so."""
        space = head if not head.strip() else " " * (len(head) - len(head.lstrip()) + 4)
        if head.strip():
            yield head
        for row in self.value(w, (update, epoch)):
            yield from broken(f"{space}{row}")
        yield from broken(
            f'{space}report(told, "{self.phase.name}", "{w.name}", {update}, {epoch}, value)'
        )

    def value(self, w: WatchSpec, at: tuple[str, str]) -> Iterator[str]:
        """The value of a watch."""
        name = ident(w.name)
        if w in self.summed:
            yield f"value = {name}_sum" if w.total else f"value = {name}_sum / {name}_seen"
            yield f"{name}_sum, {name}_seen = np.zeros(()), 0"
            return
        key = w.program or ProgramKind.WATCH.of(self.phase.name, w.name)
        program = self.plan.programs[key]
        bind = f"lambda n: {self.names[str(key)]}(n, seed, cast(param, np.{program.dtype}), state)"
        part, size = "part", "len(which)"
        if w.on is not None:
            part = "examples"
            yield f'examples = data["{self.part(w.on.data, w.on.part, program)}"]'
            number = "len(next(iter(examples.values())))"
            rows = w.stream
            yield (
                f"which = np.arange({number})" if not rows else f"which = stream({number}, {rows})"
            )
            size = f"{program.capacity}" if w.per_example else "len(which)"
            if rows:
                size = str(rows)
                shapes = ", ".join(f'"{path}": {shape}' for path, shape in w.carried.items())
                yield f"shapes = {{{shapes}}}"
                real = f"np.{program.dtype}"
                yield f"own = {{path: np.zeros(shape, {real}) for path, shape in shapes.items()}}"
                bind = bind.replace(", state)", ", own)")
        yield f"program = {bind}"
        clocks = self.clocks(program, at=at)
        yield f"value, times = over(program, {part}, which, {size}, [{clocks}], {at[0]})"
        if not w.total:
            yield f"value = value / {'len(which)' if w.per_example else 'times'}"

    def end(self) -> Iterator[str]:
        """Watches of the whole phase, and those that were never due."""
        name = self.phase.name
        yield "    epoch = total // per_epoch"
        for w in (*self.summed, *self.over):
            asked = [f'"{name}.{w.name}" not in told'] * bool(w.every)
            asked += [f"{ident(w.name)}_seen"] * (w in self.summed)
            head = f"    if {' and '.join(asked)}:" if asked else "    "
            yield from self.take(w, "total", "epoch", head)
        yield f'    finished(told, "{name}", total, epoch, time.perf_counter() - began)'


def keys_of(plan: Plan, phase: PhaseSpec) -> Iterator[ProgramKey]:
    """The programs that a phase runs, in the order in which they are read."""
    wanted = {ProgramKind.START: phase.starts, ProgramKind.STATES: stateful(plan, phase)}
    for kind, there in wanted.items():
        if there and kind.of(phase.name) in plan.programs:
            yield kind.of(phase.name)
    yield from phase.steps
    for w in phase.watches:
        if w.program is not None:
            yield w.program
    yield from phase.until
    yield from (spec.program for spec in phase.estimates)


def stateful(plan: Plan, phase: PhaseSpec) -> bool:
    """Whether a phase has states that its programs read."""
    keys = (*phase.steps, *phase.until, *(w.program for w in phase.watches if w.program))
    if phase.estimates or phase.weighed:
        return True
    return any(b.place == "state" for key in keys for b in plan.programs[key].buffers)
