"""Variables of a MAT file, versions 5 to 7.2, by SciPy. Faults: E625 for files with objects or
functions, E628 where SciPy is not there, E629 for damaged ones."""

from __future__ import annotations

from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dln.grammar.diagnostics import Fault
from dln.runtime.readers.files import EXPANSION
from dln.weights.held import OutsideArray, damaged

REAL = {"double": 8, "single": 4}
CODE = ("function", "object", "opaque")


def variables(path: Path) -> tuple[dict[str, OutsideArray], dict[str, str]]:
    """The arrays of real numbers by name, and why other variables are none. Raises `Fault` E625,
    E628 or E629."""
    try:
        scipy = import_module("scipy.io")
    except ImportError:
        text = f"SciPy, which reads {path}, is not there"
        raise Fault(text, "pip install 'dln[mat]'", "E628") from None
    with open(path, "rb") as file:
        head = file.read(128)
    if head[126:128] not in (b"IM", b"MI") or len(head) < 128:
        text = f"{path} is no MAT file of the versions 5 to 7.2"
        raise Fault(text, 'save("w.mat", "-v7") in MATLAB', "E625")
    try:
        listed = scipy.whosmat(str(path))
    except Exception as e:  # SciPy raises many kinds where a file is damaged
        raise damaged(path, e) from e
    found, others = dict[str, OutsideArray](), dict[str, str]()
    for name, shape, kind in listed:
        if kind in CODE:
            text = f"{path} holds {name}, of the class {kind}, which is a program: it is not read"
            raise Fault(text, 'save("w.mat", "-v7", "W", "b"): the arrays alone', "E625")
        if kind not in REAL:
            others[str(name)] = f"is of the class {kind}"
            continue
        size = tuple(int(n) for n in shape)
        if min(size, default=0) < 0 or prod(size) * REAL[kind] > path.stat().st_size * EXPANSION:
            raise damaged(path, f"{name} says {list(size)}")
        found[str(name)] = OutsideArray(size, _reader(path, str(name), size))
    return found, others


def _reader(path: Path, name: str, shape: tuple[int, ...]) -> Any:
    """How a variable is read."""

    def read() -> NDArray[Any]:
        try:
            array = import_module("scipy.io").loadmat(
                str(path), variable_names=[name], mat_dtype=True
            )[name]
        except Exception as e:  # SciPy raises many kinds where a file is damaged
            raise damaged(path, e) from e
        if array.shape != shape or array.dtype.kind != "f":
            raise damaged(path, f"{name} is {array.dtype}{list(array.shape)}")
        return array  # type: ignore[no-any-return]

    return read
