"""`emit e`: a tensor. As a picture a vector is a curve, a matrix an image, more axes are tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.artefacts.made import Made, npy
from dln.compiler.plan import EmitSpec
from dln.grammar.diagnostics import clean
from dln.printing import pictures
from dln.printing.files import table
from dln.printing.terminal import number
from dln.runtime.session import Session

SHOWN = 20  # names of classes that are printed


def called(classes: tuple[str, ...], value: Any) -> str:
    """The name of a class; of what is none the number."""
    return classes[int(value)] if 0 <= value < len(classes) else number(value)


@dataclass(frozen=True)
class Array(Made):
    """An array with what it is called; `axis` is what its first one counts, `rows` the names of its
    second one where it is tiles [n, rows, h, w]; its values are `classes` that are called so."""

    array: NDArray[Any]
    label: str
    axis: str = "index"
    rows: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def text(self) -> str:
        """A number, a short row, or one line for each row; of classes their names."""
        if self.classes and self.array.ndim < 2:
            names = [called(self.classes, i) for i in self.array.reshape(-1)]
            return clean(", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN))
        if self.array.ndim < 2:
            return number(self.array)
        rows = self.array.reshape(self.array.shape[0], -1)
        return "\n" + "\n".join("  ".join(number(x) for x in row) for row in rows)

    def data(self) -> Any:
        return self._named() if self.classes else self.array

    def _named(self) -> Any:
        """The names of classes, in lists as the array has axes."""
        names = np.array([called(self.classes, i) for i in self.array.reshape(-1)], object)
        return names.reshape(self.array.shape).tolist()

    def numbers(self, kind: str) -> bytes:
        if kind == ".npy":
            return npy(self.array)
        rows = self.array.reshape((-1, 1) if self.array.ndim < 2 else (len(self.array), -1))
        if self.classes:
            named = [[called(self.classes, i) for i in row] for row in rows]
            return table(named) if kind == ".csv" else "".join(
                " ".join(row) + "\n" for row in named).encode()  # fmt: skip
        separator = "," if kind == ".csv" else " "
        lines = (separator.join(repr(x) for x in row) for row in rows.tolist())
        return "".join(line + "\n" for line in lines).encode()

    def picture(self, kind: str) -> bytes:
        return pictures.of_array(self.array, self.label, kind, self.axis, self.rows)


def made(session: Session, emit: EmitSpec, values: Mapping[str, NDArray[Any]]) -> Array:
    """The value of the task's program, of one to four axes where it becomes a picture."""
    part = emit.parts[0]
    return Array(values[part.key], part.label, part.axis, part.rows, part.classes)
