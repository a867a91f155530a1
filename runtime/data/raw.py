"""What the readers of data sets give, each read once.

Problems: those of readers, and E557 a file that holds another number of examples than it did when
the spec was read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from dln.compiler.plan import DataSource, DataSpec, Plan, RawInput, Stretch
from dln.grammar.diagnostics import DlnError, Fault
from dln.runtime.data.dealt import Together
from dln.runtime.data.division import ChosenRows
from dln.runtime.readers import handed, readers
from dln.runtime.readers.frames import numbered
from dln.runtime.readers.npz.file_rows import FileRows
from dln.runtime.readers.validation import Arrays, check_fields

IN_FILES, BY_ROWS, WHOLE = "in files", "by rows", "whole"
Read = Callable[[DataSource, Stretch | None], dict[str, NDArray[Any]]]


class RawData:
    """The arrays of data sets before fields are made of them, read by `read`; what is `handed` over
    has been looked at before. Several ranks keep some sets `together`."""

    def __init__(self, plan: Plan, read: Read, handed: bool, together: Together) -> None:
        self._plan, self._read, self._handed, self._together = plan, read, handed, together
        self._raw: dict[tuple[str, Stretch | None], Arrays] = {}
        self._ways: dict[str, str] = {}
        self._rowwise: set[str] = set()

    def arrays(self, spec: DataSpec, rows: ChosenRows) -> tuple[Arrays, ChosenRows]:
        """What the reader of a set gives, by the inputs of its program, and where in that the
        examples asked for are. A set is read as a whole where a whole part is asked for, as others
        may be; of fewer examples they alone, where they are a stretch of the file."""
        start, count = rows.first, rows.count
        parts = map(spec.stretch, spec.parts)
        whole = rows.listed is not None or count == spec.count or (start, count) in parts
        stretch = None if whole else Stretch(start, start + count, spec.count)
        known = next((s for s in (None, stretch) if (spec.name, s) in self._raw), stretch)
        if (spec.name, known) not in self._raw:
            self._raw[spec.name, known] = self._made(spec, known)
        return self._raw[spec.name, known], rows if known is None else ChosenRows(0, count)

    def _made(self, spec: DataSpec, stretch: Stretch | None) -> Arrays:
        if spec.reader == "given" and spec.override is None and not self._handed:
            raise handed.unhanded(spec.source, spec.name)
        raw = self._by_rows(spec, stretch) or self._read(spec.source, stretch)
        if spec.reader == "given" and not self._handed:
            raw = self._fitting(spec, raw)
        count = len(next(iter(raw.values())))
        if stretch is None and count != spec.count:
            message = f"{spec.name} holds {count:,} examples, but held {spec.count:,} before"
            raise Fault(message, "compile the spec again", "E557")
        return {str(RawInput(spec.name, key)): a for key, a in raw.items()}

    def _by_rows(self, spec: DataSpec, stretch: Stretch | None) -> dict[str, Any] | None:
        """The arrays of a set that ranks keep together as they lie in their files, where these can
        be read by rows."""
        if self._read is not readers.read or not self._together.concerns(spec):
            return None
        found = readers.by_rows(spec.source, stretch)
        if found is not None:
            self._rowwise.add(spec.name)
        return found

    def _fitting(self, spec: DataSpec, raw: Arrays) -> Arrays:
        """What a file has for a set that wants to be handed its examples. Raises `DlnError`, with
        the file's name."""
        try:
            names = handed.names_of(spec.source)
            raw = {k: numbered(a, names.get(k), k) for k, a in raw.items()}
            return check_fields(spec.raw, raw, f"the data set {spec.name}", self._plan.texts)
        except DlnError as error:
            said = (replace(p, message=f"{spec.override}: {p.message}") for p in error.problems)
            raise DlnError(list(said)) from None

    def found(self, spec: DataSpec, rows: ChosenRows) -> str:
        """How the examples of a set can be had: they stay in their files, can be read by rows, or
        only whole."""

        def looked() -> str:
            raw, _ = self.arrays(spec, rows)
            if not any(isinstance(a, FileRows) for a in raw.values()):
                return WHOLE
            return BY_ROWS if spec.name in self._rowwise else IN_FILES

        if spec.name not in self._ways:
            self._ways[spec.name] = self._together.first(spec, looked)
        return self._ways[spec.name]

    def let_go(self) -> None:
        """Let go of what fields were made of, where ranks keep these together."""
        for name, stretch in list(self._raw):
            if self._together.concerns(self._plan.data[name]):
                del self._raw[name, stretch]
