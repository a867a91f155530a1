"""What a model is written as before it is one: calls of ONNX operators, in order, and the values
between them. Nothing here needs the `onnx` package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.record import Record

Array: TypeAlias = NDArray[Any]
FEW = 6  # whole numbers of a constant that are its name


@dataclass(eq=False)
class OnnxNode:
    """A node of ONNX: an operator, names of values in and out, attributes, what is said of it. Of a
    loop `body` is the step."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)
    doc: str = ""
    body: OnnxGraph | None = None


@dataclass(eq=False)
class OnnxGraph:
    """A graph of ONNX: calls in order, and the names of what goes in and comes out."""

    calls: list[OnnxNode] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def every(self) -> Iterator[OnnxGraph]:
        """This one and the steps of its loops, and of theirs."""
        yield self
        for call in self.calls:
            if call.body is not None:
                yield from call.body.every()


class OnnxFacts(Record):
    """What is known of a value: its `name` in the spec, else the name of what it is made for and a
    word for what it does there; its type, where it has the shape of that."""

    name: str
    owner: str = ""
    does: str = ""
    type: TensorType | None = None


@dataclass(eq=False)
class OnnxModel:
    """A model in the making: its calls, the arrays that stand in it, what is known of values, the
    ports of the instance among its inputs and what each output is called."""

    dtype: str
    listing: OnnxGraph = field(default_factory=OnnxGraph)
    arrays: dict[str, Array] = field(default_factory=dict)
    facts: dict[str, OnnxFacts] = field(default_factory=dict)
    numbers: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)

    def new(self, facts: OnnxFacts) -> str:
        """A value's own name, by which it is known until it gets the one in the file."""
        name = f"%{len(self.facts)}"
        self.facts[name] = facts
        return name

    def array(self, array: Array, facts: OnnxFacts) -> str:
        """A value that stands in the model."""
        found = self.new(facts)
        self.arrays[found] = array
        return found

    def number(self, value: Array) -> str:
        """A constant; an equal one is the same."""
        key = value.dtype.str, value.shape, value.tobytes()
        if key not in self.numbers:
            self.numbers[key] = self.array(value, OnnxFacts("", "", said(value)))
        return self.numbers[key]


def said(value: Array) -> str:
    """What a constant is called: the number or numbers, or its shape.

    >>> said(np.array(0.5)), said(np.array([0, 1])), said(np.zeros((2, 3)))
    ('0.5', '[0, 1]', '2x3')
    """
    if value.dtype == np.int64 and value.ndim == 1 and value.size <= FEW:
        return str(value.tolist())
    if value.size == 1 and value.dtype != np.bool_:
        return f"{value.reshape(())[()]:.6g}"
    return "x".join(map(str, value.shape)) or "truth"


def renamed(listing: OnnxGraph, names: Mapping[str, str]) -> None:
    """Give values other names, wherever they are made and read."""
    for each in listing.every():
        each.inputs = [names.get(n, n) for n in each.inputs]
        each.outputs = [names.get(n, n) for n in each.outputs]
        for call in each.calls:
            call.inputs = [names.get(n, n) for n in call.inputs]
            call.outputs = [names.get(n, n) for n in call.outputs]
