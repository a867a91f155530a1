"""Files of data read once by a process, whatever number of sessions asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.schema.headers import DataSource, Stretch
from dln.runtime.readers import readers

MOST = 8  # sets kept; the one asked for least recently goes first


class ReadCache:
    """The arrays of the sets read last, by how they were declared; they cannot be written to.

    A file that changes meanwhile is not read again. What no file holds is made anew each time.
    """

    def __init__(self) -> None:
        self._sets: dict[str, dict[str, NDArray[Any]]] = {}

    def read(self, decl: DataSource, stretch: Stretch | None = None) -> dict[str, NDArray[Any]]:
        """What `readers.read` gives, [example, ...] by field. Raises its faults."""
        if not readers.reader_of(decl).files:
            return readers.read(decl, stretch)
        key = repr((decl, stretch))
        found = self._sets.pop(key, None)
        if found is None:
            found = readers.read(decl, stretch)
            for array in found.values():
                if isinstance(array, np.ndarray):  # what stays in its file is not written to
                    array.flags.writeable = False
        self._sets[key] = found
        if len(self._sets) > MOST:
            del self._sets[next(iter(self._sets))]
        return found
