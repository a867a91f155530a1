"""The text of tasks: what is emitted once a spec is trained, printed or written to files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from json import dumps
from pathlib import Path

from dln.compiler.frontend.context.artefacts import FORMS
from dln.compiler.plan import EmitSpec, PartSpec, Plan, Program, ProgramKey, TaskSpec
from dln.compiler.schema.keys import Output
from dln.standalone.check_text import ascii_text
from dln.standalone.data_text import Parts
from dln.standalone.program.layout import broken, remark
from dln.standalone.program.text import WrittenProgram


def in_file(emit: EmitSpec) -> bool:
    """Whether a file can print or write what is emitted."""
    form = FORMS[emit.form]
    made = form.array or bool(form.each) if emit.program is not None else not form.curves
    return made and all(isinstance(p.value, Output | str) for p in emit.parts)


class TaskText:
    """Writes the tasks that come after the phases of a file; `made` are functions of programs."""

    def __init__(
        self, plan: Plan, phases: Collection[str], made: Mapping[str, WrittenProgram], parts: Parts
    ) -> None:
        self.plan, self.made, self.parts = plan, made, parts
        self.tasks = tasks_of(plan, phases)

    def lines(self) -> Iterator[str]:
        """A function that does all tasks, or one of them."""
        if not self.tasks:
            return
        yield "\ndef tasks(param, told, seed=0, only=None, limit=None, *folder):"
        yield '    """What the spec emits once it is trained, printed or into files."""'
        if any(e.program is not None and in_file(e) for task in self.tasks for e in task.emits):
            yield "    data = examples(seed, limit, *folder)"
        for task in self.tasks:
            yield f'    if only in (None, "{task.name}"):'
            if any(e.program is None and in_file(e) for e in task.emits):
                yield from broken(f"        left = {self.call(task.program)}")
            for emit in task.emits:
                if in_file(emit):
                    yield from self.emit(task, emit)
                else:
                    said = f"{emit.form}{f' to {emit.to}' if emit.to else ''}"
                    yield f"        # not in this file: {remark(ascii_text(said), 60)}"

    def call(self, key: ProgramKey, some: str = "some", n: str = "1") -> str:
        """The call of the function of a program."""
        program = self.plan.programs[key]
        clocks = dict.fromkeys(program.clocks, "0")
        return self.made[str(key)].call(some, clocks, n=n, param=f"cast(param, np.{program.dtype})")

    def emit(self, task: TaskSpec, emit: EmitSpec) -> Iterator[str]:
        """What is emitted, printed or written."""
        if emit.program is not None and emit.on is not None:
            yield from self.of_examples(emit, self.plan.programs[emit.program])
            value = "found"
            if FORMS[emit.form].each:
                yield from of_classes(task, emit)
                return
        elif emit.form == "text":
            for k, part in enumerate(emit.parts):
                yield from self.letters(part, k)
            pieces = ", ".join(self.piece(part, k) for k, part in enumerate(emit.parts))
            yield from broken(f"        said = [{pieces}]")
            value = '"".join(said)'
        else:
            value = f"left[{dumps(emit.parts[0].key)}]"
        if emit.to is None:
            yield f'        print("{task.name}:", shown({value}))'
        else:
            yield f'        save("{task.name}", {dumps(emit.to)}, {value})'

    def letters(self, part: PartSpec, k: int) -> Iterator[str]:
        """What numbers of a piece of a text are called, on as many lines as it takes."""
        if part.classes and not part.alphabet:
            yield from broken(f"        letters{k} = {dumps(list(part.classes))}")
        elif part.alphabet:
            rows = [part.alphabet[i : i + 60] for i in range(0, len(part.alphabet), 60)]
            yield f"        letters{k} = ("
            yield from (f"            {dumps(row)}" for row in rows)
            yield "        )"

    def piece(self, part: PartSpec, k: int) -> str:
        """A piece of a text."""
        if isinstance(part.value, str):
            return dumps(part.value)
        value = f"left[{dumps(part.key)}]"
        if part.alphabet:
            return f'"".join(letters{k}[int(i)] for i in {value}.reshape(-1))'
        if part.classes:
            return f'" ".join(letters{k}[int(i)] for i in {value}.reshape(-1))'
        return f"shown({value})"

    def of_examples(self, emit: EmitSpec, program: Program) -> Iterator[str]:
        """What is made of examples, in the order of the data."""
        assert emit.program is not None and emit.on is not None
        part = self.parts[emit.on.data, emit.on.part, program.dtype]
        keys = [part.key for part in emit.parts]
        yield from broken(f"        program = lambda some: {self.call(emit.program)}")
        most = f", {emit.count}" if emit.count else ""
        if FORMS[emit.form].each:
            names = [n if n.isprintable() and not n.isspace() else repr(n)
                     for n in emit.parts[0].rows]  # fmt: skip
            yield from broken(f"        names = {dumps(names)}")
            asked = f'program, data["{part}"], {dumps(keys)}, {program.capacity}, len(names){most}'
            yield from broken(f"        counts = counted({asked})")
            return
        picked = f'picked(program, data["{part}"], {dumps(keys)}, {program.capacity}{most})'
        yield from broken(f"        (found,) = {picked}")


def of_classes(task: TaskSpec, emit: EmitSpec) -> Iterator[str]:
    """Counts of classes, or their shares, printed or written."""
    shares, kind = FORMS[emit.form].shares, Path(emit.to or "").suffix
    text = f"of_{'shares' if shares else 'counts'}(counts, names)"
    if emit.to is None:
        yield f'        print("{task.name}:", {text})'
        return
    if kind == ".txt":
        value = f'{text} + "\\n"'
    elif kind == ".csv":
        head = (
            '["class", "precision", "recall", "f1", "examples"]' if shares else '["true", *names]'
        )
        value = f"commas({head}, names, {'share_rows(counts)' if shares else 'counts.tolist()'})"
    else:
        value = "shares(counts)" if shares else "counts"
    yield from broken(f'        save("{task.name}", {dumps(emit.to)}, {value})')


def tasks_of(plan: Plan, phases: Collection[str]) -> list[TaskSpec]:
    """The tasks that a file can do some of."""
    return [
        task for task in plan.tasks.values()
        if all(name in phases for name in task.after) and any(map(in_file, task.emits))
        and not any(c for e in task.emits if e.program for c in plan.programs[e.program].clocks
                    if not isinstance(c, str))
        and all(isinstance(c, str) for c in plan.programs[task.program].clocks)
    ]  # fmt: skip


def task_keys(plan: Plan, phases: Collection[str]) -> Iterator[ProgramKey]:
    """The programs of the tasks of a file."""
    for task in tasks_of(plan, phases):
        if any(e.program is None and in_file(e) for e in task.emits):
            yield task.program
        yield from (e.program for e in task.emits if e.program is not None and in_file(e))
