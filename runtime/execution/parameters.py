"""The parameters of a session as a user reads and writes them: `session.params`. A wrong name is
E560."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dln.grammar.diagnostics import DlnError, Problem
from dln.runtime.device.source_map import unknown
from dln.runtime.execution.store import HostArray, Store, put
from dln.runtime.readers.given import to_host


class Params(Mapping[str, Any]):
    """The parameters by path, as `session.params`.

    With NumPy the arrays are those that the programs use; on another device each is a `Handle`.
    Assigning to a path copies into its array, in its precision and broadcast to its shape. Dead
    entries stay 0: what is written into the array itself is put right before a program is run.
    Raises `DlnError` E560 for a path that is no parameter.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, path: str) -> Any:
        held = self._store.params
        if not isinstance(path, str) or path not in held:
            raise unknown("E560", "parameter", path, list(held))
        array = held[path]
        return array if type(array) is np.ndarray else Handle(self._store, path)

    def __setitem__(self, path: str, values: Any) -> None:
        array = to_host(values)
        if not isinstance(array, Problem) and array.dtype.kind not in "biuf":
            array = Problem("E552", f"holds {array.dtype}, and takes real numbers")
        if isinstance(array, Problem):
            message = f"the new {path} {array.message}"
            raise DlnError([Problem(array.code, message, remedy="give a number for each entry")])
        try:
            self[path][...] = array
        except (ValueError, TypeError, RuntimeError, OverflowError) as e:
            shape = list(self._store.params[path].shape)
            message = f"{path} takes numbers of the shape {shape}: {e}"
            raise DlnError([Problem("E551", message)]) from None
        self._store.clear_dead(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.params)

    def __len__(self) -> int:
        return len(self._store.params)

    def __repr__(self) -> str:
        shapes = (f"{p}{list(a.shape)}" for p, a in self._store.params.items())
        return f"Params({', '.join(shapes)})"


class Handle:
    """A parameter on a device: read as an array of the host, written through to the device."""

    def __init__(self, store: Store, path: str) -> None:
        self._store, self._path = store, path

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._store.params[self._path].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(str(self._store.params[self._path].dtype))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        found = self._store.device.to_host(self._store.params[self._path])
        return found if dtype is None else found.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        return self.__array__()[key]

    def __setitem__(self, key: Any, values: Any) -> None:
        host = self.__array__()
        host[key] = values
        put(self._store.device, self._store.params[self._path], host)

    def __repr__(self) -> str:
        return f"Handle({self._path!r}, {self.__array__()!r})"
