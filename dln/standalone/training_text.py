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
from dln.standalone.data_text import Parts
from dln.standalone.program.layout import broken
from dln.standalone.program.text import Written, ident

ORDERS = {
    "shuffled": "permutation(count, seed, {site}, epoch)",
    "replacement": "replacement(count, seed, {site}, epoch)",
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
    """Writes the function that trains a phase; `made` are the functions of programs, `parts` what
    the parts of data are called, by data set, part and precision."""

    def __init__(
        self, plan: Plan, phase: PhaseSpec, made: Mapping[str, Written], parts: Parts, plain: bool
    ) -> None:
        self.plan, self.phase, self.made, self.parts = plan, phase, made, parts
        self.plain = plain  # all is of one precision
        self.step = plan.programs[phase.step]
        self.real = f"np.{self.step.dtype}"
        self.summed = [w for w in phase.watches if w.on is None and w.program is None]
        self.before = [w for w in phase.watches if w.on is None and w.program is not None]
        self.over = [w for w in phase.watches if w.on is not None]
        self.drawn_any = any(plan.data[name].drawn for name, _, _ in parts)

    def lines(self) -> Iterator[str]:
        """The function, line by line."""
        p, name = self.phase, self.phase.name
        yield f"def train_{ident(name)}(param, data, told, seed=0, epochs=None):"
        yield f'    """{self.said()}"""'
        own = ("seed, ", f"{p.seed}, ") if p.seed is not None else ("", "")
        part = self.part(p.data, p.part, self.step)
        yield f'    {own[0]}part, began = {own[1]}data["{part}"], time.perf_counter()'
        each = "count // batch" if p.order == "stream" else "-(-count // batch)"
        count = self.size("part", p.data)
        if p.batch is None:
            yield f"    count = batch = {count}; per_epoch = {each}"
        else:
            yield f"    count = {count}; batch = min({p.batch}, count); per_epoch = {each}"
        yield self.total()
        yield from self.begin()
        for w in (*self.before, *self.over):
            yield from self.watch(w)
        if self.summed:
            names = [f"{ident(w.name)}_sum" for w in self.summed]
            seen = [f"{ident(w.name)}_seen" for w in self.summed]
            zeros = ["np.zeros(())"] * len(names) + ["0"] * len(seen)
            yield from broken(f"    {', '.join([*names, *seen])} = {', '.join(zeros)}")
        if p.duration[0]:
            yield from self.loop()
        yield from self.end()

    def loop(self) -> Iterator[str]:
        """What is done at each update."""
        yield "    for update in range(total):"
        yield "        epoch, place = divmod(update, per_epoch)"
        yield from self.order()
        yield "        which = order[place * batch : (place + 1) * batch]"
        for w in self.before:
            if w.every is not None and w.every[1] == "update":
                k = w.every[0]
                yield from self.take(w, NOW, f"update % {k} == 0" if k > 1 else "")
        yield from self.until(before=True)
        yield from self.update()
        yield from self.after()

    def said(self) -> str:
        """What is said of the phase."""
        p = self.phase
        count, unit = p.duration
        size = "all examples" if p.batch is None else f"{p.batch:,} at a time"
        place = "" if p.place is None else f"Line {p.place.line}: "
        plural = "" if count == 1 else "s"
        return f"{place}train {p.name}, {count:,} {unit}{plural}, {size}, in the order {p.order}."

    def part(self, data: str, part: str, program: Program) -> str:
        return self.parts[data, part, program.dtype]

    def size(self, part: str, data: str) -> str:
        """The number of examples of a part of a data set."""
        d = self.plan.data[data]
        name = (d.raw[0].name or "raw") if d.drawn else d.fields[0].name
        return f'len({part}["{name}"])'

    def pick(self, part: str, which: str, data: str) -> str:
        """Some examples of a part, field by field."""
        if self.drawn_any:
            return f"pick({part}, {which}, update)"
        return f"{{k: a[{which}] for k, a in {part}.items()}}"

    def total(self) -> str:
        count, unit = self.phase.duration
        if unit == "epoch":
            return f"    total = ({count} if epochs is None else epochs) * per_epoch"
        return f"    total = {count} if epochs is None else min({count}, epochs * per_epoch)"

    # ---- calls ---------------------------------------------------------------------------------

    def call(
        self, key: ProgramKey, at: tuple[str, str] = NOW, state: str = "state", n: str = "1",
        some: str = "some",
    ) -> str:  # fmt: skip
        """The call of the function of a program, at an update of an epoch."""
        program = self.plan.programs[key]
        kind = str(key).partition(":")[0]
        at = ("0", "0") if kind in ("states", "start") else at
        known = {"update": at[0], "epoch": at[1], "progress": f"({at[0]}) / total"}
        if at[0].isidentifier():
            known["progress"] = f"{at[0]} / total"
        clocks = dict[Clock, str](known.items()) | {"looked": "True"}
        for c in program.clocks:
            if not isinstance(c, str):
                clocks[c] = self.heard(c)
        param = (
            "param" if self.plain or key in self.phase.steps else f"cast(param, np.{program.dtype})"
        )
        return self.made[str(key)].call(some, clocks, param=param, state=state, n=n)

    def heard(self, c: object) -> str:
        """What is known of a watch."""
        assert isinstance(c, WatchReport)
        return f'told["{self.phase.name}.{c.watch}"][-1][2]'

    # ---- the beginning -------------------------------------------------------------------------

    def begin(self) -> Iterator[str]:
        """Precision, what is handed over, states."""
        p, programs = self.phase, self.plan.programs
        if not self.plain:
            moved = {b.key for key in p.steps for b in programs[key].buffers if b.place == "param"}
            listed = ", ".join(f'"{path}"' for path in sorted(moved))
            yield from broken(f"    mine = [{listed}]")
            yield f"    param.update(cast({{k: param[k] for k in mine}}, {self.real}))"
        start = programs.find(ProgramKind.START.of(p.name))
        if p.starts and start is not None:
            yield f"    for path, array in {self.call(start_key(p))}.items():"
            yield "        param[path][...] = array"
        if not stateful(self.plan, p):
            return
        shapes = ", ".join(f'"{path}": {shape}' for path, shape in p.states.items())
        yield from broken(f"    shapes = {{{shapes}}}")
        yield f"    state = {{k: np.zeros(shape, {self.real}) for k, shape in shapes.items()}}"
        if programs.find(ProgramKind.STATES.of(p.name)) is not None:
            call = self.call(ProgramKind.STATES.of(p.name), n=f"{p.rows or 1}")
            yield from broken(f"    for path, array in {call}.items():")
            yield f'        kind = {self.real} if array.dtype.kind == "f" else array.dtype'
            yield "        state[path] = np.array(array, kind)"
        for path, by in p.weighed:
            value = f'class_weights(part["{by}"], len(state["{path}"]))'
            yield from broken(f'    state["{path}"][...] = {value}')

    def order(self) -> Iterator[str]:
        p = self.phase
        site = site_number(f"{p.name}.order")
        form = ORDERS[p.order].format(site=site, by=p.balanced)
        if not p.carried and not p.estimates:
            yield f"        if place == 0: order = {form}"
            return
        yield "        if place == 0:"
        yield f"            order = {form}"
        if p.carried:
            yield "            # from window to window, from zero on"
            listed = ", ".join(f'"{path}"' for path in p.carried)
            yield from broken(f"            for path in ({listed},):")
            yield "                state[path][...] = 0.0"
        for spec in p.estimates:
            program = self.plan.programs[spec.program]
            space = "            "
            if spec.every > 1:
                yield f"{space}if epoch % {spec.every} == 0:"
                space += "    "
            yield from broken(f"{space}program = lambda some: {self.call(spec.program)}")
            size = f"{program.capacity}, update, state"
            yield f"{space}estimate(program, part, order[:{spec.sample}], {size})"

    def update(self) -> Iterator[str]:
        """The update itself."""
        if self.drawn_any:
            yield f"        some = {self.pick('part', 'which', self.phase.data)}"
        p = self.phase
        if p.rounds:
            turns = list(dict.fromkeys(p.rounds))
            for i, turn in enumerate(turns):
                mine = [k for k, r in enumerate(p.rounds) if r == turn]
                key = p.steps[i]
                test = f"update % {len(p.rounds)} in {tuple(mine)!r}" if len(mine) > 1 else (
                    f"update % {len(p.rounds)} == {mine[0]}")  # fmt: skip
                word = "if" if not i else "elif" if i + 1 < len(turns) else "else"
                yield f"        {word}{'' if word == 'else' else f' {test}'}:"
                yield from self.one(key, "            ")
        else:
            yield from self.one(p.step, "        ")
        for w in self.summed:
            value = "left" if len(self.made[str(p.step)].gives) == 1 else f'left["watch:{w.name}"]'
            seen = "len(which)" if w.per_example else "1"
            yield f"        {ident(w.name)}_sum = {ident(w.name)}_sum + {value}"
            yield f"        {ident(w.name)}_seen += {seen}"

    def one(self, key: ProgramKey, space: str) -> Iterator[str]:
        left = "left = " if self.summed else ""
        some = "some" if self.drawn_any else "part[{}][which]"
        yield from broken(f"{space}{left}{self.call(key, n='len(which)', some=some)}")

    # ---- watches -------------------------------------------------------------------------------

    def watch(self, w: WatchSpec) -> Iterator[str]:
        """A function that takes a watch."""
        key = w.program or ProgramKind.WATCH.of(self.phase.name, w.name)
        program = self.plan.programs[key]
        own = w.on is not None and w.stream is not None
        at = ("update", "epoch")
        part = "part"
        head = "update, epoch" + (", which" if w.on is None else "")
        yield f"    def {ident(w.name)}({head}):"
        if w.on is not None:
            part = f'data["{self.part(w.on.data, w.on.part, program)}"]'
            rows, number = w.stream, self.size(part, w.on.data)
            yield f"        which = np.arange({number})" if not rows else (
                f"        which = stream({number}, {rows})")  # fmt: skip
            if own and w.carried:
                shapes = ", ".join(f'"{path}": {shape}' for path, shape in w.carried.items())
                yield from broken(f"        shapes = {{{shapes}}}")
                real = f"np.{program.dtype}"
                yield f"        own = {{k: np.zeros(shape, {real}) for k, shape in shapes.items()}}"
        size = f"{program.capacity}" if w.per_example and w.on is not None else "len(which)"
        size = str(w.stream) if own else size
        call = self.call(key, at, "own" if own and w.carried else "state", "len(which)")
        yield from broken(f"        program = lambda some: {call}")
        value = f"over(program, {part}, which, {size}, update)"
        if not w.total:
            value += " / len(which)" if w.per_example else f" / (len(which) // {size})" * own
        yield from broken(f"        value = {value}")
        row = "(update, epoch, value.tolist())"
        yield f'        told.setdefault("{self.phase.name}.{w.name}", []).append({row})'

    def after(self) -> Iterator[str]:
        """Watches after an update, and whether the phase is over."""
        for unit in ("update", "epoch"):
            for w in (*self.summed, *self.over):
                if w.every is not None and w.every[1] == unit:
                    yield from self.take(w, THEN, self.due(w))
        yield from self.until()

    def until(self, before: bool = False) -> Iterator[str]:
        """Whether the phase is over, where something was reported."""
        watches = self.before if before else (*self.summed, *self.over)
        due = [] if before else ["place + 1 == per_epoch"]
        count = "update" if before else "(update + 1)"
        for w in watches:
            if w.every is not None and w.every[1] == "update":
                due.append(f"{count} % {w.every[0]} == 0" if w.every[0] > 1 else "True")
        if not self.phase.until or not due:
            return
        test = "True" if "True" in due else " or ".join(due)
        space = "        "
        for key in self.phase.until:
            clocks = [c for c in self.plan.programs[key].clocks if isinstance(c, WatchReport)]
            there = [f'"{self.phase.name}.{c.watch}" in told' for c in clocks]
            asked = [f"({test})" if " or " in test and there else test] * (test != "True")
            asked += dict.fromkeys(there)
            call = self.call(key, NOW if before else THEN)
            yield from broken(f"{space}if {' and '.join([*asked, call])}:")
            yield f"{space}    total = {'update' if before else 'update + 1'}"
            yield f"{space}    break"

    def due(self, w: WatchSpec) -> str:
        assert w.every is not None
        k, unit = w.every
        if unit == "update":
            return f"(update + 1) % {k} == 0" if k > 1 else ""
        each = f" and (epoch + 1) % {k} == 0" if k > 1 else ""
        return f"place + 1 == per_epoch{each}"

    def take(
        self, w: WatchSpec, at: tuple[str, str], test: str, space: str = "        "
    ) -> Iterator[str]:
        """A watch is taken where the test holds."""
        if test:
            yield f"{space}if {test}:"
            space += "    "
        name = ident(w.name)
        if w not in self.summed:
            yield f"{space}{name}({', '.join(at)}{', which' * (w.on is None)})"
            return
        value = f"{name}_sum" if w.total else f"{name}_sum / {name}_seen"
        said = f'"{self.phase.name}.{w.name}", {", ".join(at)}, {value}'
        yield from broken(f"{space}report(told, {said})")
        yield f"{space}{name}_sum, {name}_seen = np.zeros(()), 0"

    def end(self) -> Iterator[str]:
        """Watches of the whole phase, and those that were never due."""
        name = self.phase.name
        for w in (*self.summed, *self.over):
            asked = [f'"{name}.{w.name}" not in told'] * bool(w.every)
            asked += [f"{ident(w.name)}_seen"] * (w in self.summed)
            yield from self.take(w, ("total", "total // per_epoch"), " and ".join(asked), "    ")
        ended = "total, total // per_epoch, time.perf_counter() - began"
        yield f'    finished(told, "{name}", {ended})'


def start_key(phase: PhaseSpec) -> ProgramKey:
    return ProgramKind.START.of(phase.name)


def keys_of(plan: Plan, phase: PhaseSpec) -> Iterator[ProgramKey]:
    """The programs that a phase runs, in the order in which they are read."""
    wanted = {ProgramKind.START: phase.starts, ProgramKind.STATES: stateful(plan, phase)}
    for kind, there in wanted.items():
        if there and kind.of(phase.name) in plan.programs:
            yield kind.of(phase.name)
    if phase.duration[0]:
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
