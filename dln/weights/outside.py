"""Arrays of other tools by name: what a file holds, as its headers say, before anything is read.

No file is executed or unpickled. A shape is told from the header, and the length that it asks for
is compared with the file before memory is taken. Faults: E625 a kind of file that is not read, or
what holds objects; E534 where the system refuses; E629 one that is damaged.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import CheckpointKey
from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint import checkpoint, foreign
from dln.runtime.readers.files import EXPANSION
from dln.weights.held import OutsideArray, WeightsFile, damaged

SAFE = 'from safetensors.torch import save_file; save_file(model.state_dict(), "w.safetensors")'
KEPT = 'numpy.savez("w.npz", **{v.path: v.numpy() for v in model.variables})'
PLAIN = 'numpy.savez("w.npz", name=numpy.asarray(array, dtype=float), ...)'
KINDS = ".safetensors, .npz or .mat"
PICKLED = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".joblib")
HDF5 = (".h5", ".hdf5", ".keras")
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Real numbers of a safetensors file. NumPy has no bfloat16: its bits are the upper half of a
float32."""
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError)
OTHERS = {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}


def outside(word: str) -> WeightsFile:
    """The arrays of a file, or of the newest checkpoint of a run. Raises `Fault` E625, E629, and
    those of a checkpoint."""
    path = Path(word)
    if path.is_dir():
        return _held(*foreign.read(path))
    _known_kind(path)
    with checkpoint.refusing("read", path, "check the path of the weights", "E534"):
        with open(path, "rb") as file:
            begin = file.read(128)
    if begin[:8] == b"\x89HDF\r\n\x1a\n" or b"MATLAB 7.3" in begin:
        if path.suffix == ".mat":
            raise Fault(f"{path} is a MAT file of version 7.3", 'save("w.mat", "-v7") in MATLAB',
                        "E625")  # fmt: skip
        raise Fault(f"{path} is an HDF5 file", KEPT, "E625")
    if path.suffix == ".mat":
        from dln.weights.matlab import variables  # late: SciPy

        return WeightsFile(path, *variables(path))
    if zipfile.is_zipfile(path) and begin[:2] == b"PK":
        return _zipped(path)
    if begin[:1] == b"\x80" and begin[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        raise Fault(f"{path} is a pickle, which is a program: it is not run", SAFE, "E625")
    return _safetensors(path)


def _known_kind(path: Path) -> None:
    """Raise `Fault` E625 for what is known by its name not to be read."""
    if path.suffix in PICKLED:
        raise Fault(f"{path} is a pickle, which is a program: it is not run", SAFE, "E625")
    if path.suffix in HDF5:
        raise Fault(f"{path} is a file of Keras, which is not read", KEPT, "E625")
    if path.suffix not in (".safetensors", ".npz", ".mat"):
        found = path.suffix or path.name
        raise Fault(f"weights are read from {KINDS}, not {found}", SAFE, "E625")


def _held(path: Path, arrays: Mapping[str, NDArray[Any]]) -> WeightsFile:
    """Arrays that were read whole."""
    real = {k: a for k, a in arrays.items() if a.dtype.kind == "f"}
    others = {k: f"holds {a.dtype}" for k, a in arrays.items() if k not in real}
    found = {k: OutsideArray(a.shape, partial(np.asarray, a)) for k, a in real.items()}
    return WeightsFile(path, found, others)


# ---- safetensors -------------------------------------------------------------------------------


def _safetensors(path: Path) -> WeightsFile:
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, checkpoint.HEADER):
                raise ValueError(f"it has {size:,} bytes, its header alone says {length:,}")
            header = json.loads(file.read(length), object_pairs_hook=_unique)
        if checkpoint.KEY in (header.get("__metadata__") or {}):  # of ours, with hashes
            arrays = checkpoint.load(path)[0]
            return _held(path, {k: a for k, a in arrays.items() if not CheckpointKey.parse(k)})
        found = dict[str, OutsideArray]()
        others = dict[str, str]()
        for name, said in header.items():
            if name == "__metadata__":
                continue
            shape = tuple(int(n) for n in said["shape"])
            start, stop = (int(n) for n in said["data_offsets"])
            dtype = str(said["dtype"])
            width = np.dtype(TYPES[dtype]).itemsize if dtype in TYPES else OTHERS.get(dtype)
            at = 8 + length + start
            if start < 0 or min(shape, default=0) < 0 or 8 + length + stop > size:
                raise ValueError(f"{name} lies beyond its end")
            if width and stop - start != prod(shape) * width:
                raise ValueError(f"{name} is {list(shape)} and has {stop - start:,} bytes")
            if dtype in TYPES:
                found[name] = OutsideArray(shape, _stretch(path, at, dtype, shape))
            else:
                others[name] = f"holds {dtype}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise damaged(path, e) from e
    return WeightsFile(path, found, others)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _stretch(path: Path, at: int, dtype: str, shape: tuple[int, ...]) -> Callable[[], NDArray[Any]]:
    """How the numbers of a shape are read that begin at a place of the file."""

    def read() -> NDArray[Any]:
        numbers = np.fromfile(path, TYPES[dtype], prod(shape), offset=at)
        if numbers.size != prod(shape):
            raise damaged(path, "it ends early")
        if dtype == "BF16":
            numbers = (numbers.astype("<u4") << 16).view("<f4")
        return numbers.reshape(shape).astype(numbers.dtype.newbyteorder("="), copy=False)

    return read


