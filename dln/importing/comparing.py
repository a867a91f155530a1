"""What a spec computes beside what onnxruntime computes of the file it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from dln.grammar.diagnostics import DlnError
from dln.importing.model import Array, FileModel
from dln.importing.spec_text import double
from dln.importing.values import BATCH, Axes
from dln.importing.walking import Understood

EXAMPLES = 5  # where the file leaves their number open
WITHIN = {"float32": 1e-5, "float64": 1e-10}  # a difference, as a share of the largest number
SMALL = 1 << 20  # constants of a model that the evaluator of the onnx package looks at


@dataclass
class Compared:
    """The largest difference of an output, and its largest number. `within` is what the difference
    may be as a share of that, or of 0.3 where all numbers are smaller. `by` is who has computed
    them: the evaluator of the onnx package has rounded constants in double precision too."""

    difference: float
    scale: float
    within: float
    by: str = "onnxruntime"

    @property
    def share(self) -> float:
        return self.difference / max(self.scale, 0.3)

    @property
    def agrees(self) -> bool:
        return self.share <= self.within


def compared(model: FileModel, found: Understood, session: Any) -> Compared | str:
    """The outputs of both for the same random inputs; in words, why they were not compared."""
    why = ""
    for positive in (False, True):  # a root, or a logarithm, wants what is not negative
        given = drawn(found, model, positive)
        fed = {
            i.port.name: outward(given[i.name], i.value.axes, i.port.dtype) for i in found.inputs
        }
        theirs, by, why = answers(model, found, fed)
        if theirs is None:
            return why
        try:
            ours = session.net(*(given[i.name] for i in found.inputs))
        except DlnError as error:
            why = f"of random inputs {error.problems[0].message}"
            continue
        return held_against(model, found, ours, theirs, by)
    return why


def held_against(
    model: FileModel, found: Understood, ours: Any, theirs: Mapping[str, Any], by: str
) -> Compared:
    """The outputs of both; where they have other shapes their difference is infinite."""
    within = WITHIN["float64" if double(model) and by == "onnxruntime" else "float32"]
    worst = Compared(0.0, 0.0, within, by)
    for port, name, value in found.outputs:
        name = found.body.renamed.get(name, name)
        mine = np.asarray(ours[name] if isinstance(ours, Mapping) else ours, np.float64)
        right = plain(theirs[port.name], value.words)
        difference = float("inf")
        if mine.ndim == 1 + len(value.shape) and mine.size == right.size:
            mine = outward(mine, value.axes, None).reshape(right.shape)
            difference = float(np.max(np.abs(mine - right), initial=0.0))
        scale = float(np.max(np.abs(right), initial=0.0))
        difference = difference if np.isfinite(difference) else float("inf")
        one = Compared(difference, scale, within, by)
        worst = max(worst, one, key=lambda c: (c.share, c.scale))
    return worst


Theirs = dict[str, Any] | None


def answers(
    model: FileModel, found: Understood, fed: Mapping[str, Array]
) -> tuple[Theirs, str, str]:
    """The outputs by onnxruntime; where that is missing or refuses the file by the evaluator of
    the onnx package, which is slow: of small models. Else None, and why."""
    names, why = [p.name for p in model.outputs], "onnxruntime is not installed"
    if find_spec("onnxruntime") is not None:
        ort = import_module("onnxruntime")
        options = ort.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 4, 1
        try:
            held = inlined(model)
            other = ort.InferenceSession(held, options, providers=["CPUExecutionProvider"])
            return dict(zip(names, run(other, fed, found), strict=True)), "onnxruntime", ""
        except Exception as e:  # of many kinds, all of them its own
            why = f"onnxruntime refuses the file ({str(e).splitlines()[0][:120]})"
    if sum(a.size for a in model.constants.values()) < SMALL:
        try:
            slow = import_module("onnx.reference").ReferenceEvaluator(model.proto)
            return dict(zip(names, run(slow, fed, found), strict=True)), "the onnx package", ""
        except Exception:  # it lacks an operator
            return None, "", why
    return None, "", why


def run(other: Any, fed: Mapping[str, Array], found: Understood) -> list[Any]:
    """The outputs; a graph without an axis of examples sees one at a time."""
    if any(i.batch is not None for i in found.inputs):
        return list(other.run(None, dict(fed)))
    many = [other.run(None, {k: a[n] for k, a in fed.items()}) for n in range(EXAMPLES)]
    return [np.stack([plain(m[k]) for m in many]) for k in range(len(many[0]))]


def plain(found: Any, words: tuple[str, ...] = ()) -> Array:
    """An output as numbers; a list of dictionaries as scikit-learn's converter gives is a table,
    and a class that is told in words its number."""
    if words:
        return np.array([words.index(str(w)) for w in np.asarray(found).reshape(-1)])
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


def drawn(found: Understood, model: FileModel, positive: bool) -> dict[str, Array]:
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
            scale = 10 ** rng.uniform(-1.5, 0.5, (many, *[1] * (len(shape) - 1)))
            numbers = scale * rng.standard_normal(shape)
            made[i.name] = (np.abs(numbers) if positive else numbers).astype(i.port.dtype)
    return made


def outward(array: Array, axes: Axes, dtype: Any) -> Array:
    """An array [examples, ...] of a spec in the axes of ONNX."""
    order = [0 if a == BATCH else a + 1 for axis in axes for a in axis]
    if 0 not in order:
        order = [0, *order]
    array = np.transpose(array, order)
    return np.ascontiguousarray(array if dtype is None else array.astype(dtype))
