"""What a model holds, in few words: its parameters, where its data come from."""

from __future__ import annotations

from dln.compiler.ir.masks import live_count
from dln.compiler.model import DataSet, Model
from dln.grammar.diagnostics import clean
from dln.printing.terminal import cut, plural
from dln.spec import Spec


def shapes(model: Model) -> dict[str, tuple[tuple[int, ...], int, bool]]:
    """Each parameter of the spec with its shape, how many numbers it has (dead entries left out)
    and whether it may be trained."""
    found = {}
    for path, p in model.params.items():
        if not p.checks:
            shape = tuple(size.constant for size in p.node.type.shape)
            found[path] = (shape, live_count(p.joins, shape), p.trainable)
    return found


def parameters(model: Model) -> int:
    """How many numbers can be trained."""
    return sum(count for _, count, trainable in shapes(model).values() if trainable)


def headline(spec: Spec) -> str:
    """`mlp: 79,400 parameters in 2 tensors, 1 phase, 2 data sets`."""
    model = spec.model
    tensors, phases = plural(len(shapes(model)), "tensor"), plural(len(model.phases), "phase")
    held = f"{plural(parameters(model), 'parameter')} in {tensors}, {phases}"
    return f"{clean(spec.name)}: {held}, {plural(len(model.data), 'data set')}"


def reader_text(data: DataSet) -> str:
    """`idx(train-images-idx3-ubyte, ...)`, or the path that takes its place."""
    if data.override is not None:
        return f"{data.reader} from {data.override}"
    return f"{data.reader}({cut(', '.join(map(str, data.args)), 60)})"
