"""The text that trains a phase: its minibatches in order, and what is watched between them.

A statement stands in it only where the phase has what it is for, so that what is read is what is
done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from json import dumps

from dln.compiler.plan import (
    DescentSpec,
    GradientValue,
    ProgramKey,
    ProgramKind,
    RoundSpec,
    SharedValue,
    site_number,
)
from dln.runtime.readers.files import files_of
from dln.standalone.parts import remembers, stateful
from dln.standalone.program.layout import broken, quoted
from dln.standalone.program.text import ident
from dln.standalone.watch_text import NOW, WatchText

ORDERS = {
    "shuffled": "permutation(count, seed, {site}, epoch)",
    "replacement": "replacement(count, seed, {site}, epoch)",
    "file": "np.arange(count)",
    "stream": "stream(count, batch)",
    "balanced": 'balanced({part}["{by}"], seed, {site}, epoch)',
    "even": 'even({part}["{by}"], seed, {site}, epoch)',
}
"""How the examples of an epoch are ordered; of one example there is one order."""


class PhaseText(WatchText):
    """Writes the function that trains a phase."""

    @property
    def real(self) -> str:
        """The precision of the phase."""
        return f"np.{self.plan.programs[self.phase.step].dtype}"

    def lines(self) -> Iterator[str]:
        """The function, line by line."""
        p, name = self.phase, self.phase.name
        yield f"def train_{ident(name)}(param, data, told, seed=0, epochs=None):"
        yield f'    """{self.said()}"""'
        own = ("seed, ", f"{p.seed}, ") if p.seed is not None else ("", "")
        part = self.part(p.data, p.part, self.plan.programs[p.step])
        yield f'    {own[0]}part, began = {own[1]}data["{part}"], time.perf_counter()'
        each = "count // batch" if p.order == "stream" else "-(-count // batch)"
        count = self.size("part", p.data)
        if p.batch is None:
            yield f"    count = batch = {count}; per_epoch = {each}"
        else:
            yield f"    count = {count}; batch = min({p.batch}, count); per_epoch = {each}"
        if p.order == "stream":
            said = f"{name}: a stream of {p.batch} rows takes so many windows, not {{count}}"
            yield f"    if count < {p.batch}:"
            yield f'        raise SystemExit(f"{said}: --limit {p.batch}, or more")'
        if self.classes != "part" and (p.balanced or p.weighed):
            yield f"    {self.classes} = pick(part, np.arange(count), 0)"
        yield self.total()
        yield from self.begin()
        watches = [w for w in p.watches if w in self.heard_first or w not in self.summed]
        for w in watches:
            yield from self.watch(w)
        if remembers(p):
            yield from self.better()
        yield from self.first()
        for name in (ident(w.name) for w in self.summed):
            yield f"    {name}_sum, {name}_seen = np.zeros(()), 0"
        copied = "{k: a.copy() for k, a in param.items()}, "
        copied += "{k: a.copy() for k, a in state.items()}" if stateful(self.plan, p) else "{}"
        if self.keeps:
            yield f"    epoch = update = 0; order = {self.order_of()}"
            yield "    which = order[:batch]"
            yield from broken(f'    asked = {{"first": {self.pick("part", "which")}}}')
            yield from broken(f'    asked["before"] = {copied}')
        if p.descent is not None:
            yield from self.descent(p.descent)
        elif p.duration[0]:
            yield from self.loop()
        if self.keeps:
            yield from broken(f'    asked["after"] = {copied}')
            yield f'    told["asked {p.name}"] = asked'
        yield from self.end()

    def descent(self, d: DescentSpec) -> Iterator[str]:
        """A loop whose updates search along lines, all at the same examples."""
        names = ("c1", "c2", "trials", "grad_tol", "change_tol")
        rules = {name: getattr(d, name) for name in names}
        listed = ", ".join(f'param["{path}"]' for path in d.params)
        yield f"    epoch = 0; order = {self.order_of()}"
        yield "    which = order[:batch]"
        yield from broken(f"    rules = {rules!r}".replace("'", '"'))
        slopes = [str(GradientValue(path)) for path in d.params]
        yield from broken(f"    slopes = {dumps(slopes)}")
        yield from broken(f"    descent = LineDescent([{listed}], slopes, state, rules)")
        yield "    for update in range(total):"
        yield from self.late()
        yield "        epoch, place = divmod(update, per_epoch)"
        if self.drawn_any:
            yield f"        some = {self.pick('part', 'which')}"
        some = "some" if self.drawn_any else "part[{}][which]"
        call = self.call(self.phase.step, n="len(which)", some=some)
        yield from broken(f"        descent.iterate(lambda: {call})")
        yield from self.sums("descent.left", 2)
        yield from self.after(ended="descent.ended")

    def loop(self) -> Iterator[str]:
        """What is done at each update."""
        yield "    for update in range(total):"
        yield from self.late()
        yield "        epoch, place = divmod(update, per_epoch)"
        yield from self.order()
        yield "        which = order[place * batch : (place + 1) * batch]"
        for w in self.before:
            if w.every is not None and w.every[1] == "update":
                k = w.every[0]
                yield from self.take(w, NOW, f"update % {k} == 0" if k > 1 else "")
        yield from self.best(before=True)
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

    def total(self) -> str:
        count, unit = self.phase.duration
        if self.timed:
            most = "2**62" if count else "0"
            return f"    total = {most} if epochs is None else epochs * per_epoch"
        if unit == "epoch":
            return f"    total = ({count} if epochs is None else epochs) * per_epoch"
        return f"    total = {count} if epochs is None else min({count}, epochs * per_epoch)"

    def late(self) -> Iterator[str]:
        """Whether its time is over, where time ends it."""
        if self.timed:
            yield f"        if time.perf_counter() - began >= {self.phase.duration[0]}:"
            yield "            total = update"
            yield "            break"

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
            yield f"    for path, array in {self.call(ProgramKind.START.of(p.name))}.items():"
            yield "        param[path][...] = array"
        asked = {str(x.file.args[0]): x.file for x in reversed(p.loads)}
        for word, file in asked.items():
            mine = {x.path: x.name for x in p.loads if str(x.file.args[0]) == word}
            yield from quoted("    held = tensors(", str(files_of(file)[0]), 78)
            yield from broken(f"    for path, name in {dumps(mine)}.items():")
            yield "        param[path][...] = held[name]"
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
            value = f'class_weights({self.classes}["{by}"], len(state["{path}"]))'
            yield from broken(f'    state["{path}"][...] = {value}')

    @property
    def classes(self) -> str:
        """What holds the classes of examples: of a part that is drawn one draw of it."""
        return "drawn_once" if self.plan.data[self.phase.data].drawn else "part"

    def order_of(self) -> str:
        """The order of an epoch."""
        p = self.phase
        site = site_number(f"{p.name}.order")
        return ORDERS[p.order].format(site=site, by=p.balanced, part=self.classes)

    def order(self) -> Iterator[str]:
        """The order of an epoch, and what is done when one begins."""
        p, form = self.phase, self.order_of()
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
            yield f"        some = {self.pick('part', 'which')}"
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
        yield from self.sums("left", 2 if p.cuts else len(self.made[str(p.step)].gives))

    def sums(self, left: str, values: int) -> Iterator[str]:
        """What an update has left of watches, of so many values, is added up."""
        for w in self.summed:
            value = left if values == 1 else f'{left}["watch:{w.name}"]'
            seen = "len(which)" if w.per_example else "1"
            yield f"        {ident(w.name)}_sum = {ident(w.name)}_sum + {value}"
            yield f"        {ident(w.name)}_seen += {seen}"

    def one(self, key: ProgramKey, space: str) -> Iterator[str]:
        """The update that a program is, or that it is cut into."""
        if self.phase.cuts:
            yield from self.cut(self.phase.cuts[int(key.at or 0)], space)
            return
        left = "left = " if self.summed else ""
        some = "some" if self.drawn_any else "part[{}][which]"
        yield from broken(f"{space}{left}{self.call(key, n='len(which)', some=some)}")

    def cut(self, rounds: Sequence[RoundSpec], space: str) -> Iterator[str]:
        """An update in shards: what each makes of its rows, and what is made of their sums."""
        count, real = self.phase.shards, self.real
        yield f"{space}n, known, shards = len(which), {{}}, [{{}} for _ in range({count})]"
        if not self.drawn_any:
            yield f"{space}some = {self.pick('part', 'which')}"
        for i, each in enumerate(rounds):
            if each.shard is not None:
                call = self.call(
                    each.shard, state=self.rows(each.shard), n="high - low",
                    some="some[{}][low:high]", handed=self.shared(each.shard),
                )  # fmt: skip
                yield from broken(f"{space}program = lambda low, high, rows: {call}")
                yield f"{space}known |= in_shards(program, n, shards, {real})"
            lead = "left = " if self.summed else ""
            if i + 1 < len(rounds):
                lead = "known |= " if self.made[str(each.join)].gives else ""
            call = self.call(each.join, n="n", handed=self.shared(each.join))
            yield from broken(f"{space}{lead}{call}")

    def rows(self, key: ProgramKey) -> str:
        """The states that the program of a shard is given: its rows of those that have them."""
        buffers = self.plan.programs[key].buffers
        keys = [b.key for b in buffers if b.place == "state" and b.shape and b.shape[0][1]]
        mine = "".join(f'"{k}": state["{k}"][low:high], ' for k in keys)
        return f"state | {{{mine[:-2]}}}" if keys else "state"

    def shared(self, key: ProgramKey) -> dict[str, str]:
        """What a program of a round is given: sums, what was made of earlier ones, kept rows."""
        keys = [str(b.key) for b in self.plan.programs[key].inputs]
        found = {k: s for k in keys if (s := SharedValue.parse(k)) is not None}
        known = [k for k, s in found.items() if s.kind != "rows"]
        return {k: f'rows["{k}"]' for k in found} | self.handed(key, known)

    def end(self) -> Iterator[str]:
        """What is handed on, watches of the whole phase, and those that were never due."""
        name, over = self.phase.name, ("total", "total // per_epoch")
        if self.phase.handed:
            yield '    if kept and kept["update"] != total:'
            yield '        for (held, k), values in zip(mine, kept["values"]):'
            yield "            held[k][...] = values"
        for w in (*self.summed, *self.over):
            asked = [f'"{name}.{w.name}" not in told'] * bool(w.every)
            asked += [f"{ident(w.name)}_seen"] * (w in self.summed)
            yield from self.take(w, over, " and ".join(asked), "    ")
        for w in self.before:
            yield f'    if "{name}.{w.name}" not in told and total:'
            yield "        epoch, place = divmod(total, per_epoch)"
            yield f"        order = {self.order_of()}"
            yield "        which = order[place * batch : (place + 1) * batch]"
            yield from self.take(w, over, "", "        ")
        ended = "total, total // per_epoch, time.perf_counter() - began"
        ended += ', descent.ended and f"; {descent.ended}"' * (self.phase.descent is not None)
        yield from broken(f'    finished(told, "{name}", {ended})')
