"""Checkpoints: named arrays and plain facts in one safetensors file, whole or not at all.

The format leaves three gaps, closed here: arrays are made C-contiguous before saving (others come
back with wrong values, safetensors issue 825); a SHA-256 of each tensor is verified at load; all
metadata is one key holding sorted JSON, so equal contents give equal bytes. The digest of that
JSON is stored as well, so a checkpoint is either what was saved or refused.

Faults: E530 not a checkpoint, E531 damaged contents, E532 other tensors than expected, E533 what
cannot be stored, E534 the system refuses to write or read.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dln.grammar.diagnostics import Fault, nearest

Arrays = dict[str, NDArray[Any]]
KEY = "dln"
FORMAT = 1
BODY = {"format", "meta", "tensors"}
HEADER = 100_000_000  # bytes of the header of a safetensors file, at most
STORED = frozenset(
    "float64 float32 float16 int64 int32 int16 int8 uint64 uint32 uint16 uint8".split()
)
AGAIN = "use an earlier checkpoint"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def atomic_write(path: str | PathLike[str], data: bytes) -> None:
    """Write a file so that a reader, and a crash at any moment, sees the old or the new one.

    Temporary file in the same folder, flush, fsync, rename, fsync of the folder (Pillai et al.,
    "All file systems are not created equal", OSDI 2014). The temporary is removed on any
    exception. Raises OSError, also where a device or a pipe stands there: it would be replaced.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no ordinary file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
        if os.name == "posix":  # others do not open folders, and order the rename themselves
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@contextmanager
def refusing(verb: str, path: object, remedy: str, code: str) -> Iterator[None]:
    """Where the system refuses what is done inside, a `Fault` with this code says so; space is
    asked for where none is left."""
    try:
        yield
    except OSError as e:
        remedy = remedy if e.errno in FULL else remedy.removeprefix("free some space, or ")
        raise Fault(f"cannot {verb} {path}: {e.strerror or e}", remedy, code) from e
    except ValueError as e:
        if "null" not in str(e):
            raise
        raise Fault(f"cannot {verb} {path!r}: no path holds this", "another name", code) from e


def save(
    path: str | PathLike[str], arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, object]
) -> None:
    """Save arrays by name, of any shape, with plain facts (what JSON can hold), atomically. Raises
    `Fault` E533 for what cannot be stored, E534 where the system refuses."""
    with refusing("write", path, "free some space, or choose another folder", "E534"):
        atomic_write(path, encode(arrays, meta))


def load(path: str | PathLike[str]) -> tuple[Arrays, dict[str, Any]]:
    """The arrays and facts of a checkpoint, every byte of them verified. Raises `Fault` E530, E531
    or E534, as `contents` and `decode` do."""
    return decode(contents(path), str(path))


def contents(path: str | PathLike[str]) -> bytes:
    """The bytes of a checkpoint, which is an ordinary file whose head says its length. Raises
    `Fault` E530 where it is cut short, E534 where it cannot be read."""
    remedy = "check the path of the checkpoint"
    with refusing("read", path, remedy, "E534"):
        size = os.stat(path)
        if not stat.S_ISREG(size.st_mode):
            raise Fault(f"cannot read {path}: it is no ordinary file", remedy, "E534")
        with open(path, "rb") as file:
            _check_head(file.read(8), size.st_size, str(path))
            file.seek(0)
            return file.read()


def _check_head(head: bytes, length: int, name: str) -> None:
    """Raise `Fault` E530 where a file is too short for the header that its first bytes tell of."""
    size = int.from_bytes(head, "little")
    if len(head) < 8 or size > length - 8 or size > HEADER:
        found = f"it has {length:,} bytes, its header alone says {size:,}"
        raise Fault(f"{name} is cut short or no safetensors file: {found}", AGAIN, "E530")


def encode(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, object]) -> bytes:
    """The bytes of a checkpoint of arrays by name; equal for equal contents, whatever their order.
    Raises `Fault` E533 for arrays or facts that cannot be stored."""
    from safetensors.numpy import save as pack  # late: its import is slow

    packed = {name: _storable(name, arrays[name]) for name in sorted(arrays)}
    body = {
        "format": FORMAT,
        "meta": dict(meta),
        "tensors": {name: _digest(name, a) for name, a in packed.items()},
    }
    try:
        text = _canonical(body)
    except (TypeError, ValueError) as e:
        raise Fault(f"the facts of a checkpoint must be plain data: {e}", code="E533") from e
    return bytes(pack(packed, {KEY: _canonical({"body": text, "sha256": sha256(text.encode())})}))


def decode(data: bytes, name: str) -> tuple[Arrays, dict[str, Any]]:
    """The contents of the bytes of a checkpoint; `name` is the file, for messages. Raises `Fault`
    E530 for what is no checkpoint, E531 where a hash differs."""
    body = _body(data, name)
    arrays = _tensors(data, name)
    if arrays.keys() != body["tensors"].keys():
        lost = ", ".join(sorted(arrays.keys() ^ body["tensors"].keys())[:5])
        raise Fault(f"{name} is damaged: its list of tensors differs in {lost}", AGAIN, "E531")
    for key, a in arrays.items():
        if _digest(key, a) != body["tensors"][key]:
            raise Fault(f"{name} is damaged: the hash of tensor {key} differs", AGAIN, "E531")
    return arrays, body["meta"]


