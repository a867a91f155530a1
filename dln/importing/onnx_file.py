"""An ONNX file read within bounds: nothing in it is executed, and no memory is taken for what it
merely claims.

protobuf is the only code that sees the bytes before they are checked; it stops at a hundred nested
messages and takes memory for what is there. Sizes are compared with the bytes that are there, in
Python's whole numbers, before an array is made. The checker and the shape inference of the onnx
package, which are C++ made for files one trusts, are not called.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from dln.grammar.diagnostics import DlnError, Fault
from dln.importing.model import Array, FileModel, FileNode, FilePort, shown

LARGEST = 2**31 - 1  # bytes of a file: what protobuf takes
NODES = 20_000  # of a graph, at most
SHAPE = 80  # characters of a shape in a message
AXES = 32  # of an array, as NumPy has them
OLDEST = 7  # operator set of the file, from which on operators mean what they mean here

# How elements are stored, by their number in TensorProto.DataType: as bytes, and the field that
# holds them where there are no bytes.
KINDS = {
    1: ("<f4", "float_data"), 2: ("u1", "int32_data"), 3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"), 5: ("<i2", "int32_data"), 6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"), 9: ("?", "int32_data"), 10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"), 12: ("<u4", "uint64_data"), 13: ("<u8", "uint64_data"),
}  # fmt: skip
ATTRIBUTES: dict[int, Callable[[Any], Any]] = {
    1: lambda a: float(a.f), 2: lambda a: int(a.i), 3: lambda a: text(a.s),
    6: lambda a: [*map(float, a.floats)], 7: lambda a: [*map(int, a.ints)],
    8: lambda a: [*map(text, a.strings)],
}  # fmt: skip


def text(raw: bytes | str) -> str:
    """A text of a message; where it is none in UTF-8, protobuf gives its bytes."""
    return raw if isinstance(raw, str) else raw.decode("utf-8", "replace")


def damaged(path: Path, what: str, remedy: str = "export the model again") -> DlnError:
    return Fault(f"{path}: {what}", remedy, "E615").at(None)


def read(path: Path) -> FileModel:
    """The model of a file. Raises `DlnError`: E615 for no intact file, E617 for data outside of it
    that cannot be had, E618 without the onnx package, E621 for another version of ONNX."""
    if find_spec("onnx") is None:
        message = f"{path} is an ONNX model, which the onnx package reads"
        raise Fault(message, "pip install 'dln[onnx]'", "E618").at(None)
    proto = parsed(path)
    opsets = {domain(o): int(o.version) for o in proto.opset_import}
    newest = int(import_module("onnx.defs").onnx_opset_version())
    if not OLDEST <= opsets.get("", newest) <= newest:
        found = f"{path} is written in operator set {opsets['']} of ONNX"
        message = f"{found}, {OLDEST} to {newest} are known"
        raise Fault(message, f"export it with opset {min(newest, 20)}", "E621").at(None)
    if proto.functions:
        raise damaged(path, "it defines operators of its own", "export it without such functions")
    graph = proto.graph
    if len(graph.node) > NODES:
        raise damaged(path, f"it has {len(graph.node):,} nodes, {NODES:,} are allowed", "")
    if graph.sparse_initializer:
        raise damaged(path, "it holds sparse arrays", "export it with dense ones")
    outside = sum(claimed(t) for t in graph.initializer if t.data_location == 1)
    if outside > LARGEST:
        raise damaged(path, f"its arrays take {outside:,} bytes, {LARGEST:,} are allowed", "")
    constants = {text(t.name): tensor(path, t) for t in graph.initializer}
    nodes = tuple(node(path, n, i) for i, n in enumerate(graph.node, 1))
    inputs = tuple(port(path, p) for p in graph.input if text(p.name) not in constants)
    outputs = tuple(port(path, p) for p in graph.output)
    if not outputs or not inputs:
        raise damaged(path, f"its graph has no {'inputs' if outputs else 'outputs'}")
    producer = shown(f"{text(proto.producer_name)} {text(proto.producer_version)}".strip())
    return FileModel(str(path), nodes, constants, inputs, outputs, opsets, producer, proto)


def parsed(path: Path) -> Any:
    """The message that a file holds, its size known before it is read."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise damaged(path, "this is no ordinary file", "name the .onnx file itself")
        if found.st_size > LARGEST:
            raise damaged(path, f"it has {found.st_size:,} bytes, {LARGEST:,} are allowed", "")
        raw = path.read_bytes()
    except OSError as e:
        raise Fault(f"cannot read {path}: {e.strerror or e}", "check its path", "E615").at(
            None
        ) from e
    onnx = import_module("onnx")
    errors = import_module("google.protobuf.message")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except errors.DecodeError as e:
        raise damaged(path, "this is no ONNX model, or it is damaged") from e
    if not model.graph.node and not model.graph.output:
        raise damaged(path, "this is no ONNX model: it holds no graph")
    return model


def domain(message: Any) -> str:
    """Where an operator belongs; those of ONNX itself have no name for it."""
    found = text(message.domain)
    return "" if found == "ai.onnx" else found


