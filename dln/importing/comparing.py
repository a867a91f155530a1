"""What a spec computes beside what onnxruntime computes of the file it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from dln.importing.model import Array, FileModel
from dln.importing.spec_text import double
from dln.importing.values import BATCH, Axes
from dln.importing.walking import Understood

EXAMPLES = 5  # where the file leaves their number open
WITHIN = {"float32": 1e-5, "float64": 1e-10}  # a difference, as a share of the largest number
MOST = 1 << 26  # numbers of the input of a comparison


@dataclass
class Compared:
    """The largest difference, and the largest number."""

    difference: float
    scale: float
    within: float

    @property
    def agrees(self) -> bool:
        return self.difference <= self.within * max(self.scale, 1.0)


def compared(model: FileModel, found: Understood, session: Any) -> Compared | str:
    """The outputs of both for the same random inputs; in words, why they were not compared."""
    if find_spec("onnxruntime") is None:
        return "onnxruntime is not installed (pip install onnxruntime)"
    ort = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        other = ort.InferenceSession(inlined(model), options, providers=["CPUExecutionProvider"])
    except Exception as e:
        return f"onnxruntime refuses the file ({str(e).splitlines()[0][:120]})"
    given = drawn(found, model)
    fed = {
        i.port.name: outward(given[i.name], i.value.axes, found, i.port.dtype) for i in found.inputs
    }
    try:
        theirs = dict(
            zip([o.name for o in other.get_outputs()], run(other, fed, found), strict=True)
        )
    except Exception as e:
        return f"onnxruntime cannot run the file ({str(e).splitlines()[0][:120]})"
    ours = session.net(*(given[i.name] for i in found.inputs))
    within, worst, scale = WITHIN["float64" if double(model) else "float32"], 0.0, 0.0
    for port, name, value in found.outputs:
        name = found.body.renamed.get(name, name)
        mine = np.asarray(ours[name] if isinstance(ours, Mapping) else ours, np.float64)
        right = plain(theirs[port.name])
        mine = outward(mine, value.axes, found, None).reshape(right.shape)
        worst = max(worst, float(np.max(np.abs(mine - right), initial=0.0)))
        scale = max(scale, float(np.max(np.abs(right), initial=0.0)))
    return Compared(worst if np.isfinite(worst) else float("inf"), scale, within)


def run(other: Any, fed: Mapping[str, Array], found: Understood) -> list[Any]:
    """The outputs; a graph without an axis of examples sees one at a time."""
    if any(i.batch is not None for i in found.inputs):
        return list(other.run(None, dict(fed)))
    many = [other.run(None, {k: a[n] for k, a in fed.items()}) for n in range(EXAMPLES)]
    return [np.stack([plain(m[k]) for m in many]) for k in range(len(many[0]))]


def plain(found: Any) -> Array:
    """An output as numbers; a list of dictionaries as scikit-learn's converter gives is a table."""
    if isinstance(found, list):
        found = [[*d.values()] for d in found]
    return np.asarray(found, np.float64)


def inlined(model: FileModel) -> bytes:
    """The file with its arrays in it, so that onnxruntime opens no other."""
    onnx = import_module("onnx")
    for t in model.proto.graph.initializer:
        if t.data_location == 1:
            array = model.constants[t.name]
            t.CopyFrom(onnx.numpy_helper.from_array(array, t.name))
    return bytes(model.proto.SerializeToString())


def drawn(found: Understood, model: FileModel) -> dict[str, Array]:
    """Random inputs as a spec takes them, [examples, ...]."""
    rng = np.random.default_rng(0)
    many, steps = found.reading.examples or EXAMPLES, found.reading.steps or 10
    if all(i.batch is None for i in found.inputs):
        many = EXAMPLES
    made = {}
    for i in found.inputs:
        shape = (many, *(steps if isinstance(a, str) else a for a in i.value.shape))
        classes = found.body.classes.get(i.name)
        if classes:
            made[i.name] = rng.integers(0, classes, shape)
        elif i.value.kind == "truth":
            made[i.name] = rng.integers(0, 2, shape).astype(bool)
        elif i.value.kind == "index":
            made[i.name] = rng.integers(0, 5, shape)
        else:
            made[i.name] = rng.standard_normal(shape).astype(i.port.dtype)
    return made


def outward(array: Array, axes: Axes, found: Understood, dtype: Any) -> Array:
    """An array [examples, ...] of a spec in the axes of ONNX."""
    order = [0 if a == BATCH else a + 1 for axis in axes for a in axis]
    if 0 not in order:
        order = [0, *order]
    array = np.transpose(array, order)
    return np.ascontiguousarray(array if dtype is None else array.astype(dtype))