def any_arrays(path: str | PathLike[str]) -> Arrays:
    """The arrays by name, of any shape, of a checkpoint, verified, or of any other safetensors
    file. Raises `Fault` E530, E531 or E534."""
    data, name = contents(path), str(path)
    size = int.from_bytes(data[:8], "little")
    try:
        ours = KEY in json.loads(data[8 : 8 + size]).get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError, TypeError):
        ours = False
    return decode(data, name)[0] if ours else _tensors(data, name)


def _storable(name: str, a: NDArray[Any]) -> NDArray[Any]:
    """The array in C order and native byte order; `reshape` since NumPy makes 0-d into 1-d."""
    if a.dtype.name not in STORED and a.dtype != np.bool_:
        wanted = "a checkpoint holds real numbers, integers and truth values"
        raise Fault(f"tensor {name} is {a.dtype}, but {wanted}", code="E533")
    if not name or name == "__metadata__":
        raise Fault(f'a tensor cannot be called "{name}"', code="E533")
    return np.ascontiguousarray(a, a.dtype.newbyteorder("=")).reshape(a.shape)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def sha256(data: bytes) -> str:
    """The digest of some bytes, in hexadecimal digits."""
    from hashlib import sha256  # late: OpenSSL

    return sha256(data).hexdigest()


def _digest(name: str, a: NDArray[Any]) -> str:
    """SHA-256 over name, type, shape and contents: none of them can change unseen."""
    from hashlib import sha256  # late: OpenSSL

    found = sha256(_canonical([name, a.dtype.name, list(a.shape)]).encode())
    found.update(a.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over arrays by name, with their types and shapes, whatever their order: equal for
    equal bits."""
    found = {name: _digest(name, _storable(name, a)) for name, a in arrays.items()}
    return sha256(_canonical(found).encode())


def _tensors(data: bytes, name: str) -> Arrays:
    """Writable copies of the tensors; the format's own checks refuse lying headers."""
    from safetensors import SafetensorError  # late: its import is slow
    from safetensors.numpy import load as unpack  # late: its import is slow

    try:
        return {key: np.array(a) for key, a in unpack(data).items()}
    except (SafetensorError, ValueError, KeyError, TypeError) as e:
        raise Fault(f"{name} is no readable safetensors file: {e}", AGAIN, "E530") from e


def _body(data: bytes, name: str) -> dict[str, Any]:
    """The one metadata entry of ours, verified against its own digest."""
    _check_head(data[:8], len(data), name)
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size], object_pairs_hook=_unique)
        outer = json.loads(header["__metadata__"][KEY])
        text = outer["body"]
        intact = sha256(text.encode()) == outer["sha256"]
        body: dict[str, Any] = json.loads(text) if intact else {}
        if intact and (body.keys() != BODY or not isinstance(body["tensors"], dict)):
            raise ValueError("it does not say what a checkpoint says")
        if intact and not isinstance(body["meta"], dict):
            raise ValueError("its facts are none")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        wanted = "its header is damaged or was not written by dln"
        raise Fault(f"{name} is no checkpoint of dln: {wanted}", AGAIN, "E530") from e
    if not intact:
        raise Fault(f"{name} is damaged: the hash of its facts differs", AGAIN, "E531")
    if body["format"] != FORMAT:
        message = f"{name} has checkpoint format {body['format']}, this dln reads {FORMAT}"
        raise Fault(message, "use the version of dln that wrote it", "E530")
    return body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """safetensors accepts a name twice although its format forbids it."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def compare_keys(
    expected: Mapping[str, tuple[tuple[int, ...], DTypeLike]],
    found: Mapping[str, NDArray[Any]],
) -> None:
    """Raise `Fault` E532 where tensors are not exactly the expected ones, each of a shape and a
    type, and say how they differ."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    lines = [f"{name} is missing{_hint(name, extra)}" for name in missing]
    lines += [f"{name} is not expected{_hint(name, missing)}" for name in extra]
    for name in sorted(expected.keys() & found.keys()):
        shape, dtype = expected[name]
        want = f"{np.dtype(dtype)}{list(shape)}"
        got = f"{found[name].dtype}{list(found[name].shape)}"
        if want != got:
            lines.append(f"{name} is {got}, expected {want}")
    if lines:
        more = f"; and {len(lines) - 5} more" if len(lines) > 5 else ""
        message = f"the tensors differ from those of the spec: {'; '.join(lines[:5])}{more}"
        raise Fault(message, "load it with the spec and the constants it was made with", "E532")


def _hint(name: str, others: list[str]) -> str:
    near = nearest(name, others)
    return f" (nearest: {near})" if near else ""
