"""A model as a file of ONNX, checked at full strictness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from dln import __version__
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TensorType
from dln.exporting.listing import OnnxGraph, OnnxModel
from dln.grammar.diagnostics import Fault

OPSET = 18
"""The first in which every reduction takes its axes in one way; onnxruntime has it since 1.14."""
IR_VERSION = 8
"""The format that came with it."""
NOTHING: Mapping[str, str] = MappingProxyType({})


def package() -> Any:
    """The package `onnx`. Raises `Fault` E613 where it is not installed."""
    if find_spec("onnx") is None:
        raise Fault("a model of ONNX needs the package onnx", 'pip install "dln[onnx]"', "E613")
    return import_module("onnx")


def encoded(made: OnnxModel, name: str, doc: str, told: Mapping[str, str] = NOTHING) -> bytes:
    """The file of a model, the same bytes for the same model; what is `told` stands among its
    properties. Raises `Fault` E613 without `onnx`,
    E614 for more than a file of ONNX holds."""
    onnx = package()
    if sum(a.nbytes for a in made.arrays.values()) > 2_000_000_000:
        remedy = "--dtype float32" if made.dtype == "float64" else ""
        raise Fault(f"{name} has more than the 2 GB that a file of ONNX holds", remedy, "E614")
    h = onnx.helper
    arrays = [onnx.numpy_helper.from_array(a, k) for k, a in made.arrays.items()]
    graph = encoded_graph(onnx, made, made.listing, name, arrays)
    graph.doc_string = doc
    model = h.make_model(
        graph, opset_imports=[h.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="dln", producer_version=__version__,
    )  # fmt: skip
    h.set_model_props(model, dict(told))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def encoded_graph(
    onnx: Any, made: OnnxModel, listing: OnnxGraph, name: str, arrays: Iterable[Any]
) -> Any:
    """A graph, with the steps of its loops."""
    h, nodes = onnx.helper, list[Any]()
    for call in listing.calls:
        attrs = {k: kinds(onnx, v) if k == "to" else v for k, v in call.attrs.items()}
        if call.body is not None:
            attrs["body"] = encoded_graph(onnx, made, call.body, f"{call.outputs[0]} step", ())
        nodes.append(h.make_node(call.op, call.inputs, call.outputs, call.outputs[0],
                                 doc_string=call.doc or None, **attrs))  # fmt: skip
    ends = ([port(onnx, made, n) for n in names] for names in (listing.inputs, listing.outputs))
    inside = [n for call in listing.calls for n in call.outputs if n not in listing.outputs]
    known = [port(onnx, made, n) for n in inside if n and made.facts[n].type is not None]
    return h.make_graph(nodes, name, *ends, list(arrays), value_info=known)


def port(onnx: Any, made: OnnxModel, name: str) -> Any:
    """What is known of what goes in or comes out."""
    type = made.facts[name].type
    assert type is not None, name
    return onnx.helper.make_tensor_value_info(name, kind_of(onnx, made, type), shape_of(type))


def kind_of(onnx: Any, made: OnnxModel, type: TensorType) -> Any:
    return kinds(onnx, {"real": made.dtype, "index": "int64", "bool": "bool"}[type.kind])


def kinds(onnx: Any, dtype: str) -> Any:
    types = onnx.TensorProto
    return {"float32": types.FLOAT, "float64": types.DOUBLE, "int64": types.INT64,
            "bool": types.BOOL}[dtype]  # fmt: skip


def shape_of(type: TensorType) -> list[int | str]:
    """A shape, its open sizes by name."""
    return [s.value if s.value is not None else spoken(s) for s in type.shape]


def spoken(size: Size) -> str:
    return str(size).replace(" ", "")
