"""Operators of `ai.onnx.ml`, as scikit-learn's converter writes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dln.grammar import syntax as s
from dln.importing.model import Array, Unsaid
from dln.importing.operators.parts import embedded, picked
from dln.importing.operators.pointwise import logit, over, times
from dln.importing.operators.products import dense
from dln.importing.operators.records import OnnxCall, Operator, Result, made, whole
from dln.importing.operators.reductions import argument, reduced, rowwise
from dln.importing.syntax_of import binary, call, items
from dln.importing.values import Constant, Value, plain, written

ML = "ai.onnx.ml"


def scaler(c: OnnxCall) -> Result:
    """Less an offset, times a scale; neither is learnt by a network."""
    x = c.value(0)
    offset, scale = (
        Constant(np.array(c[k] or [d], np.float32)) for k, d in (("offset", 0), ("scale", 1))
    )
    return made(c, [x, offset, scale], lambda a, o, k: times(binary("-", a, o), k))


def coefficients(c: OnnxCall, which: str, rows: int) -> tuple[Constant, Constant | None]:
    """The matrix of a linear model, [n, rows], and its intercepts."""
    flat = np.array(c[which] or [], np.float32)
    if rows < 1 or not flat.size or flat.size % rows:
        raise Unsaid("its coefficients do not go with its classes or targets")
    held = c["intercepts"]
    bias = Constant(np.array(held, np.float32), True, "intercepts") if held else None
    if bias is not None and bias.array.size != rows:
        raise Unsaid("its intercepts do not go with its coefficients")
    return Constant(np.ascontiguousarray(flat.reshape(rows, -1).T), True, "linear"), bias


def regressor(c: OnnxCall) -> Result:
    if c["post_transform"] != "NONE":
        raise Unsaid(f"its post_transform is {c['post_transform']}")
    w, b = coefficients(c, "coefficients", c["targets"])
    return dense(c, c.value(0), w, b)


def classifier(c: OnnxCall) -> Result:
    """Scores by a matrix, and the class of the largest."""
    labels = c["classlabels_ints"] or c["classlabels_strings"] or []
    rows = len(c["intercepts"] or []) or len(labels)
    if rows != len(labels) or rows < 2:
        raise Unsaid("it has one row of coefficients for two classes")
    w, b = coefficients(c, "coefficients", rows)
    scores = c.body.named(dense(c, c.value(0), w, b))
    after = c["post_transform"]
    if after == "SOFTMAX":
        found = rowwise(c, scores, scores.rank - 1, lambda e: call("softmax", e), "prob")
    elif after == "LOGISTIC":
        found = made(c, [logit(scores)], lambda e: call("sigmoid", e), domain="prob")
    elif after == "NONE":
        found = scores
    else:
        raise Unsaid(f"its post_transform is {after}")
    label: Value | None = None
    if c.body.uses[c.node.outputs[0]]:
        label = labelled(c, scores, labels)
    return [label, found]


def labelled(c: OnnxCall, scores: Value, labels: list[int] | list[str]) -> Value:
    """The class of the largest score; that of words is told as a number."""
    picked = argument("argmax")(
        OnnxCall(
            c.node, {"axis": -1, "keepdims": 0, "select_last_index": 0}, [scores], c.opset, c.body
        )
    )
    assert isinstance(picked, Value)
    return worded(c, picked, labels)


def worded(c: OnnxCall, at: Value, labels: list[int] | list[str] | list[object]) -> Value:
    """What the classes are called: by 0, 1, ... they are themselves, by words it is noted."""
    if [*labels] == [*range(len(labels))]:
        return at
    if all(isinstance(v, str) for v in labels):
        said = ", ".join(f"{k} is {v}" for k, v in enumerate(labels[:20]))
        c.body.notes.append(f"Of the classes {said}.")
        return replace(at, words=tuple(map(str, labels)))
    table = Constant(np.array(labels, np.float32), False, "labels")
    return embedded(c, table, c.body.named(at))


def extracted(c: OnnxCall) -> Result:
    """Entries of a vector: of the names of classes by the class, or of some columns."""
    data, at = c.arg(0), c.arg(1)
    if isinstance(data, Constant) and isinstance(at, Value):
        if data.array.dtype.kind not in "iufO" or data.array.size < 2:
            raise Unsaid("it looks up other things than names of classes")
        names: list[object] = data.array.reshape(-1).tolist()
        return worded(c, at, names)
    x, columns = c.value(0), whole(np.asarray(c.const(1)), "columns")
    parts = [picked(c, x, x.rank - 1, k, keep=True) for k in columns]
    return parts[0] if len(parts) == 1 else stacked_columns(c, x, parts)


def stacked_columns(c: OnnxCall, x: Value, parts: list[Value]) -> Value:
    """Single numbers of each row as a row."""
    if x.rank != 2 or len(x.shape) != 1:
        raise Unsaid("it takes columns of what is no table")
    value = items([written(p.tree, None if plain(p.tree) else []) for p in parts])
    return Value(c.body.define(value, (len(parts),)), x.axes)


def normalizer(c: OnnxCall) -> Result:
    """Each row divided by its sum, its length, or its largest number."""
    x = c.body.named(c.value(0))
    kinds = {
        "L1": ("sum", absolute, same),
        "L2": ("sum", squared, root),
        "MAX": ("max", absolute, same),
    }
    if c["norm"] not in kinds:
        raise Unsaid(f"its norm is {c['norm']}")
    function, before, after = kinds[c["norm"]]
    long = reduced(c, x, [x.rank - 1], function, True, before, after)
    return made(c, [x, long], over)


def absolute(e: s.Expr) -> s.Expr:
    return call("abs", e)


def squared(e: s.Expr) -> s.Expr:
    return binary("*", e, e)


def root(e: s.Expr) -> s.Expr:
    return call("sqrt", e)


def same(e: s.Expr) -> s.Expr:
    return e


def zipmap(c: OnnxCall) -> Result:
    """A dictionary by class for each example; here the numbers themselves."""
    return c.value(0)


def fold_extracted(c: OnnxCall, a: list[Array]) -> Array:
    return np.take(a[0], a[1].reshape(-1), axis=-1)


TABLE = [
    Operator("Scaler", scaler, (1, 1), {"offset": list, "scale": list}, domain=ML),
    Operator("LinearRegressor", regressor, (1, 1), {
        "coefficients": list, "intercepts": list, "targets": 1, "post_transform": "NONE"},
        domain=ML),
    Operator("LinearClassifier", classifier, (1, 1), {
        "coefficients": list, "intercepts": list, "classlabels_ints": list, "multi_class": 0,
        "classlabels_strings": list, "post_transform": "NONE"}, domain=ML),
    Operator("ArrayFeatureExtractor", extracted, (2, 2), fold=fold_extracted, domain=ML),
    Operator("Normalizer", normalizer, (1, 1), {"norm": "MAX"}, domain=ML),
    Operator("ZipMap", zipmap, (1, 1), {
        "classlabels_int64s": list, "classlabels_strings": list}, domain=ML),
]  # fmt: skip
