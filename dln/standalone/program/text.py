"""A program of a plan as a function of Python that reads like a handout.

It takes the examples, the parameters and states that it moves, and what it draws from; it gives
what the program leaves. `v0` has the name of its parameter, field or value.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from json import dumps
from typing import Any

import numpy as np

from dln.compiler.plan import Buffer, Line, Program
from dln.runtime.device.kernels import KERNELS
from dln.runtime.execution.sandbox import NAMES
from dln.standalone.program.joining import Joiner, in_place
from dln.standalone.program.layout import broken, packed, remark, within
from dln.standalone.program.operations import Act, ProgramReader
from dln.standalone.program.rolling import rolled
from dln.standalone.program.terms import call, method, name, named, parsed, replaced, text
from dln.standalone.program.versions import Versions, needed

TAKEN = {"n", "seed", "param", "state", "whole", "np", "math", "k", "looked", "epoch",
         "update", "progress", "windows", "gemm", *keyword.kwlist, *NAMES, *KERNELS}  # fmt: skip
WORD = re.compile(r"[A-Za-z_][\w.]*(\[\d+\][\w.]*)*")
DULL = {"rows", "carried", "fixed", "batch", "scan"}
"""What formulas call what nobody has named."""
OWN = re.compile(r"[tk]\d+")


def ident(path: str) -> str:
    """A path as a name of Python.

    >>> ident("net.cells[0].W"), ident("sse.sgd.v:net.h.W")
    ('net_cells_0_W', 'sse_sgd_v_net_h_W')
    """
    name = re.sub(r"\W+", "_", path, flags=re.ASCII).strip("_") or "raw"
    return f"_{name}" if name[0].isdigit() else name


def short(buffer: Buffer) -> str:
    """What an array is called after: its path, its field, or the value."""
    key = buffer.key
    if buffer.place == "input" and key.startswith("raw:"):
        return key.rpartition(".")[2] or "raw"
    if buffer.place == "state":
        owner, colon, path = key.partition(":")
        return f"{owner.rpartition('.')[2]}_{path}" if colon else key.partition(".")[2] or key
    return key.removeprefix("watch:")


@dataclass(frozen=True)
class WrittenProgram:
    """A function of the file: its name and text, what it asks for, each as its kind and key, and
    the keys of what it gives; one value is given as it is, several by their keys."""

    name: str
    text: str
    asks: tuple[tuple[str, object], ...]
    gives: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()

    def call(self, some: str = "some", clocks: Mapping[Any, str] | None = None, **more: str) -> str:
        """A call of it, with the examples of a name, or of a form with a place for a field; `more`
        is what stands for param, state, n."""
        given, form = [], some if "{}" in some else f"{some}[{{}}]"
        for kind, key in self.asks:
            if kind == "input":
                given.append(more.get(str(key)) or form.format(dumps(str(key))))
            else:
                given.append((clocks or {})[key] if kind == "clock" else more.get(kind, kind))
        return f"{self.name}({', '.join(given)})"


@dataclass
class FunctionText:
    """A program on its way to text."""

    program: Program
    own: str
    texts: Mapping[str, str]
    names: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    count: int = 0

    def __post_init__(self) -> None:
        loops = any(line.code.lstrip().startswith("for ") for line in self.program.lines)
        self.taken = TAKEN | {"t"} if loops else TAKEN
        self.taken = self.taken | {c for c in self.program.clocks if isinstance(c, str)}
        self.takes: list[Buffer] = []
        self.constants: list[Buffer] = []

    def written(
        self, called: str, said: str, wanted: Collection[str] | None, always: bool,
        rounded: Collection[str] = (),
    ) -> WrittenProgram:  # fmt: skip
        """The function, which gives the values of some keys, of all if none are said; `always` by
        their keys."""
        program, reader = self.program, ProgramReader.of(self.program)
        values = [b for b in program.values if wanted is None or b.key in wanted]
        made = Versions(reader.ops, reader.layouts)
        now = {b.key: made.now.get(b.name, b.name) for b in values}
        ops = needed(made.made, now.values())
        self.constants = [b for b in program.buffers if b.name in reader.arrays]
        self.call_found(ops, now)
        spoken = {v: w for v, w in self.spoken(made.made).items() if v not in self.names}
        result = given(now, always, rounded)
        ops, result = Joiner(ops, reader.layouts, result, made.changed, spoken).join()
        self.rest(ops, spoken, result)
        rows = [*self.fixed(ops, result, reader), *self.body(ops)]
        back = self.back(result)
        reads = {w for op in ops for w in op.reads()} | set(named(result))
        head = f"def {called}({', '.join(self.signature(reads, [*rows, back]))}):"
        out = [*broken(head), f'    """{said}"""', *self.kinds(), *self.sized(rows, back)]
        out += self.found(reads)
        out += rows
        if now:
            out += back.split("\n")
        elif not rows:
            out += ["    return None"]
        asks = self.asked(reads, [*rows, back])
        wholes = tuple(b.key for b in self.takes if b.place == "whole")
        inputs = tuple(self.names[b.name] for b in self.takes if b.place == "input")
        return WrittenProgram(called, "\n".join(out), tuple(asks), tuple(now), inputs, wholes)

    # ---- names ---------------------------------------------------------------------------------

    def called(self, key: str, word: str) -> None:
        """A name for an array or a value that nothing else has."""
        while word in self.used or word in self.taken or OWN.fullmatch(word):
            word += "_"
        self.used.add(word)
        self.names[key] = word

    def call_found(self, ops: list[Act], now: Mapping[str, str]) -> None:
        """Names for what is found; and for constants."""
        read = {w for op in ops for w in [*op.reads(), op.target]} | set(now.values())
        for place in ("input", "param", "state", "whole"):
            for b in self.program.buffers:
                if b.place == place and b.name in read:
                    self.takes.append(b)
                    self.called(b.name, ident(short(b)))
        for i, c in enumerate(self.program.clocks):
            if not isinstance(c, str):
                self.called(f"c{i}", ident(c.spoken))

    def spoken(self, ops: list[Act]) -> dict[str, str]:
        """What the spec calls values, as those say that read them."""
        found = dict[str, str]()
        last = dict[str, str]()
        for op in ops:
            line = op.line
            if len(line.reads) == len(line.operands):
                for buffer, said in zip(line.reads, line.operands, strict=True):
                    value = last.get(buffer)
                    if value and WORD.fullmatch(said) and said not in DULL and "." in said:
                        found.setdefault(value, ident(said))
            if op.kind == "value":
                last[op.target.partition("@")[0]] = op.target
        return found

    def rest(self, ops: list[Act], spoken: Mapping[str, str], result: ast.expr) -> None:
        """Names for all that is left."""
        for b in self.constants:
            if b.name in named(result) or any(b.name in op.reads() for op in ops):
                self.called(b.name, f"table{len(self.names)}")
        for op in ops:
            if op.kind == "value" and op.target not in self.names:
                if op.target in spoken:
                    self.called(op.target, spoken[op.target])
                else:
                    self.count += 1
                    self.names[op.target] = f"{'k' if op.weak else 't'}{self.count}"

    def plain(self, tree: ast.expr) -> str:
        """A tree in the names of the file."""
        instead = {w: name(self.names[w]) for w in named(tree) if w in self.names}
        return re.sub(r"'([^'\"\\]*)'", r'"\1"', text(replaced(tree, instead)))

    def back(self, result: ast.expr) -> str:
        """What is given back, each value on a line of its own where they do not fit into one."""
        if not isinstance(result, ast.Dict) or len(self.plain(result)) < 85:
            return "\n".join(broken(f"    return {self.plain(result)}"))
        pairs = zip(result.keys, result.values, strict=True)
        rows = [
            f"        {dumps(k.value)}: {self.plain(v)}"
            for k, v in pairs
            if isinstance(k, ast.Constant)
        ]
        lines = [x for row in rows for r in broken(f"{row},") for x in within(r)]
        return "\n".join(["    return {", *lines[:-1], f"{lines[-1][:-1]}}}"])

    # ---- text ----------------------------------------------------------------------------------

    def asked(self, reads: Collection[str], rows: list[str]) -> list[tuple[str, object]]:
        """What is asked for: arrays that are found, examples, where draws come from."""
        places = {b.place for b in self.takes}
        asked: list[tuple[str, object]] = [
            (p, "") for p in ("param", "state", "whole") if p in places
        ]
        for b in self.takes:
            if b.place == "input":
                key = short(b) if b.key.startswith("raw:") else b.key
                asked.append(("input", key))
        asked += [("n", "")] * (self.counts(rows) and self.counted is None)
        asked += [("seed", "")] * ("seed" in reads)
        return asked + [("clock", c) for c in self.clocks(reads)]

    def signature(self, reads: Collection[str], rows: list[str]) -> list[str]:
        """The names of what is asked for."""
        inputs = iter(self.names[b.name] for b in self.takes if b.place == "input")
        clocks = [c if isinstance(c, str) else self.names[f"c{i}"]
                  for i, c in enumerate(self.program.clocks)]  # fmt: skip
        said = dict[object, str](zip(self.program.clocks, clocks, strict=True))
        return [next(inputs) if kind == "input" else said[key] if kind == "clock" else kind
                for kind, key in self.asked(reads, rows)]  # fmt: skip

    @property
    def counted(self) -> Buffer | None:
        """An array whose rows are the examples."""
        mine = (b for b in self.takes if b.place == "input" and b.shape)
        return next((b for b in mine if tuple(b.shape[0][:2]) == (0, 1)), None)

    def counts(self, rows: list[str]) -> bool:
        """Whether the number of examples is asked for."""
        return any(re.search(r"\bn\b", row.partition("#")[0]) for row in rows) or any(
            b.shape and b.shape[0][1] for b in self.takes if b.place in ("state", "param")
        )

    def clocks(self, reads: Collection[str]) -> list[object]:
        """The clocks that are looked at."""
        return [c for i, c in enumerate(self.program.clocks)
                if (c if isinstance(c, str) else f"c{i}") in reads]  # fmt: skip

    def found(self, reads: Collection[str]) -> Iterator[str]:
        """Parameters and states by their names."""
        rows = []
        for b in self.takes:
            if b.place != "input":
                cut = "[:n]" if b.shape and b.shape[0][1] and b.place != "whole" else ""
                rows.append(f'{self.names[b.name]} = {b.place}["{b.key}"]{cut};')
        yield from (row.rstrip(";") for row in packed(rows, "    "))

    def kinds(self) -> Iterator[str]:
        """What a file holds, in the types that the program computes with."""
        raw = [b for b in self.takes if b.place == "input" and b.key.startswith("raw:")]
        if raw:
            names = ", ".join(self.names[b.name] for b in raw)
            kinds = ["int" if b.kind == "index" else "float" for b in raw]
            made = ", ".join(
                f"{self.names[b.name]}.astype({k})" for b, k in zip(raw, kinds, strict=True)
            )
            yield from broken(f"    {names} = {made}")

    def sized(self, rows: list[str], back: str) -> Iterator[str]:
        """The number of examples, where it is asked for."""
        if self.counts([*rows, back]) and self.counted is not None:
            yield f"    n = len({self.names[self.counted.name]})"

    def fixed(self, ops: list[Act], result: ast.expr, reader: ProgramReader) -> Iterator[str]:
        """Arrays of numbers that stand in the file."""
        dtype = self.program.dtype
        for b in self.constants:
            if b.name in self.names:
                kind = {"index": "np.int64", "bool": "np.bool_"}.get(b.kind, f"np.{dtype}")
                yield from table_of(self.names[b.name], reader.arrays[b.name], kind)

    def body(self, ops: list[Act]) -> list[str]:
        """The statements; beside the first of each line of the spec that line."""
        rows, before = list[tuple[str, str]](), ""
        for op in ops:
            code, where = "    " * (op.depth + 1) + self.statement(op), self.where(op.line)
            rows.append((code, where if where != before else ""))
            before = where or before
        return [row for code, where in rolled(rows) for row in beside(code, where)]

    def statement(self, op: Act) -> str:
        """An operation as a statement."""
        if op.kind == "loop":
            return f"for t in {self.plain(op.expr)}:"
        if op.kind == "value":
            return f"{self.names[op.target]} = {self.plain(op.expr)}"
        if op.kind == "do" or op.place is None:
            return self.plain(op.expr)
        sign = in_place(op)
        if sign is not None and isinstance(op.expr, ast.BinOp):
            return f"{self.plain(op.place)} {sign}= {self.plain(op.expr.right)}"
        whole = "[...]" if not isinstance(op.place, ast.Subscript) else ""
        return f"{self.plain(op.place)}{whole} = {self.plain(op.expr)}"

    def where(self, line: Line) -> str:
        """The line of the spec, and what it says."""
        if line.place is None:
            return ""
        file = line.place.path.rsplit("/", 1)[-1]
        lines = self.texts.get(line.place.path, "").split("\n")
        said = lines[line.place.line - 1].strip() if line.place.line <= len(lines) else ""
        said = re.sub(r"[^ -~]+", "?", said.partition("  #")[0]).strip()
        spot = str(line.place.line) if file == self.own else f"{file}:{line.place.line}"
        return f"{spot}: {said}"


def given(now: Mapping[str, str], always: bool, rounded: Collection[str]) -> ast.expr:
    """What a function gives back: a value, or several by their keys."""
    if len(now) == 1 and not always:
        return name(next(iter(now.values())))
    values: list[ast.expr] = [name(v) for v in now.values()]
    for i, key in enumerate(now):
        if key in rounded:
            values[i] = method(call("np.rint", values[i]), "astype", parsed("np.int64"))
    return ast.Dict([ast.Constant(k) for k in now], values)


def beside(code: str, said: str, at: int = 60, width: int = 100) -> list[str]:
    """A statement with a comment behind it, where there is room."""
    rows = broken(code, width)
    room = width - max(at, len(rows[0]) + 2) - 2
    if said and room >= min(len(said), 16):
        rows[0] = f"{rows[0].ljust(at - 2)}  # {remark(said, room)}"
    elif said:
        lead = code[: len(code) - len(code.lstrip())]
        rows = [f"{lead}# {remark(said, width - len(lead) - 2)}", *rows]
    return rows


def table_of(called: str, value: object, kind: str) -> list[str]:
    """An array as text: one of two numbers as marks."""
    array = np.array(value)
    found = np.unique(array)
    if len(found) == 2 and array.size > 12:
        marks = array.reshape(-1, array.shape[-1]) == found[1]
        rows = " ".join("".join("X" if m else "." for m in row) for row in marks)
        low, high = found.tolist()
        shape = f".reshape({', '.join(map(str, array.shape))})" if array.ndim != 2 else ""
        return marks_text(called, rows, kind, low, high, shape)
    value = value.tolist() if isinstance(value, np.ndarray) else value
    text = repr(value).replace("inf", "np.inf").replace("nan", "np.nan")
    return broken(f"    {called} = np.array({text}, {kind})")


def marks_text(
    called: str, rows: str, kind: str, low: object, high: object, shape: str
) -> list[str]:
    """The call that makes an array of marks."""
    pieces = [f"        {dumps(piece)}" for piece in cut(rows, 88)]
    pieces[-1] += f", {low}, {high}, {kind}){shape}"
    return [f"    {called} = marks(", *pieces]


def cut(text: str, size: int) -> Iterator[str]:
    """A text in pieces."""
    for i in range(0, len(text), size):
        yield text[i : i + size]


def function_text(
    program: Program, called: str, said: str, own: str, texts: Mapping[str, str],
    wanted: Collection[str] | None = None, always: bool = False, rounded: Collection[str] = (),
) -> WrittenProgram:  # fmt: skip
    """A program as a function of a name, which says something of itself; `own` is the file of the
    spec, `wanted` the keys of the values that are given back, `always` by their keys, some of them
    `rounded` to whole numbers."""
    return FunctionText(program, own, texts).written(called, said, wanted, always, rounded)


def table(names: Mapping[str, str]) -> str:
    """A dictionary as text, of names that stand for themselves."""
    return "{" + ", ".join(f"{dumps(key)}: {name}" for key, name in names.items()) + "}"
