"""A session of a run that was opened: `dln.open("runs/mlp-1")`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.applying.application import AppliedRun
from dln.applying.opening import NEWEST, opened
from dln.applying.writing import sink
from dln.compiler.schema import arguments
from dln.grammar.diagnostics import Fault
from dln.runtime.session import Session
from dln.spec import Spec


class OpenedSession(Session):
    """The session of a recorded run. `spec` is its spec, `checkpoint` the file that it was opened
    with, `notes` are what is to be said of it."""

    spec: Spec
    checkpoint: str
    notes: tuple[str, ...]

    def predict(
        self, path: str, data: Any, to: str | os.PathLike[str] | None = None,
        keep: tuple[str, ...] | list[str] = (), probabilities: bool = False,
        like: str | None = None,
    ) -> dict[str, NDArray[Any]]:  # fmt: skip
        """An instance applied to new data as `dln apply` does it: a file, or raw values as the
        reader of the data set gives them (a frame, arrays by name, an array).

        The results are arrays [example, ...] by name; beside those that tell classes apart the
        names of the classes, under that of the field, and `probabilities`. With `to` they are
        written to a file, and nothing is given back. `keep` hands columns through, `like` is the
        data set that the new data are read as. Raises `DlnError`: E578 to E585, and what is wrong
        with data.
        """
        with _faults():
            application = self._application(path, like)
            source = application.source(data, tuple(keep))
            if to is not None:
                with sink(str(to)) as made:
                    application.write(source, made, probabilities, tuple(keep))
                return {}
            held = _Held()
            application.write(source, held, probabilities, tuple(keep))
            return held.joined()

    def _application(self, path: str, like: str | None) -> AppliedRun:
        """An instance with what feeds it, which is found out once."""
        known: dict[tuple[str, str | None], AppliedRun] = self.__dict__.setdefault("_known", {})
        if (path, like) not in known:
            known[path, like] = AppliedRun(self.spec, self, path, like)
        return known[path, like]

    def apply(self, path: str, *arrays: object, **named: object) -> Any:
        """An instance applied to examples, as `Session.apply`; to a file as `predict`."""
        if len(arrays) == 1 and isinstance(arrays[0], str | os.PathLike):
            return self.predict(path, arrays[0], **named)  # type: ignore[arg-type]
        return super().apply(path, *arrays, **named)


class _Held:
    """ToldResults kept in memory."""

    arrays = True

    def __init__(self) -> None:
        self.parts: dict[str, list[NDArray[Any]]] = {}

    def begin(self) -> None:
        self.parts.clear()

    def put(self, found: dict[str, NDArray[Any]]) -> None:
        for name, array in found.items():
            self.parts.setdefault(name, []).append(array)

    def end(self) -> None:
        """All is here."""

    def joined(self) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate(some) for name, some in self.parts.items()}


@contextmanager
def _faults() -> Iterator[None]:
    """Faults without a place as errors."""
    try:
        yield
    except Fault as fault:
        raise fault.at(None) from None


@arguments.verb
def open(
    run: str | os.PathLike[str], *, checkpoint: str = NEWEST, backend: str | None = None,
    threads: int | None = None, dtype: str | None = None,
) -> OpenedSession:  # fmt: skip
    """A recorded run, by its directory, with what it has learnt: its newest checkpoint, the "best"
    or the name of a file among them.

    Neither the file of the spec nor its data are needed, unless it is trained on. Raises `DlnError`
    E541 for one that is not as it was left, E548 for what is no run, E577 where nothing was
    trained, E520 for a backend that there is not.
    """
    threads = None if threads is None else arguments.whole("threads", threads, 1)
    for name, value in {"checkpoint": checkpoint, "backend": backend, "dtype": dtype}.items():
        if value is not None and not isinstance(value, str):
            arguments.refuse(f"{name} must be a text, not {arguments.shown(value)}")
    found = opened(run, checkpoint, backend, threads, dtype)
    session = found.session
    session.__class__ = OpenedSession
    assert isinstance(session, OpenedSession)
    session.spec, session.checkpoint = found.spec, str(found.checkpoint)
    session.notes = found.notes
    return session
