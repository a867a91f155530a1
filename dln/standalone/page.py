"""The file: the spec as comments, its data, parameters and phases, what it needs, and `main`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from json import dumps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.model import Model
from dln.compiler.plan import PhaseSpec, Plan, Program, ProgramKey, ProgramKind, SharedValue
from dln.standalone.check_text import ascii_text, check_lines
from dln.standalone.data_text import DataText, Parts, parts_of, whole_keys, wholes_of
from dln.standalone.frame import header, named, said, spec_lines, tidy
from dln.standalone.needs import helpers, imports
from dln.standalone.parts import keys_of
from dln.standalone.probe_text import ProbeText
from dln.standalone.program.layout import broken, packed, quoted, remark
from dln.standalone.program.text import WrittenProgram, function_text, ident, table, table_of
from dln.standalone.refusing import refuse, refuse_applied
from dln.standalone.task_text import TaskText, task_keys, tasks_of
from dln.standalone.training_text import PhaseText


@dataclass
class Page:
    """A file in the making: what its programs are called, what it needs beside."""

    plan: Plan
    phases: list[PhaseSpec]
    text: str
    path: str
    made: dict[str, WrittenProgram] = field(default_factory=dict)
    alike: dict[str, WrittenProgram] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    model: Model | None = None
    folders: str = ""
    says: str = ""

    def written(self) -> str:
        """All of it. Raises `DlnError` E586 for what cannot stand alone."""
        refuse(self.plan, self.phases)
        parts = [*self.data(), *self.parameters()]
        for phase in self.phases:
            parts += self.phase(phase)
        parts += self.tasks()
        parts += self.main()
        parts += self.helpers("\n".join([*parts, *self.run()]))
        body = "\n".join([*parts, *self.run()])
        head = [*self.head(), *imports(body)]
        return tidy([*head, *parts, *self.run()])

    def inference(self) -> str:
        """What applies the instances, and nothing else. Raises `DlnError` E586, E587 where there is
        none."""
        plan = self.plan
        refuse_applied(plan)
        parts = [header("networks")]
        for name, applied in plan.applied.items():
            parts += self.programs([applied.program])
            ports = [ident(f.name) for f in applied.ports]
            written = self.made[str(applied.program)]
            parts += [f"\ndef apply_{ident(name)}(param, {', '.join(ports)}):"]
            parts += [f'    """{name} on examples, which are the first axis of all arrays."""']
            kinds = {b.key: b.kind for b in plan.programs[applied.program].inputs}
            real = f"np.{plan.programs[applied.program].dtype}"
            given = {f.name: f"np.asarray({ident(f.name)}, "
                     f"{'np.int64' if kinds.get(f.name) == 'index' else real})"
                     for f in applied.ports}  # fmt: skip
            parts += broken(f"    some = {table(given)}")
            clocks = dict.fromkeys(plan.programs[applied.program].clocks, "0")
            more = {"param": f"cast(param, {real})", "seed": "0", "n": f"len({ports[0]})"}
            call = written.call("some", clocks, **more)
            values = ", ".join(f"left[{dumps(r)}]" for r in applied.results)
            parts += [*broken(f"    left = {call}"), f"    return {values}"]
        parts += [header("parameters"), LOADED]
        parts += self.helpers("\n".join(parts))
        body = "\n".join(parts)
        head = [*self.head("it applies the networks"), *imports(body)]
        return tidy([*head, *parts])

    @property
    def own(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    def head(self, does: str = "it trains with NumPy alone, --help says how") -> Iterator[str]:
        """What it is, and the spec."""
        own = remark(ascii_text(self.own), 60)
        yield from packed(f"Written by dln from {own}, which follows; {does}.".split(), "# ")
        yield from spec_lines(self.text)

    # ---- programs ------------------------------------------------------------------------------

    def programs(self, keys: Iterable[object]) -> Iterator[str]:
        """Programs that are not there yet, as functions; of two that read alike there is one."""
        for key in map(str, keys):
            if key in self.made:
                continue
            program = self.plan.programs[key]
            name = named(key)
            while name in {w.name for w in self.made.values()}:
                name += "_"
            kind = key.partition(":")[0]
            keyed = kind in KEYED
            written = function_text(
                program, name, said(key), self.own, self.plan.texts, self.wanted(kind, program),
                keyed, self.rounded(key),
            )  # fmt: skip
            body = re.sub(r"  #.*", "", written.text.split("\n", 2)[2])
            if body in self.alike and self.alike[body].asks == written.asks:
                self.made[key] = self.alike[body]
                continue
            self.made[key] = self.alike[body] = written
            yield f"\n{written.text}"

    def rounded(self, key: str) -> list[str]:
        """The fields that are whole numbers, where their program leaves real ones."""
        kind, _, name = key.partition(":")
        if kind != "data":
            return []
        kinds = {b.key: b.kind for b in self.plan.programs[key].values}
        return [f.name for f in self.plan.data[name].fields
                if f.kind == "index" and kinds[f.name] == "real"]  # fmt: skip

    def wanted(self, kind: str, program: Program) -> list[str] | None:
        """The values of a program that somebody reads."""
        descends = any(b.key.startswith("grad:") for b in program.values)
        if kind == "step" and not descends:
            return [b.key for b in program.values if b.key.startswith("watch:")]
        if kind in ("shard", "join"):
            keys = [b.key for b in program.values]
            return [k for k in keys if k.startswith("watch:") or SharedValue.parse(k)]
        if kind == "init":
            return [b.key for b in program.values if b.key in self.moved]
        return None

    @cached_property
    def moved(self) -> set[str]:
        """The parameters that programs of the file read or move, or checks ask for."""
        keys = [key for phase in self.phases for key in keys_of(self.plan, phase)]
        keys += self.task_keys
        buffers = (b for key in keys for b in self.plan.programs[key].buffers)
        found = {b.key for b in buffers if b.place == "param"}
        found |= set() if self.probes is None else self.probes.reads
        return found | {x.path for phase in self.phases for x in phase.loads}

    @cached_property
    def task_keys(self) -> list[ProgramKey]:
        """The programs of tasks."""
        return list(task_keys(self.plan, [p.name for p in self.phases]))

    @cached_property
    def parts(self) -> Parts:
        keys = [*([self.first_key] if self.first_key else []), *self.task_keys]
        return parts_of(self.plan, self.phases, keys)

    @property
    def wholes(self) -> bool:
        """Whether a program reads whole parts of data."""
        keys = [key for phase in self.phases for key in keys_of(self.plan, phase)]
        keys += [*([self.first_key] if self.first_key else []), *self.task_keys]
        return any(whole_keys(self.plan.programs[key]) for key in keys)

    @property
    def plain(self) -> bool:
        """Whether all that the phases run is of the precision that parameters have."""
        keys = {key for phase in self.phases for key in keys_of(self.plan, phase)}
        return {self.plan.programs[key].dtype for key in keys} <= {self.dtype}

    @property
    def dtype(self) -> str:
        """The precision of parameters."""
        wide = any((p.dtype or self.plan.dtype) == "float64" for p in self.plan.phases.values())
        return "float64" if wide else self.plan.dtype

    def data(self) -> Iterator[str]:
        """What reads the data, and makes their fields."""
        yield header("data")
        made = DataText(self.plan, self.parts, self.made, self.wholes)
        if made.base:
            yield "\n# Where the files of the data are."
            yield from quoted("DATA = Path(", made.base)
        yield from self.programs(ProgramKind.DATA.of(name) for name in made.sets)
        self.folders = made.takes
        yield from made.lines()
        self.arrays = made.arrays

    # ---- parameters and phases -----------------------------------------------------------------

    @property
    def first_key(self) -> ProgramKey | None:
        """The program of first values."""
        plan = self.plan
        keys = map(ProgramKind.INIT.of, (plan.dtype, "float64", "float32"))
        return next((k for k in keys if plan.params and k in plan.programs), None)

    def parameters(self) -> Iterator[str]:
        plan = self.plan
        yield header("parameters")
        key = self.first_key
        if key is None:
            yield "\ndef parameters(seed=0):"
            yield '    """There are none."""'
            yield "    return {}"
            return
        list(self.programs([key]))  # it stands in the function below
        lines = self.made[str(key)].text.split("\n")
        whole = wholes_of(plan.programs[key], self.parts)
        yield f"\ndef parameters(seed=0, update=0{', data=None' * bool(whole)}):"
        yield lines[1]
        if whole:
            yield "    data = data or examples(seed)"
            yield from broken(f"    whole = {{{', '.join(whole)}}}")
        back = next(i for i, line in enumerate(lines) if line.startswith("    return "))
        yield from lines[2:back]
        yield "    param = " + lines[back].removeprefix("    return ")
        yield from lines[back + 1 :]
        for path, spec in plan.params.items():
            if spec.joins is not None and path in self.moved:
                array = np.asarray(spec.joins)
                yield from table_of("live", array.astype(bool), "np.bool_")
                more = len(spec.shape) - array.ndim
                index = f"[..., {', '.join(['None'] * more)}]" if more else ""
                named = f'param["{path}"]'
                yield from broken(f"    {named} = np.where(live{index}, {named}, 0.0)")
        yield f"    return {{k: np.array(array, np.{self.dtype}) for k, array in param.items()}}"

    def phase(self, phase: PhaseSpec) -> Iterator[str]:
        yield header(phase.name)
        yield from self.programs(keys_of(self.plan, phase))
        yield "\n"
        text = PhaseText(self.plan, phase, self.made, self.parts, self.plain)
        text.keeps = self.probes is not None and phase.name in self.probes.phases
        yield from text.lines()

    def tasks(self) -> Iterator[str]:
        """What is emitted once all is trained."""
        if self.task_keys:
            yield header("tasks")
            yield from self.programs(self.task_keys)
            phases = [p.name for p in self.phases]
            yield from TaskText(self.plan, phases, self.made, self.parts).lines()

    # ---- the rest ------------------------------------------------------------------------------

    def main(self) -> Iterator[str]:
        """The function that trains, and what is expected of it."""
        if self.probes is not None and (self.probes.made or self.probes.sides):
            yield header("what checks ask")
            yield from self.probes.functions()
        yield header("all of it")
        yield '\n@np.errstate(over="raise", divide="raise", invalid="raise")'
        yield f"def train(seed=0, epochs=None, limit=None{self.folders}):"
        yield '    """Train all phases: the parameters, and all reports by phase and watch."""'
        more = self.folders.partition("=")[0]
        key = self.first_key
        if key is not None and whole_keys(self.plan.programs[key]):
            yield f"    data, told = examples(seed, limit{more}), {{}}"
            yield "    param = parameters(seed, 0, data)"
        else:
            yield f"    param, data, told = parameters(seed), examples(seed, limit{more}), {{}}"
        for phase in self.phases:
            yield f"    train_{ident(phase.name)}(param, data, told, seed, epochs)"
        yield "    return param, told"

    def run(self) -> Iterator[str]:
        """What is done where the file is called."""
        constants = [f"{k} = {v}".replace("\n", " ") for k, v in self.plan.constants.items()]
        listed = ascii_text(", ".join(remark(c, 60) for c in constants))
        rows = packed(listed.split(), "", 82) or [""]
        yield '\nif __name__ == "__main__":'
        for i, row in enumerate(rows):
            lead, after = "    constants = " if not i else " " * 16, i + 1 < len(rows)
            yield lead + dumps(row + " " * after) + " \\" * after
        wide = self.wide
        columns = f"\n{'phase'.ljust(wide)}  epochs    updates  seconds  watched"
        handed = "given" in self.folders
        options = OPTIONS if self.folders else OPTIONS.replace(FOLDER, "")
        options = options.replace(FOLDER, HANDED) if handed else options
        names = [t.name for t in tasks_of(self.plan, [p.name for p in self.phases])]
        for option in options.split("\n"):
            if names and "given =" in option:
                yield from broken(
                    f'    say.add_argument("--task", choices={names!r}, help="do one alone")'
                )
            yield option
        said = f"{dumps(ascii_text(self.says))}, {dumps(columns)}"
        yield from broken(f'    print({said}, sep="\\n")')
        more = f", {'sets_of(given.data)' if handed else 'given.data'}" if self.folders else ""
        call = f"    param, told = train(given.seed, given.epochs, given.limit{more})"
        if self.folders:
            said = "{e.filename}: {e.strerror}; --data says where it is"
            yield f"    try: {call.lstrip()}"
            yield f'    except OSError as e: say.exit(2, f"{said}\\n")'
        else:
            yield call
        yield "    if given.save: np.savez(given.save, **param)"
        if names:
            yield f"    tasks(param, told, given.seed, given.task{', given.limit' + more})"
        yield from self.checked()

    @cached_property
    def probes(self) -> ProbeText | None:
        """What checks ask that is no report."""
        phases = [p.name for p in self.phases]
        return None if self.model is None else ProbeText(self.model, phases, self.own)

    def checked(self) -> Iterator[str]:
        """What tests what the spec expects."""
        if self.probes is not None and any(check.expects for check in self.probes.model.checks):
            phases = [p.name for p in self.phases]
            yield "    cut = (given.epochs, given.limit) != (None, None)"
            yield from self.probes.lines()
            yield from check_lines(self.probes.model.checks, phases, self.probes.side)

    def helpers(self, body: str) -> Iterator[str]:
        """What is called, and what that calls."""
        yield header("what the above needs")
        drawn = any(self.plan.data[name].drawn for name, _, _ in self.parts)
        yield from helpers(body, self.wide, drawn)

    @property
    def wide(self) -> int:
        """The room that names of phases take."""
        return max([5, *(len(p.name) for p in self.phases)])


KEYED = ("data", "init", "states", "start", "estimate", "apply", "task", "shard", "join",
         "tally", "made")  # fmt: skip
"""The kinds of programs whose functions give what they leave by its keys."""

LOADED = '''
def parameters(file=Path(__file__).with_suffix(".npz")):
    """The parameters of a file, by path."""
    with np.load(file) as held:
        return {path: held[path] for path in held.files}'''

FOLDER = """
    say.add_argument("--data", type=Path, default=DATA, help="where the files of the data are")"""

HANDED = """
    say.add_argument("--data", metavar="SET=FILE.npz", action="append", default=[],
                     help="the arrays that a data set is given")"""

OPTIONS = """\
    say = argparse.ArgumentParser(epilog=f"Constants, as this was written: {constants}")
    say.add_argument("--seed", type=int, default=0, help="decides all that is random")
    say.add_argument("--epochs", type=int, help="train each phase for so many epochs")
    say.add_argument("--limit", type=int, help="use so many examples of each part")
    say.add_argument("--data", type=Path, default=DATA, help="where the files of the data are")
    say.add_argument("--save", help="write the parameters to this .npz file")
    given = say.parse_args()"""


def page(
    plan: Plan,
    phases: Iterable[PhaseSpec],
    text: str,
    path: str,
    model: Model | None = None,
    says: str = "",
) -> tuple[str, dict[str, NDArray[Any]]]:
    """The text of a file that trains some phases of a plan, and the arrays that lie beside it.
    Raises `DlnError` E586 for what cannot stand alone."""
    made = Page(plan, list(phases), text, path, model=model, says=says)
    return made.written(), made.arrays


def inference_page(plan: Plan, text: str, path: str) -> str:
    """The text of a file that applies the instances of a plan. Raises `DlnError` E586, E587."""
    return Page(plan, [], text, path).inference()