def node(path: Path, n: Any, number: int) -> FileNode:
    """A node; an attribute of a kind that no operator here takes, a graph for one, is None."""
    held: dict[str, Any] = {}
    for a in n.attribute:
        if a.type == 4:
            held[text(a.name)] = tensor(path, a.t)
        else:
            held[text(a.name)] = ATTRIBUTES[a.type](a) if a.type in ATTRIBUTES else None
    inputs, outputs = (tuple(map(text, names)) for names in (n.input, n.output))
    return FileNode(text(n.op_type), domain(n), text(n.name), number, inputs, outputs, held)


def port(path: Path, p: Any) -> FilePort:
    """An input or an output."""
    kind, label = p.type.tensor_type, text(p.name)
    if p.type.WhichOneof("value") != "tensor_type":
        return FilePort(label, None, None)
    dims = None
    if kind.HasField("shape"):
        dims = tuple(dimension(path, label, d) for d in kind.shape.dim)
    known = KINDS.get(kind.elem_type)
    return FilePort(label, dims, np.dtype(known[0]).newbyteorder("=") if known else None)


def dimension(path: Path, name: str, d: Any) -> int | str | None:
    if d.WhichOneof("value") != "dim_value":
        return text(d.dim_param) or None
    if d.dim_value < 1:
        raise damaged(path, f"{shown(name)} has an axis of {d.dim_value}")
    return int(d.dim_value)


# ---- arrays ------------------------------------------------------------------------------------


def tensor(path: Path, t: Any) -> Array:
    """The array of a TensorProto, as large as it says, or refused."""
    dims, name = tuple(map(int, t.dims)), shown(text(t.name) or "an array")
    if len(dims) > AXES or any(d < 0 for d in dims):
        raise damaged(path, f"{name} has the shape {str(list(dims))[:SHAPE]}")
    if t.data_type == 8 and prod(dims) == len(t.string_data):
        return np.array([*map(text, t.string_data)], dtype=object).reshape(dims)
    if t.data_type not in KINDS:
        raise damaged(path, f"{name} holds numbers of kind {t.data_type}, which is not known here",
                      "export the model in float32")  # fmt: skip
    kind, where = KINDS[t.data_type]
    size = prod(dims) * np.dtype(kind).itemsize
    if t.data_location == 1:
        raw = beside(path, t, name, size)
    elif t.raw_data or not prod(dims):
        raw = t.raw_data
    else:
        return listed(path, t, name, dims)
    if len(raw) != size:
        raise damaged(path, f"{name} has {len(raw):,} bytes, its shape asks for {size:,}")
    try:
        return native(np.frombuffer(raw, kind).reshape(dims))
    except ValueError as e:  # no numbers, along axes that are too long
        raise damaged(path, f"{name} has the shape {str(list(dims))[:SHAPE]}") from e


def claimed(t: Any) -> int:
    """The bytes that the shape of an array asks for."""
    return prod(map(int, t.dims)) * np.dtype(KINDS.get(t.data_type, ("u1",))[0]).itemsize


def listed(path: Path, t: Any, name: str, dims: tuple[int, ...]) -> Array:
    """An array that is stored number by number."""
    kind, where = KINDS[t.data_type]
    held = getattr(t, where)
    if len(held) != prod(dims):
        raise damaged(path, f"{name} has {len(held):,} numbers, its shape asks for {prod(dims):,}")
    if t.data_type == 10:  # the bits of a float16
        bits = np.fromiter(held, np.int64, len(held)).astype(np.uint16)
        return native(bits.view(np.float16).reshape(dims))
    wide = np.float64 if kind[-2] == "f" else np.uint64 if kind == "<u8" else np.int64
    return native(np.fromiter(held, wide, len(held)).astype(kind).reshape(dims))


def native(found: Array) -> Array:
    """As the machine stores it; half precision is made single."""
    if found.dtype == np.float16:
        return found.astype(np.float32)
    return found.astype(found.dtype.newbyteorder("="), copy=False)


def beside(path: Path, t: Any, name: str, size: int) -> bytes:
    """The bytes of an array in a file beside the model, which no path and no link leads out of its
    folder. Raises `DlnError` E617."""
    said = {text(e.key): text(e.value) for e in t.external_data}
    place, folder = said.get("location", ""), path.parent
    remedy = "put the file beside the model, or export it as one file"

    def refuse(what: str) -> DlnError:
        return Fault(
            f"{path}: {name} lies in {shown(place) or 'no file'}, {what}", remedy, "E617"
        ).at(None)

    outside = Path(place).is_absolute() or ".." in Path(place).parts
    if not place or "\0" in place or "\\" in place or outside:
        raise refuse("which is no file beside the model")
    real = Path(os.path.realpath(folder / place))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise refuse("a link that leaves the folder of the model")
    try:
        if not stat.S_ISREG(os.stat(real).st_mode):
            raise refuse("which is no ordinary file")
        start, length = (whole(said.get(k, d)) for k, d in (("offset", "0"), ("length", str(size))))
        if start is None or length != size or start + size > os.stat(real).st_size:
            raise refuse(f"of which its shape asks for {size:,} bytes that are not there")
        with open(real, "rb") as file:
            file.seek(start)
            return file.read(size)
    except OSError as e:
        raise refuse(f"which cannot be read: {e.strerror or e}") from e


def whole(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 20 else None
