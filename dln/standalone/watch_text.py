"""The text of what is watched in a phase: when it is taken, on what, and who hears of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from json import dumps

from dln.compiler.plan import (
    FIRST,
    ROWS,
    Clock,
    PhaseNumber,
    PhaseSpec,
    Plan,
    Program,
    ProgramKey,
    ProgramKind,
    ReportFold,
    WatchReport,
    WatchSpec,
)
from dln.standalone.check_text import number_of
from dln.standalone.data_text import Parts, wholes_of
from dln.standalone.parts import remembers
from dln.standalone.program.layout import broken
from dln.standalone.program.text import WrittenProgram, ident

TIME = ("epoch", "update", "progress", "looked")
NOTHING: Mapping[str, str] = {}
NOW, THEN = ("update", "epoch"), ("update + 1", "(update + 1) // per_epoch")
"""The update and the epoch before an update, and after it."""


class WatchText:
    """Writes what is watched in a phase; `made` are the functions of programs, `parts` what the
    parts of data are called, by data set, part and precision, `plain` whether all is of one."""

    def __init__(
        self,
        plan: Plan,
        phase: PhaseSpec,
        made: Mapping[str, WrittenProgram],
        parts: Parts,
        plain: bool,
    ) -> None:
        self.plan, self.phase, self.made, self.parts, self.plain = plan, phase, made, parts, plain
        self.summed = [w for w in phase.watches if w.on is None and w.program is None]
        self.before = [w for w in phase.watches if w.on is None and w.program is not None]
        self.over = [w for w in phase.watches if w.on is not None]
        self.heard_first = [w for w in phase.watches if w.name in phase.heard]
        self.keeps = False  # what checks ask of its first minibatch and of both its ends
        self.drawn_any = any(plan.data[name].drawn for name, _, _ in parts)

    def key(self, w: WatchSpec) -> ProgramKey:
        """The program of a watch; of one that steps leave, that of its first value."""
        return w.program or ProgramKind.WATCH.of(self.phase.name, w.name)

    def part(self, data: str, part: str, program: Program) -> str:
        return self.parts[data, part, program.dtype]

    def size(self, part: str, data: str) -> str:
        """The number of examples of a part of a data set."""
        d = self.plan.data[data]
        name = (d.raw[0].name or "raw") if d.drawn else d.fields[0].name
        return f'len({part}["{name}"])'

    def pick(self, part: str, which: str) -> str:
        """Some examples of a part, field by field."""
        if self.drawn_any:
            return f"pick({part}, {which}, update)"
        return f"{{k: a[{which}] for k, a in {part}.items()}}"

    # ---- calls ---------------------------------------------------------------------------------

    def call(
        self, key: ProgramKey, at: tuple[str, str] = NOW, state: str = "state", n: str = "1",
        some: str = "some", asked: bool = False, handed: Mapping[str, str] = NOTHING,
    ) -> str:  # fmt: skip
        """The call of the function of a program, at an update of an epoch. What is `asked` of
        watches is what they have reported, else also what they were before the first update. What
        is `handed` over stands for fields."""
        program = self.plan.programs[key]
        kind = str(key).partition(":")[0]
        at = ("0", "0") if kind in ("states", "start") else at
        known = {"update": at[0], "epoch": at[1], "progress": f"({at[0]}) / total"}
        if at[0].isidentifier():
            known["progress"] = f"{at[0]} / total"
        if self.timed:
            known["progress"] = self.progress if at[0] != "0" else "0.0"
        clocks = dict[Clock, str](known.items()) | {"looked": "True", FIRST: "low", ROWS: "n"}
        for c in program.clocks:
            if isinstance(c, WatchReport | ReportFold):
                clocks[c] = self.reported(c) if asked else self.heard(c)
            elif isinstance(c, PhaseNumber):
                clocks[c] = number_of(c)
        moved = self.plain or key in (*self.phase.steps, *self.phase.run)
        param = "param" if moved else f"cast(param, np.{program.dtype})"
        whole = wholes_of(program, self.parts)
        return self.made[str(key)].call(
            some, clocks, param=param, state=state, n=n, whole=f"{{{', '.join(whole)}}}", **handed
        )

    @property
    def timed(self) -> bool:
        """Whether time ends the phase."""
        return self.phase.duration[1] == "second"

    @property
    def progress(self) -> str:
        """How much of its time a phase has had."""
        seconds = self.phase.duration[0]
        return f"min(1.0, (time.perf_counter() - began) / {seconds})" if seconds else "1.0"

    def told(self, watch: str) -> str:
        return f'told.get("{self.phase.name}.{watch}", [])'

    def reported(self, c: WatchReport | ReportFold) -> str:
        """What is known of a watch that has reported."""
        rows = f'told["{self.phase.name}.{c.watch}"]'
        if isinstance(c, ReportFold):
            return f'fold({rows}, "{c.what}", {c.sign}, {c.rules!r}, {c.entry})'
        at = -1 if c.at is None else c.at - 1 if c.at < 0 else c.at
        return f"{rows}[{at}][2]" + ("" if c.entry is None else f"[{c.entry}]")

    def there(self, c: WatchReport | ReportFold) -> str:
        """Whether a watch has reported what is asked."""
        rows = self.told(c.watch)
        if isinstance(c, ReportFold) or c.at is None:
            return f'"{self.phase.name}.{c.watch}" in told'
        return f"len({rows}) > {-c.at if c.at < 0 else c.at}"

    def heard(self, c: WatchReport | ReportFold) -> str:
        """What an update hears of a watch."""
        if isinstance(c, ReportFold):
            return f'fold({self.told(c.watch)}, "{c.what}", {c.sign}, {c.rules!r}, {c.entry})'
        return f'heard({self.told(c.watch)}, first["{c.watch}"], {c.at}, {c.entry})'

    # ---- functions -----------------------------------------------------------------------------

    def watch(self, w: WatchSpec) -> Iterator[str]:
        """A function that takes a watch, and tells of it where nobody else asks."""
        key = self.key(w)
        program = self.plan.programs[key]
        own = w.on is not None and w.stream is not None
        part, count = "part", "len(which)"
        yield f"    def {ident(w.name)}(update, epoch{', which' * (w.on is None)}):"
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
        some = (w.per_example or w.rounds) and w.on is not None
        size = f"{program.capacity}" if some else "len(which)"
        size = str(w.stream) if own else size
        call = self.call(key, NOW, "own" if own and w.carried else "state", count)
        if not w.rounds:
            yield from broken(f"        program = lambda some: {call}")
        value = f"over(program, {part}, which, {size}, update)"
        if w.rounds:
            yield from self.in_rounds(w, part, size)
            value = 'np.asarray(known["watch"])'
        elif not w.total:
            value += " / len(which)" if w.per_example else f" / (len(which) // {size})" * own
        if w in self.heard_first:
            yield from broken(f"        return {value}")
            return
        yield from broken(f"        value = {value}")
        row = "(update, epoch, value.tolist())"
        yield f'        told.setdefault("{self.phase.name}.{w.name}", []).append({row})'

    def in_rounds(self, w: WatchSpec, part: str, size: str) -> Iterator[str]:
        """A watch that is made of sums over all examples, which may need earlier ones."""
        yield "        known = {}"
        there = set[str]()
        for tally, made in w.rounds:
            count = "len(next(iter(some.values())))"
            call = self.call(tally, NOW, n=count, handed=self.handed(tally, there))
            yield from broken(f"        program = lambda some: {call}")
            yield f"        known |= tallied(program, {part}, which, {size}, update)"
            there |= {b.key for b in self.plan.programs[tally].values}
            call = self.call(made, NOW, n="len(which)", handed=self.handed(made, there))
            yield from broken(f"        known |= {call}")
            there |= {b.key for b in self.plan.programs[made].values}

    def handed(self, key: ProgramKey, there: Collection[str]) -> dict[str, str]:
        """What a program is given that others have left: in its precision."""
        program = self.plan.programs[key]
        return {b.key: f"np.asarray(known[{dumps(b.key)}], np.{program.dtype})"
                if b.kind == "real" else f"known[{dumps(b.key)}]"
                for b in program.inputs if b.key in there}  # fmt: skip

    def first(self) -> Iterator[str]:
        """What updates hear before the first one, in a phase that is about to begin."""
        if not self.heard_first:
            return
        which = ", order[:batch]"
        if any(w.on is None for w in self.heard_first):
            yield f"    epoch, order = 0, {self.order_of()}"
        made = [f'"{w.name}": {ident(w.name)}(0, 0{which * (w.on is None)}).tolist()'
                for w in self.heard_first]  # fmt: skip
        yield from broken(f"    first = {{{', '.join(made)}}}")

    def order_of(self) -> str:
        """The order of an epoch."""
        raise NotImplementedError

    # ---- when ----------------------------------------------------------------------------------

    def after(self, ended: str = "") -> Iterator[str]:
        """Watches after an update, and whether the phase is over, as something may say."""
        for unit in ("update", "epoch"):
            for w in (*self.summed, *self.over):
                if w.every is not None and w.every[1] == unit:
                    yield from self.take(w, THEN, self.due(w))
        yield from self.best()
        if ended:
            yield f"        if {ended}:"
            yield "            total = update + 1"
            yield "            break"
        yield from self.until()

    def moments(self, before: bool) -> list[str]:
        """When watches report, before an update or after it; "True" at each."""
        count, watches = ("update", self.before) if before else ("", [*self.summed, *self.over])
        found = list[str]()
        for w in watches:
            if w.every is not None and not before:
                found.append(self.due(w) or "True")
            elif w.every is not None and w.every[1] == "update":
                found.append(f"{count} % {w.every[0]} == 0" if w.every[0] > 1 else "True")
        return ["True"] if "True" in found else list(dict.fromkeys(found))

    def until(self, before: bool = False) -> Iterator[str]:
        """Whether the phase is over, where something was reported or an epoch has ended."""
        due = self.moments(before)
        if not before and due != ["True"]:
            due = list(dict.fromkeys([*due, "place + 1 == per_epoch"]))
        if not self.phase.until or not due:
            return
        test = " or ".join(f"({d})" if " and " in d else d for d in due)
        for key in self.phase.until:
            asked = [f"({test})" if " or " in test else test] * (test != "True")
            asked += self.asked(key)
            call = self.call(key, NOW if before else THEN, asked=True)
            said = " and ".join([*asked, call])
            yield from broken(f"        if {said if len(said) < 88 else f'({said})'}:")
            yield f"            total = {'update' if before else 'update + 1'}"
            yield "            break"

    def asked(self, key: ProgramKey) -> list[str]:
        """Whether all reports that a program asks for are there."""
        clocks = self.plan.programs[key].clocks
        found = (self.there(c) for c in clocks if isinstance(c, WatchReport | ReportFold))
        return list(dict.fromkeys(found))

    def best(self, before: bool = False) -> Iterator[str]:
        """Remember what was reported where that is the best yet, and what the phase was then."""
        due = self.moments(before)
        if not remembers(self.phase) or not due:
            return
        at = ", ".join(NOW if before else THEN)
        if due == ["True"]:
            yield f"        better({at})"
        else:
            yield from broken(f"        if {' or '.join(due)}:")
            yield f"            better({at})"

    def better(self) -> Iterator[str]:
        """The function that remembers reports where they are the best yet and, where that is handed
        on, the values of the phase."""
        steps = [self.plan.programs[key] for key in self.phase.steps]
        paths = dict.fromkeys(b.key for p in steps for b in p.buffers if b.place == "param")
        listed = ", ".join(f'"{path}"' for path in paths)
        keeps = [keep.program for keep in self.phase.keeps if keep.program is not None]
        handed, name = self.phase.handed, self.phase.name
        kept = ", kept" * handed, ", {}" * handed
        yield f"    least{kept[0]} = [np.inf] * {len(keeps)}{kept[1]}  # the best reports"
        if handed:
            yield from broken(f"    mine = [(param, k) for k in ({listed},)]")
        if handed and any(b.place == "state" for p in steps for b in p.buffers):
            yield "    mine += [(state, k) for k in state]"
        yield "    def better(update, epoch):"
        yield "        found = False"
        for i, key in enumerate(keeps):
            asked = " and ".join(self.asked(key)) or "True"
            call = self.call(key, asked=True)
            yield from broken(f"        value = {call} if {asked} else np.inf")
            yield f"        if value < least[{i}]:"
            yield f"            least[{i}], found = value, True"
        yield "        if found:"
        if handed:
            values = "[held[k].copy() for held, k in mine]"
            yield f"            kept.update(update=update, values={values})"
        known = f'{{k: v[-1][2] for k, v in told.items() if k.startswith("{name}.")}}'
        yield f'            told["best {name}"] = {{"updates": update, "epochs": epoch}}'
        yield from broken(f'            told["best {name}"] |= {known}')

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
            call = f"{name}({', '.join(at)}{', which' * (w.on is None)})"
            said = f'report(told, "{self.phase.name}.{w.name}", {", ".join(at)}, {call})'
            yield from broken(f"{space}{said if w in self.heard_first else call}")
            return
        value = f"{name}_sum" if w.total else f"{name}_sum / {name}_seen"
        said = f'"{self.phase.name}.{w.name}", {", ".join(at)}, {value}'
        yield from broken(f"{space}report(told, {said})")
        yield f"{space}{name}_sum, {name}_seen = np.zeros(()), 0"
