"""A program of a plan as a function of Python that says what its arrays hold.

`v0` has the name of its parameter, field or value, views are written where they are used, numbers
stand where they are read. The function allocates what the program needs for n examples and gives
`run`, the inputs to be filled in, and the values that a run leaves.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from json import dumps

import numpy as np

from dln.compiler.plan import Buffer, Extent, Line, Program
from dln.runtime.device.kernels import KERNELS
from dln.runtime.execution.sandbox import NAMES
from dln.standalone.layout import broken, commented, packed

KINDS = {"index": "np.int64", "bool": "np.bool_"}
TAKEN = {"n", "seed", "param", "state", "whole", "np", "math", "run", "t", "i", "looked", "epoch",
         "update", "progress", *keyword.kwlist, *NAMES, *KERNELS}  # fmt: skip
OWN = re.compile(r"(?:[a-z]|gemm|add_rows|const)\d+")
"""What programs, and this, call what nobody has named."""
VIEW = re.compile(r"(w\d+) = ([vw]\d+(?:\.T|\[[:, None.]+\]|\.reshape\(-1\)))")
FLAT = re.compile(r"(\w+)\.reshape\(\(\1\.shape\[0\](?: \* \1\.shape\[\d\])*,\)\)")
FILL = re.compile(r"(v\d+)\.fill\((.*)\)")


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
    return key.removeprefix("watch:")


def extent(e: Extent) -> str:
    """A size as text."""
    a, b = e[0], e[1] if len(e) > 1 else 0
    grown = "n" if b == 1 else f"{b} * n"
    return str(a) if not b else f"{grown} + {a}" if a else grown


def shape(buffer: Buffer) -> str:
    """The shape of an array as text."""
    sizes = [extent(e) for e in buffer.shape]
    return sizes[0] if len(sizes) == 1 else f"({', '.join(sizes)})"


@dataclass
class Writing:
    """A program on its way to text: what each name of the program is in the file."""

    program: Program
    own: str
    names: dict[str, str] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    @property
    def real(self) -> str:
        return f"np.{self.program.dtype}"

    def dtype(self, buffer: Buffer) -> str:
        return KINDS.get(buffer.kind, self.real)

    def called(self, buffer: Buffer, name: str) -> str:
        """A name for an array that nothing else has."""
        while name in self.used or name in TAKEN or (buffer.key and OWN.fullmatch(name)):
            name += "_"
        self.used.add(name)
        self.names[buffer.name] = name
        return name

    def plain(self, code: str) -> str:
        """A statement in the names of the file."""

        def renamed(match: re.Match[str]) -> str:
            word, opens = match[1], match[2]
            if opens and word in self.functions:
                return f"np.{self.functions[word]}{opens}"
            return self.names.get(word, word) + opens

        code = re.sub(
            r"(?<![\w.])([A-Za-z_]\w*)\b(\(?)", renamed, FLAT.sub(r"\1.reshape(-1)", code)
        )
        return re.sub(r"\bxp\.", "np.", code)

    def said(self, line: Line) -> str:
        """What is remarked beside a statement: the line of the spec, and its formula."""
        if line.place is None:
            return line.formula
        file = line.place.path.rsplit("/", 1)[-1]
        where = str(line.place.line) if file == self.own else f"{file}:{line.place.line}"
        return re.sub(r"[^ -~]+", "?", f"{where}  {line.formula}").strip()


def function_text(program: Program, name: str, said: str, own: str) -> str:
    """The text of a program as a function of a name, which says something of itself; `own` is the
    file of the spec."""
    bare = re.findall(r"^    (\w+) = xp\.([\w.]+)$", program.text, re.MULTILINE)
    w = Writing(program, own, functions={a: b for a, b in bare})
    head = arrays(w)
    for line in program.setup:
        code = FLAT.sub(r"\1.reshape(-1)", line.code)
        if (view := VIEW.fullmatch(code)) is not None:
            w.names[view[1]] = w.plain(view[2])
        elif (filled := FILL.fullmatch(code)) is not None and place(program, filled[1]) == "scalar":
            head += commented(
                f"    {w.names[filled[1]]} = {w.real}({w.plain(filled[2])})", w.said(line)
            )
        else:
            head += commented(f"    {w.plain(code)}", w.said(line))
    asked = ", ".join(c if isinstance(c, str) else f"c{i}" for i, c in enumerate(program.clocks))
    body = [row for ln in program.lines
            for row in commented(f"        {w.plain(ln.code)}", w.said(ln))]  # fmt: skip
    given = {short(b): w.names[b.name] for b in program.inputs}
    left = {b.key: w.names[b.name] for b in program.values}
    text = [f"def {name}(n, seed, param, state={{}}, whole={{}}):", f'    """{said}"""', *head, ""]
    text += [f"    def run({asked}):", *(body or ["        pass"]), ""]
    text += broken(f"    return run, {table(given)}, {table(left)}")
    return "\n".join(text)


def table(names: Mapping[str, str]) -> str:
    """A dictionary as text, of names that stand for themselves."""
    return "{" + ", ".join(f"{dumps(key)}: {name}" for key, name in names.items()) + "}"


def place(program: Program, name: str) -> str:
    """What kind of array a name stands for."""
    return next((b.place for b in program.buffers if b.name == name), "")


def arrays(w: Writing) -> list[str]:
    """The arrays of a program: looked up, or made."""
    held, made, rows = list[str](), list[str](), list[str]()
    at_setup = {m[1] for line in w.program.setup if (m := FILL.fullmatch(line.code))}
    count = 0
    for b in w.program.buffers:
        if b.place in ("param", "state", "whole"):
            cut = "[:n]" if b.shape and b.shape[0][1] else ""
            held.append(f'{w.called(b, ident(b.key))} = {b.place}["{b.key}"]{cut};')
        elif b.place == "const":
            rows += constant(w, b)
        elif b.place == "scalar" and b.name in at_setup:
            w.called(b, f"k{len(w.names)}")
        else:
            count += b.place == "arena"
            name = w.called(b, ident(short(b)) if b.key else f"t{count}")
            made.append(f"{name} = np.empty({shape(b)}, {w.dtype(b)});")
    return [row.rstrip(";") for row in (*packed(held, "    "), *packed(made, "    "))] + rows


def constant(w: Writing, b: Buffer) -> list[str]:
    """A number stands where it is read, if the precision has it exactly; what it has not, and
    arrays, have a name."""
    value = w.program.constants[b.name]
    if not b.shape and b.kind == "real" and isinstance(value, int | float):
        near = float(np.dtype(w.program.dtype).type(value))
        if near == value and abs(near) < np.inf:
            w.names[b.name] = repr(value)
            return []
    name = w.called(b, f"const{len(w.names)}")
    text = repr(value).replace("inf", "np.inf").replace("nan", "np.nan")
    return broken(f"    {name} = np.array({text}, {w.dtype(b)})")
