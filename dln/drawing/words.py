"""What boxes say: sizes, counts, equations, in few words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import BATCH_SIZE, Sizes
from dln.compiler.ir.tensor_type import TensorType
from dln.drawing.scene import TextLine
from dln.grammar import syntax as s
from dln.printing.terminal import cut, plural

LONG = 46  # characters of an equation
MANY = 12  # lines of a loop that are written out


def parts_of(item: s.Syntax) -> Iterator[s.Syntax]:
    """A piece of text as it was read, and all that it is made of."""
    yield item
    for child in item.children():
        yield from parts_of(child)


def shape(sizes: Sizes, type: TensorType) -> str:
    """`6 x 28 x 28`, `25 steps x 65`, `class of 10`: of one example."""
    found = list[str]()
    for i, extent in enumerate(type.shape):
        axis = type.running[i] if i < len(type.running) else ""
        resolved = sizes.resolve(extent)
        if axis == "batch" or resolved == BATCH_SIZE:
            continue
        known = str(resolved) if not resolved.terms else ""
        found.append(f"{known} steps".strip() if axis == "time" else known or "?")
    if type.domain.name == "class":
        many = sizes.resolve(type.domain.size) if type.domain.size is not None else None
        known = "class" if many is None or many.terms else f"class of {many}"
        return ", ".join(filter(None, [" \u00d7 ".join(found), known]))
    return " \u00d7 ".join(found)


def named(sizes: Sizes, name: str, node: Node) -> str:
    """`x: 784`: a name with its size; the name alone of a number."""
    said = shape(sizes, node.type)
    return f"{name}: {said}" if said else name


def parameters(count: int, fixed: int) -> list[TextLine]:
    """`156 parameters`, `60,000 parameters, 840 fixed`, where there are any."""
    said = [plural(count, "parameter")] if count else []
    said += [f"{fixed:,} fixed"] if fixed else []
    return [TextLine(", ".join(said))] if said else []


def equation(text: str, most: int = 3) -> list[TextLine]:
    """An equation on a few lines; of a longer one the beginning."""
    text = " ".join(line.partition("#")[0].strip() for line in text.split("\n"))
    lines = textwrap.wrap(" ".join(text.split()), LONG, subsequent_indent="  ") or [""]
    if len(lines) > most:
        lines = [*lines[: most - 1], cut(f"{lines[most - 1]} {lines[most]}", LONG)]
    return [TextLine(line, "code") for line in lines]


def equations(texts: Iterable[str]) -> list[TextLine]:
    """Several, the first of many."""
    lines = [line for text in texts for line in equation(text, 2)]
    more = len(lines) - MANY
    return lines if more <= 0 else [*lines[:MANY], TextLine(f"... {more} more", "code")]


def symbol(op: str, function: str) -> str:
    """What stands in the box of an operation."""
    return function or {"add": "+", "sub": "\u2212", "mul": "\u00d7", "div": "/"}.get(op, op)
