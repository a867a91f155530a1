"""Arrays by name in a safetensors file, for a phase that starts from them.

The header says names and shapes, so that these are known when a spec is read; nothing else of the
file is looked at then. A file is plain arrays, and holds no code.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dln.compiler.schema.headers import DataSource, HeaderField, Schema, Stretch
from dln.grammar.diagnostics import Fault
from dln.runtime.readers.files import file_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER = 100_000_000  # bytes of the header of a safetensors file, at most
REAL = ("F64", "F32", "F16")


def header_probe(decl: DataSource) -> Schema:
    """The names and shapes of the arrays of real numbers in a file. Raises `Fault` E503."""
    path = file_of(decl)
    size, found = path.stat().st_size, dict[str, HeaderField]()
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            if not 2 <= length <= min(size - 8, HEADER):
                raise ValueError(f"it has {size:,} bytes, its header alone says {length:,}")
            header = json.loads(file.read(length))
            for name, said in header.items():
                if name != "__metadata__" and said["dtype"] in REAL:
                    shape = tuple(int(n) for n in said["shape"])
                    found[str(name)] = HeaderField(shape, "real")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            message = f"{path} is cut short or no safetensors file: {e}"
            raise Fault(
                message, "a file that session.save, or safetensors, has written", "E503"
            ) from e
    return Schema(found, 1)


def arrays_read(decl: DataSource, stretch: Stretch | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name, each of its own shape. Raises `Fault` E503."""
    from safetensors import SafetensorError  # late: its import is slow
    from safetensors.numpy import load  # late: its import is slow

    path = file_of(decl)
    try:
        return dict(load(path.read_bytes()))
    except (SafetensorError, ValueError, KeyError, TypeError) as e:
        message = f"{path} is no readable safetensors file: {e}"
        raise Fault(message, "a file that session.save, or safetensors, has written", "E503") from e
