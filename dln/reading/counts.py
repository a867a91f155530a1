"""What a model holds, in few words: its parameters, where its data come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dln.grammar.diagnostics import clean
from dln.printing.terminal import cut, plural
from dln.spec import Spec

if TYPE_CHECKING:
    from dln.compiler.model import DataSet


def count_text(data: DataSet) -> str:
    """How many examples it has."""
    return f"{data.count:,} examples" if data.counted else "examples to be given"


def headline(spec: Spec) -> str:
    """`mlp: 79,400 parameters in 2 tensors, 1 phase, 2 data sets`."""
    facts = spec.facts
    tensors, phases = plural(facts.tensors, "tensor"), plural(len(facts.phases), "phase")
    held = f"{plural(facts.parameters, 'parameter')} in {tensors}, {phases}"
    return f"{clean(spec.name)}: {held}, {plural(len(facts.data), 'data set')}"


def reader_text(data: DataSet) -> str:
    """`idx(train-images-idx3-ubyte, ...)`, or the path that takes its place."""
    if data.override is not None:
        return f"{data.reader} from {data.override}"
    if data.ports:
        fields = (f"{span.text}" for span in data.ports.values())
        return f"{data.reader}({cut(', '.join(fields), 60)})"
    return f"{data.reader}({cut(', '.join(map(str, data.args)), 60)})"
