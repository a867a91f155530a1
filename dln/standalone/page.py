"""The file: the spec as comments, its data, parameters and phases, what it needs, and `main`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.model import Checking
from dln.compiler.plan import DataSpec, PhaseSpec, Plan, Program, ProgramKind, RawInput
from dln.runtime.device.kernels import KERNELS
from dln.runtime.readers import files, readers
from dln.runtime.readers.tables import in_place
from dln.standalone.check_text import ascii_text, check_lines
from dln.standalone.cutting import function
from dln.standalone.layout import broken, packed, remark
from dln.standalone.program_text import function_text, ident, table
from dln.standalone.refusing import refuse, refuse_applied
from dln.standalone.training_text import PhaseText, keys_of

RULE = "-" * 87
FEW = 200
"""Numbers that stand in the file itself."""

SOURCES = {
    **dict.fromkeys(KERNELS, "runtime/device/kernels.py"),
    **dict.fromkeys(("idx", "fields", "drawn", "gather", "cast", "over", "report", "finished",
                     "expect", "estimate"), "standalone/pieces.py"),
    **dict.fromkeys(("WORD", "words", "unit", "permutation", "replacement", "stream", "balanced",
                     "even"), "runtime/readers/sampling_order.py"),
    "class_weights": "runtime/execution/programs.py",
    **dict.fromkeys(("blas_function", "gemm", "add_rows", "lying", "fits", "call"),
                    "runtime/device/openblas.py"),
}  # fmt: skip
"""Where in the package what a file may need stands."""

IMPORTS = {
    "argparse": "import argparse", "ctypes.": "import ctypes", "gzip.": "import gzip",
    "math.": "import math", "time.": "import time", "suppress": "from contextlib import suppress",
    "@cache": "from functools import cache, partial",
    "import_module": "from importlib import import_module", "Path(": "from pathlib import Path",
}  # fmt: skip


@dataclass
class Page:
    """A file in the making: what its programs are called, what it needs beside."""

    plan: Plan
    phases: list[PhaseSpec]
    text: str
    path: str
    names: dict[str, str] = field(default_factory=dict)
    alike: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    checks: Sequence[Checking] = ()
    folders: str = ""
    base: str = ""

    def written(self) -> str:
        """All of it. Raises `DlnError` E586 for what cannot stand alone."""
        refuse(self.plan, self.phases)
        parts = [*self.data(), *self.parameters()]
        for phase in self.phases:
            parts += self.phase(phase)
        parts += self.main()
        parts += self.helpers("\n".join(parts))
        body = "\n".join(parts)
        head = [*self.head(), *self.imports(body)]
        return re.sub(r"\n{4,}", "\n\n\n", "\n".join([*head, *parts])).rstrip() + CALL

    def inference(self) -> str:
        """What applies the instances, and nothing else. Raises `DlnError` E586, E587 where there is
        none."""
        plan = self.plan
        refuse_applied(plan)
        parts = [header("networks")]
        for name, applied in plan.applied.items():
            program = plan.programs[applied.program]
            parts += self.programs([applied.program])
            ports = [f.name for f in applied.ports]
            parts += [f"\n\ndef apply_{ident(name)}(param, {', '.join(map(ident, ports))}):"]
            parts += [f'    """{name} on examples, which are the first axis of all arrays."""']
            call = f"{self.names[str(applied.program)]}(len({ident(ports[0])}), 0, "
            parts += [f"    run, into, left = {call}cast(param, np.{program.dtype}))"]
            parts += [f"    into[{dumps(p)}][...] = {ident(p)}" for p in ports]
            parts += [f"    run({', '.join('0.0' for _ in program.clocks)})"]
            values = ", ".join(f"left[{dumps(r)}]" for r in applied.results)
            parts += [f"    return {values}"]
        parts += [header("parameters"), LOADED]
        parts += self.helpers("\n".join(parts))
        body = "\n".join(parts)
        head = [*self.head("it applies the networks"), *self.imports(body)]
        return re.sub(r"\n{4,}", "\n\n\n", "\n".join([*head, *parts])).rstrip() + "\n"

    @property
    def own(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    def head(self, does: str = "python FILE trains, --help says more") -> Iterator[str]:
        """What it is, and the spec."""
        own = remark(ascii_text(self.own), 40)
        yield f"# Written by dln from {own}, which follows. It needs NumPy"
        yield f"# alone: {does}. Beside a statement is its line."
        yield "#"
        for i, line in enumerate(self.text.rstrip().split("\n"), 1):
            yield from spec_line(i, line)
        yield ""

    def imports(self, body: str) -> Iterator[str]:
        asked = {line for word, line in IMPORTS.items() if word in body}
        plain = sorted(line.removeprefix("import ") for line in asked if line.startswith("import"))
        yield f"import {', '.join([*plain, 'os'])}"
        yield from sorted(line for line in asked if line.startswith("from"))
        yield ""
        yield 'os.environ["OPENBLAS_NUM_THREADS"] = "1"  # sums in one order, so the same bits'
        yield "import numpy as np"

    # ---- programs ------------------------------------------------------------------------------

    def programs(self, keys: Iterable[object]) -> Iterator[str]:
        """Programs that are not there yet, as functions; of two that read alike there is one."""
        for key in map(str, keys):
            if key in self.names:
                continue
            program = self.plan.programs[key]
            name = named(key)
            while name in self.names.values():
                name += "_"
            text = function_text(program, name, said(program, key), self.own)
            body = re.sub(r"  #.*", "", text.split("\n", 2)[2])
            if body in self.alike:
                self.names[key] = self.alike[body]
                continue
            self.names[key] = self.alike[body] = name
            yield f"\n\n{text}"

    # ---- data ----------------------------------------------------------------------------------

    @property
    def parts(self) -> dict[tuple[str, str, str], str]:
        """The parts of data that are used, in which precision, and what each is called."""
        found: dict[tuple[str, str, str], str] = {}
        for phase in self.phases:
            asked = [(phase.on, self.plan.programs[phase.step].dtype)]
            for w in phase.watches:
                if w.on is not None and w.program is not None:
                    asked.append((w.on, self.plan.programs[w.program].dtype))
            for on, dtype in asked:
                taken = on.spoken in found.values() and (on.data, on.part, dtype) not in found
                name = f"{on.spoken} in {dtype}" if taken else on.spoken
                found.setdefault((on.data, on.part, dtype), name)
        return found

    def data(self) -> Iterator[str]:
        """What reads the data, and makes their fields."""
        sets = {name: self.plan.data[name] for name, _, _ in self.parts}
        yield header("data")
        folder = self.base = self.folder(sets.values())
        if folder:
            yield f"\nDATA = Path({dumps(folder)})  # where the files of the data are"
        yield from self.programs(ProgramKind.DATA.of(name) for name in sets)
        self.folders = ", folder=DATA" if folder else ""
        yield f"\n\ndef examples(seed=0, limit=None{self.folders}):"
        yield '    """The parts of the data that are learned from or watched, field by field."""'
        read = {name: self.read(d) for name, d in sets.items()}
        if self.arrays:
            yield '    held = np.load(Path(__file__).with_suffix(".data.npz"))'
        for name, text in read.items():
            yield from broken(f"    {ident(name)}_raw = {text}")
        yield "    return {"
        for (name, part, dtype), called in self.parts.items():
            d = self.plan.data[name]
            start, count = d.stretch(part) or (0, 0)
            program = self.names[str(ProgramKind.DATA.of(name))]
            size = f"min({count}, limit or {count})"
            made = {b.key: b.kind for b in self.plan.programs[ProgramKind.DATA.of(name)].values}
            rint = [f.name for f in d.fields if f.kind == "index" and made[f.name] == "real"]
            args = f"{program}, {ident(name)}_raw, {start}, {size}"
            args += ", seed" if d.drawn else f", np.{dtype}"
            args += f", {rint!r}" if rint else ""
            yield from broken(f'        "{called}": {"drawn" if d.drawn else "fields"}({args}),')
        yield "    }"

    def folder(self, sets: Iterable[DataSpec]) -> str:
        """Where files are."""
        paths = [p for d in sets if d.reader == "idx" for p in files.files_of(d.source)]
        return str(paths[0].parent) if paths else ""

    def where(self, path: Path) -> str:
        """The call that reads an IDX file, of the folder of the first one or of another."""
        if str(path.parent) == self.base:
            return f"idx(folder / {dumps(path.name)})"
        return f"idx(Path({dumps(str(path))}))"

    def read(self, d: DataSpec) -> str:
        """The call that reads a data set."""
        if d.reader == "idx":
            names = [f.name for f in d.raw]
            paths = files.files_of(d.source)
            return table({n: self.where(p) for n, p in zip(names, paths, strict=True)})
        inputs = {b.key: b for b in self.plan.programs[ProgramKind.DATA.of(d.name)].inputs}
        found = {}
        for key, array in readers.read(d.source).items():
            asked = inputs.get(str(RawInput(d.name, key)))
            if asked is None:
                continue
            if array.shape[1:] != asked.shape_at(1)[1:]:
                array = in_place(array, d.columns, asked.shape_at(1)[1])
            if array.size <= FEW:
                found[key or "raw"] = f"np.array({array.tolist()!r})"
            else:
                place = f"{d.name}.{key or 'raw'}"
                self.arrays[place] = array
                found[key or "raw"] = f"held[{dumps(place)}]"
        return table(found)

    # ---- parameters and phases -----------------------------------------------------------------

    def parameters(self) -> Iterator[str]:
        plan = self.plan
        yield header("parameters")
        dtypes = (plan.dtype, "float64", "float32")
        keys = map(ProgramKind.INIT.of, dtypes)
        key = next((k for k in keys if plan.params and k in plan.programs), None)
        if key is None:
            yield "\n\ndef parameters(seed=0):"
            yield '    """There are none."""'
            yield "    return {}"
            return
        yield from self.programs([key])
        wide = any((p.dtype or plan.dtype) == "float64" for p in plan.phases.values())
        dtype = "float64" if wide else plan.dtype
        zeros = ", ".join("0.0" for _ in plan.programs[key].clocks)
        yield "\n\ndef parameters(seed=0):"
        yield '    """First values of all parameters, by path."""'
        yield f"    run, _, param = {self.names[str(key)]}(1, seed, {{}})"
        yield f"    run({zeros})"
        for path, spec in plan.params.items():
            if spec.joins is not None:
                array = np.asarray(spec.joins)
                yield from broken(f"    live = np.array({array.astype(int).tolist()!r})")
                more = len(spec.shape) - array.ndim
                index = f"[..., {', '.join(['None'] * more)}]" if more else ""
                named = f'param["{path}"]'
                yield from broken(f"    {named} = np.where(live{index} > 0, {named}, 0.0)")
        yield f"    return {{path: array.astype(np.{dtype}) for path, array in param.items()}}"

    def phase(self, phase: PhaseSpec) -> Iterator[str]:
        yield header(phase.name)
        yield from self.programs(keys_of(self.plan, phase))
        yield "\n"
        yield from PhaseText(self.plan, phase, self.names, self.parts).lines()

    # ---- the rest ------------------------------------------------------------------------------

    def main(self) -> Iterator[str]:
        yield header("all of it")
        yield '\n\n@np.errstate(over="raise", divide="raise", invalid="raise")'
        yield f"def train(seed=0, epochs=None, limit=None{self.folders}):"
        yield '    """Train all phases: the parameters, and all reports by phase and watch."""'
        more = ", folder" if self.folders else ""
        yield f"    param, data, told = parameters(seed), examples(seed, limit{more}), {{}}"
        for phase in self.phases:
            yield f"    train_{ident(phase.name)}(param, data, told, seed, epochs)"
        yield "    return param, told"
        yield "\n"
        constants = [remark(f"{k} = {v}", 60) for k, v in self.plan.constants.items()]
        said = ["constants, fixed when this was written (dln emit -D NAME=VALUE writes another):"]
        rows = packed([*said, *(f"{c}," for c in constants)], "    ", 90) if constants else []
        yield "CONSTANTS = (" + (")" if not rows else "")
        yield from (f"    {dumps(row.strip().rstrip(',') + ' ')}" for row in rows)
        if rows:
            yield ")"
        told = list(check_lines(self.checks, [p.name for p in self.phases]))
        yield from told
        text = MAIN + CHECKED if told else MAIN.replace("param, told =", "param, _ =")
        text = text if self.folders else text.replace(FOLDER, "").replace(", given.data", "")
        yield text

    def helpers(self, body: str) -> Iterator[str]:
        """What is called, and what that calls."""
        yield header("what the above needs, as in dln itself")
        wanted = {n for n in SOURCES if re.search(rf"(?<![\w.]){n}\(", body)}
        made: dict[str, str] = {}
        while wanted - made.keys():
            for name in sorted(wanted - made.keys()):
                made[name] = function(SOURCES[name], name)
                inside = re.compile(rf"(?<![\w.])({'|'.join(SOURCES)})\b")
                wanted |= {*inside.findall(made[name])}
        for name in SOURCES:
            if name in made:
                yield "\n\n" + made[name]


def header(text: str) -> str:
    """The line before a part."""
    return f"\n\n# ---- {text} {RULE[: 92 - len(text)]}"


def spec_line(number: int, line: str) -> Iterator[str]:
    """A line of the spec as a comment, on several where it is long."""
    rest = re.sub(r"[^\S ]", " ", line.rstrip())
    lead = f"# {number:3} | "
    while len(lead) + len(rest) > 100:
        cut = rest.rfind(" ", 0, 100 - len(lead))
        cut = cut if cut > 20 else 100 - len(lead)
        yield lead + rest[:cut]
        rest, lead = rest[cut:].lstrip(), "#     |     "
    yield (lead + rest).rstrip()


def named(key: str) -> str:
    """What the function of a program is called."""
    kind, _, name = key.partition(":")
    if kind == "data":
        return f"{ident(name)}_fields"
    if kind == "init":
        return "first_values"
    if kind == "watch":
        return f"watch_{ident(name)}"
    return f"{ident(name)}_{kind}"


def said(program: Program, key: str) -> str:
    """What a program says of itself."""
    kind, _, name = key.partition(":")
    return {
        "data": f"The fields of {name}, from what its files hold.",
        "init": "The first values of all parameters.",
        "step": f"An update of {name} on n examples.",
        "watch": f"What is watched as {name}, summed over n examples.",
        "states": f"What the states of {name} begin with.",
        "start": f"What is handed over when {name} begins.",
        "until": f"Whether {name} is over.",
    }.get(kind, key)


CHECKED = """
    if given.epochs is None and given.limit is None:
        checks(told)"""

LOADED = '''

def parameters(file=Path(__file__).with_suffix(".npz")):
    """The parameters of a file, by path."""
    with np.load(file) as held:
        return {path: held[path] for path in held.files}'''

FOLDER = """
    say.add_argument("--data", type=Path, default=DATA, help="where the files of the data are")"""

MAIN = '''

def main():
    """Train, as the command line says."""
    say = argparse.ArgumentParser(description=__doc__, epilog=CONSTANTS)
    say.add_argument("--seed", type=int, default=0, help="decides all that is random")
    say.add_argument("--epochs", type=int, help="train each phase for so many epochs")
    say.add_argument("--limit", type=int, help="use so many examples of each part")
    say.add_argument("--data", type=Path, default=DATA, help="where the files of the data are")
    say.add_argument("--save", help="write the parameters to this .npz file")
    given = say.parse_args()
    param, told = train(given.seed, given.epochs, given.limit, given.data)
    if given.save:
        np.savez(given.save, **param)'''

CALL = """


if __name__ == "__main__":
    main()
"""


def page(
    plan: Plan, phases: Iterable[PhaseSpec], text: str, path: str, checks: Sequence[Checking] = ()
) -> tuple[str, dict[str, NDArray[Any]]]:
    """The text of a file that trains some phases of a plan, and the arrays that lie beside it.
    Raises `DlnError` E586 for what cannot stand alone."""
    made = Page(plan, list(phases), text, path, checks=checks)
    return made.written(), made.arrays


def inference_page(plan: Plan, text: str, path: str) -> str:
    """The text of a file that applies the instances of a plan. Raises `DlnError` E586, E587."""
    return Page(plan, [], text, path).inference()
