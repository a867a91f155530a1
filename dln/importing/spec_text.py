"""The text of a spec for a graph that has been understood, and its weights by path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from dln.grammar.printer import expr_text
from dln.importing.body import BlockBody, BodyLine, BodyParam, Layer
from dln.importing.model import Array, FileModel, shown
from dln.importing.values import TIME, Shape, Value
from dln.importing.walking import Input, Understood

WIDTH = 100  # characters of a line


@dataclass
class Written:
    """A spec and what its parameters are in the file."""

    text: str
    weights: dict[str, Array]
    learnt: int


def spec_of(model: FileModel, found: Understood, target: Path) -> Written:
    """The spec, which `target` will hold; its weights lie beside that."""
    weights = {f"net.{path}": array for path, array in arrays(found.body)}
    fixed = {f"net.{p.name}" for p in found.body.params if p.fixed} | set(running(found.body))
    learnt = sum(a.size for path, a in weights.items() if path not in fixed)
    lines = [*head(model, found, target, learnt), *body(found), "let net = network()", ""]
    lines += [*check(model, found, learnt)]
    return Written("".join(f"{line}\n" for line in lines), weights, learnt)


def arrays(body: BlockBody) -> Iterator[tuple[str, Array]]:
    for p in body.params:
        yield p.name, p.array
    for line in body.lines:
        if isinstance(line.value, Layer):
            for name, array in line.value.weights.items():
                yield f"{renamed(line.value.name, body)}.{name}", array


def running(body: BlockBody) -> Iterator[str]:
    """Means and variances that a layer follows and does not learn."""
    for line in body.lines:
        if isinstance(line.value, Layer):
            yield from (f"net.{renamed(line.value.name, body)}.{k}" for k in line.value.fixed)


def renamed(text: str, body: BlockBody) -> str:
    """A text with the names that lines have got since."""
    if not body.renamed:
        return text
    return re.sub(r"(?<![\w.])[A-Za-z_]\w*", lambda m: body.renamed.get(m[0], m[0]), text)


# ---- the block ---------------------------------------------------------------------------------


def body(found: Understood) -> Iterator[str]:
    ports = ", ".join(port(i, found) for i in found.inputs)
    results = ", ".join(
        f"{renamed(name, found.body)}{dims(v.shape)}{domain(v)}" for _, name, v in found.outputs
    )
    for text in found.body.helpers.values():
        yield from text.splitlines()
        yield ""
    yield f"block network({ports}) -> {results} {{"
    for p in found.body.params:
        yield f"  {declared(p)}"
    for line in found.body.lines:
        yield from statement(line, found.body)
    yield "}"


def port(i: Input, found: Understood) -> str:
    many = found.body.classes.get(i.name)
    return f"{i.name}{dims(i.value.shape)}{f': class({many})' if many else ''}"


def dims(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]" if shape else ""


def domain(v: Value) -> str:
    if v.kind == "class" and v.classes:
        return f": class({v.classes})"
    return ": prob" if v.domain == "prob" else ""


def declared(p: BodyParam) -> str:
    shape = [*map(int, p.array.shape)]
    sizes = f"[{', '.join(map(str, shape))}]" if shape else ""
    if p.fixed:
        return f"fixed {p.name}{sizes} = 0"
    if len(shape) > 1:
        return f"param {p.name}{sizes} ~ glorot({prod(shape[1:])}, {shape[0]})"
    return f"param {p.name}{sizes} = 0"


def statement(line: BodyLine, body: BlockBody) -> Iterator[str]:
    """`target[index] = value`, with the layer before it where it has a name of its own."""
    at = f"[{', '.join(timed(line, body))}]" if line.index else ""
    if isinstance(line.value, Layer):
        if line.value.apart is not None:
            yield f"  let {renamed(line.value.name, body)} = {expr_text(line.value.made)}"
        text = expr_text(line.value.value)
    else:
        text = expr_text(line.value)
    mark = "+=" if line.adds else "="
    yield from folded(f"  {renamed(line.target, body)}{at} {mark} {renamed(text, body)}")


def timed(line: BodyLine, body: BlockBody) -> list[str]:
    """The indices; the first of a sequence runs over time."""
    sequence = line.shape[:1] == (TIME,) and not line.adds
    return [f"{i} in time" if sequence and k == 0 else i for k, i in enumerate(line.index)]


def folded(line: str) -> Iterator[str]:
    """A line that is not too long; it goes on inside its brackets."""
    while len(line) > WIDTH:
        at = max(
            line.rfind(", ", 0, WIDTH - 2),
            line.rfind(" + ", 0, WIDTH - 2),
            line.rfind(" * ", 0, WIDTH - 2),
        )
        before = line[:at]
        if at <= 20 or before.count("(") + before.count("[") == before.count(")") + before.count(
            "]"
        ):
            break
        cut = at + 1 if line[at] == "," else at
        yield line[:cut]
        line = "      " + line[cut:].lstrip()
    yield line


# ---- what stands around it ---------------------------------------------------------------------


def head(model: FileModel, found: Understood, target: Path, learnt: int) -> Iterator[str]:
    weights = target.with_suffix(".safetensors").name
    by = f" by {model.producer}" if model.producer else ""
    yield f"# Read from {shown(Path(model.file).name)}, written{by}: {learnt:,} parameters,"
    yield f"# whose values are in {weights}."
    yield "#"
    yield f'#     session = dln.load("{target.name}").compile({precision(model)}).session()'
    yield f'#     session.load("{weights}")'
    given = ", ".join(i.name for i in found.inputs)
    yield f"#     session.net({given}){' ' * max(1, 22 - len(given))}# {examples(found)}"
    yield "#"
    yield "# To train it further, hand it data and let a phase begin with these values:"
    yield "#"
    for line in phase(found, weights):
        yield f"#     {line}"
    for note in found.body.notes:
        yield f"# {note}"
    if found.reading.steps is not None or any(t is not None for t in found.reading.time):
        steps = found.reading.steps or 10
        note = f'how long sequences are: dln.load("{target.name}", steps=20)'
        yield f"const steps = {steps}{' ' * 16}# {note}"
    yield ""


def precision(model: FileModel) -> str:
    return 'dtype="float64"' if double(model) else ""


def double(model: FileModel) -> bool:
    """Whether a model computes in double precision."""
    kinds = [p.dtype for p in model.inputs if p.dtype is not None and p.dtype.kind == "f"]
    kinds = kinds or [a.dtype for a in model.constants.values() if a.dtype.kind == "f"]
    return any(k.itemsize == 8 for k in kinds)


def examples(found: Understood) -> str:
    first = found.inputs[0]
    sizes = ["examples", *("steps" if a == TIME else str(a) for a in first.value.shape)]
    return f"{first.name} is [{', '.join(sizes)}]"


def phase(found: Understood, weights: str) -> Iterator[str]:
    """How a phase of training could look."""
    numbers = [(n, v) for _, n, v in found.outputs if v.kind != "class"]
    first, value = (numbers or [found.outputs[0][1:]])[0]
    name = renamed(first, found.body)
    one = value.domain == "prob" and len(value.shape) == 1
    goal = f"label: class({value.shape[0]})" if one else f"t{dims(value.shape)}"
    ports = ", ".join(port(i, found) for i in found.inputs)
    given = ", ".join(i.name for i in found.inputs)
    several = f".{name}" if len(found.outputs) > 1 else ""
    loss = f"nll({name}, label)" if one else f"sum(({name} - t)^2)"
    yield f"data examples = given({ports}, {goal})"
    yield "train further on examples batch 32 for 5 epochs {"
    yield f'  start net := load("{weights}")'
    yield f"  {name} = net({given}){several}"
    yield f"  minimize {loss} over net with adam()"
    yield "}"


def check(model: FileModel, found: Understood, learnt: int) -> Iterator[str]:
    """A check that applies the instance, so that sizes are known and it can be called."""
    yield f'check "as many parameters as in {plain(Path(model.file).name)}" {{'
    for i in found.inputs:
        yield f"  {i.name} ~ {drawn(i, found)}"
    given = ", ".join(i.name for i in found.inputs)
    several = f".{renamed(found.outputs[0][1], found.body)}" if len(found.outputs) > 1 else ""
    yield f"  {result(found)} = net({given}){several}"
    yield f"  expect params(net) == {learnt}"
    yield "}"


def result(found: Understood) -> str:
    taken = {i.name for i in found.inputs}
    name = renamed(found.outputs[0][1], found.body)
    return name if name not in taken else "result"


def plain(name: str) -> str:
    return re.sub(r'["\\\n]', " ", shown(name))


def drawn(i: Input, found: Understood) -> str:
    sizes: Sequence[str] = ["steps" if a == TIME else str(a) for a in i.value.shape]
    many = found.body.classes.get(i.name)
    if many:
        table = ", ".join([*sizes, str(many)])
        return f"categorical(ones({table}) / {many} as prob)"
    return f"normal(zeros({', '.join(sizes)}), 1)" if sizes else "normal(0, 1)"