# ---- npz ---------------------------------------------------------------------------------------


def _zipped(path: Path) -> WeightsFile:
    """The arrays of an `.npz` file. Raises `Fault` E625 for a zip of a pickle, or of objects."""
    found = dict[str, OutsideArray]()
    others = dict[str, str]()
    try:
        with zipfile.ZipFile(path) as z:
            if any(n.endswith("data.pkl") for n in z.namelist()):
                raise Fault(f"{path} is a pickle, which is a program: it is not run", SAFE, "E625")
            if len(z.namelist()) != len(set(z.namelist())):
                raise damaged(path, "a name occurs twice")
            for info in z.infolist():
                name = info.filename.removesuffix(".npy")
                if name == info.filename:
                    others[name] = "is no array"
                    continue
                with z.open(info) as member:
                    shape, _, dtype = _npy_header(path, member, info)
                if dtype.kind == "f":
                    found[name] = OutsideArray(shape, _member(path, info.filename))
                else:
                    others[name] = f"holds {dtype}"
    except BROKEN as e:
        raise damaged(path, e) from e
    return WeightsFile(path, found, others)


def _npy_header(
    path: Path, member: IO[bytes], info: zipfile.ZipInfo
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of a member, whose length is what these ask for. Raises `Fault` E625
    for objects, E629 where it is not."""
    from numpy.lib import format as npy  # late: seldom needed

    try:
        version = npy.read_magic(member)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, turned, dtype = read(member)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as e:
        raise damaged(path, f'the header of "{info.filename}": {str(e)[:100]}') from e
    if dtype.hasobject:
        text = f'"{info.filename}" in {path} holds objects of Python, which are programs'
        raise Fault(text, PLAIN, "E625")
    length = member.tell() + prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or length != info.file_size:
        raise damaged(path, f'"{info.filename}" is {list(shape)} and has {info.file_size:,} bytes')
    if length > info.compress_size * EXPANSION + 65536:
        raise damaged(path, f'"{info.filename}" says {length:,} bytes of {info.compress_size:,}')
    return shape, turned, dtype


def _member(path: Path, name: str) -> Callable[[], NDArray[Any]]:
    """How the numbers of a member are read."""

    def read() -> NDArray[Any]:
        try:
            with zipfile.ZipFile(path) as z, z.open(info := z.getinfo(name)) as member:
                shape, turned, dtype = _npy_header(path, member, info)
                data = member.read(prod(shape) * dtype.itemsize)
            numbers = np.frombuffer(data, dtype).reshape(shape, order="F" if turned else "C")
        except BROKEN as e:
            raise damaged(path, e) from e
        return np.ascontiguousarray(numbers, dtype.newbyteorder("=")).reshape(shape)

    return read
