"""The text of a spec for a graph that has been understood, and its weights by path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dln.grammar import syntax as s
from dln.importing.body import BlockBody
from dln.importing.layout import BlockText, units_of
from dln.importing.model import Array, FileModel, shown
from dln.importing.repeats import gathered
from dln.importing.values import TIME, Shape, Value
from dln.importing.walking import Input, Understood


@dataclass
class Written:
    """A spec and what its parameters are in the file."""

    text: str
    weights: dict[str, Array]
    learnt: int


def spec_of(model: FileModel, found: Understood, target: Path) -> Written:
    """The spec, which `target` will hold; its weights lie beside that."""
    body = found.body
    results = [final(name, body) for _, name, _ in found.outputs]
    ports = {i.name: i.value.shape for i in found.inputs}
    taken = {*ports, *results, *body.helpers}
    units = units_of(body, results)
    units, blocks = gathered(units, ports, {*results}, taken)
    held = {f"net.{path}": w for u in units for path, w in u.weights.items()}
    learnt = sum(w.array.size for w in held.values() if not w.fixed)
    main = BlockText(
        "network", ", ".join(port(i, found) for i in found.inputs),
        ", ".join(f"{final(n, body)}{dims(v.shape)}{domain(v)}" for _, n, v in found.outputs),
        units,
    )  # fmt: skip
    lines = [*head(model, found, target, learnt)]
    for text in body.helpers.values():
        lines += [*text.splitlines(), ""]
    for block in reversed(blocks):
        lines += [*block.lines(), ""]
    lines += [*main.lines(), "let net = network()", "", *check(model, found, learnt)]
    weights = {path: w.array for path, w in held.items()}
    return Written("".join(f"{line}\n" for line in lines), weights, learnt)


def final(name: str, body: BlockBody) -> str:
    """What a line of the block is called in the end."""
    return body.renamed.get(name, name)


def port(i: Input, found: Understood) -> str:
    many = found.body.classes.get(i.name)
    return f"{i.name}{dims(i.value.shape)}{f': class({many})' if many else ''}"


def dims(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]" if shape else ""


def domain(v: Value) -> str:
    if v.kind == "class" and v.classes:
        return f": class({v.classes})"
    return ": prob" if v.domain == "prob" else ""


# ---- what stands around it ---------------------------------------------------------------------


def head(model: FileModel, found: Understood, target: Path, learnt: int) -> Iterator[str]:
    weights = target.with_suffix(".safetensors").name
    by = f", written by {model.producer}" if model.producer else ""
    yield f"# Read from {shown(Path(model.file).name)}{by}: {learnt:,} parameters,"
    yield f"# whose values are in {weights}."
    yield "#"
    yield f'#     session = dln.load("{target.name}").compile({precision(model)}).session()'
    yield f'#     session.load("{weights}")'
    given = ", ".join(i.name for i in found.inputs)
    yield f"#     session.net({given}){' ' * max(1, 22 - len(given))}# {examples(found)}"
    if learnt:
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
    name = final(first, found.body)
    one = len(value.shape) == 1 and shared(first, found.body)
    share = value.domain == "prob" and not one  # of each number by itself
    goal = f"label: class({value.shape[0]})" if one else f"t{dims(value.shape)}"
    goal = f"{goal}: prob" if share else goal
    ports = ", ".join(port(i, found) for i in found.inputs)
    given = ", ".join(i.name for i in found.inputs)
    several = f".{name}" if len(found.outputs) > 1 else ""
    loss = f"nll({name}, label)" if one else f"sum(({name} - t)^2)"
    loss = f"sum(binary_cross_entropy({name}, t))" if share else loss
    yield f"data examples = given({ports}, {goal})"
    yield "train further on examples batch 32 for 5 epochs {"
    yield f'  start net := load("{weights}")'
    yield f"  {name} = net({given}){several}"
    yield f"  minimize {loss} over net with adam()"
    yield "}"


def shared(name: str, body: BlockBody) -> bool:
    """Whether a result is the share of each class."""
    value = next((x.value for x in body.lines if x.target == name), None)
    function = value.function if isinstance(value, s.Call) else None
    return isinstance(function, s.Name) and function.id == "softmax"


def check(model: FileModel, found: Understood, learnt: int) -> Iterator[str]:
    """A check that applies the instance, so that sizes are known and it can be called."""
    yield f'check "as many parameters as in {plain(Path(model.file).name)}" {{'
    for i in found.inputs:
        yield f"  {i.name} ~ {drawn(i, found)}"
    given = ", ".join(i.name for i in found.inputs)
    _, name, value = found.outputs[0]
    several = f".{final(name, found.body)}" if len(found.outputs) > 1 else ""
    sizes = [a for a in value.shape if a != TIME]
    yield f"  expect shape(net({given}){several}) == {sizes}"
    yield f"  expect params(net) == {learnt}"
    yield "}"


def plain(name: str) -> str:
    return re.sub(r'["\\\n]', " ", shown(name))


def drawn(i: Input, found: Understood) -> str:
    sizes: Sequence[str] = ["steps" if a == TIME else str(a) for a in i.value.shape]
    many = found.body.classes.get(i.name)
    if many:
        table = ", ".join([*sizes, str(many)])
        return f"categorical(ones({table}) / {many} as prob)"
    return f"normal(zeros({', '.join(sizes)}), 1)" if sizes else "normal(0, 1)"
