"""What an instance gives, as columns that a person reads: classes by name, probabilities, numbers.

Faults: E582 results that no table holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.applying.feeding import InstanceFeed
from dln.compiler.plan import AppliedSpec, DataSpec
from dln.grammar.diagnostics import Fault

Values = Mapping[str, NDArray[Any]]
WIDEST = 1000  # numbers of an example that stand in columns


@dataclass(frozen=True)
class ToldColumn:
    """A column of what came out: texts, or numbers [rows]; a `share` needs few digits."""

    name: str
    values: Any
    share: bool = False


class ToldResults:
    """What an instance gives, by what its results are: of those that tell classes apart the class,
    and how probable that is."""

    def __init__(
        self, spec: DataSpec, applied: AppliedSpec, feed: InstanceFeed, every: bool,
        kept: Sequence[str],
    ) -> None:  # fmt: skip
        self.spec, self.applied, self.feed, self.every = spec, applied, feed, every
        self.kept = frozenset(kept)
        self.labels = {f.name: f for f in spec.fields if f.name in feed.labels}

    def label_of(self, name: str, values: NDArray[Any]) -> str:
        """The field of classes that a result tells apart, "" where it is none: as many numbers for
        each example, or each step, as there are classes."""
        timed = name in self.feed.timed
        axes = values.ndim - 1 - timed
        return self._told_apart(values.shape[-1], timed) if axes == 1 else ""

    def _told_apart(self, size: int, timed: bool) -> str:
        fits = [k for k, f in self.labels.items() if f.classes == size
                and (not f.shape or (timed and f.timed and len(f.shape) == 1))]  # fmt: skip
        return fits[0] if len(fits) == 1 else ""

    def names_of(self, label: str) -> tuple[str, ...]:
        """What its classes are called: by their numbers where they have no names."""
        classes = self.labels[label].classes or 0
        letters = self.feed.alphabet or ""
        known = self.spec.names.get(label) or (tuple(letters) if len(letters) == classes else ())
        return known or tuple(map(str, range(classes)))

    def likely(self, name: str, values: NDArray[Any]) -> NDArray[np.float64] | None:
        """Probabilities [..., class] of a result; None where it gives other numbers."""
        if name in self.feed.probable:
            return np.asarray(values, np.float64)
        if not self.feed.logit:
            return None
        z = np.asarray(values, np.float64)
        e = np.exp(z - z.max(-1, keepdims=True))
        found: NDArray[np.float64] = e / e.sum(-1, keepdims=True)
        return found

    # ---- as columns ----------------------------------------------------------------------------

    def columns(
        self, values: Values, kept: Mapping[str, Sequence[str]], gone: NDArray[np.bool_] | None,
        first: int, lengths: NDArray[np.int64] | None,
    ) -> list[ToldColumn]:  # fmt: skip
        """The columns of some examples; `gone` are those that have no result. Of what runs over
        time each step is a row. Raises `Fault` E582."""
        timed = [n for n in values if n in self.feed.timed]
        if not timed:
            found = [ToldColumn(k, list(cells)) for k, cells in kept.items()]
            for name, array in values.items():
                found += self._blank(self._told(name, array, False), gone)
            return found
        if len(timed) < len(values):
            raise Fault("some results run over time, others do not", "--to out.npz", "E582")
        n, steps = next(iter(values.values())).shape[:2]
        ends = np.full(n, steps) if lengths is None else lengths
        at = np.arange(steps) < ends[:, None]
        example, step = np.nonzero(at)
        found = [ToldColumn("example", first + example), ToldColumn("step", step)]
        found += [ToldColumn(k, [cells[i] for i in example.tolist()]) for k, cells in kept.items()]
        for name, array in values.items():
            found += self._told(name, array[at], True)
        return found

    def _told(self, name: str, array: NDArray[Any], timed: bool) -> list[ToldColumn]:
        """A result [rows, ...] as columns."""
        label = self._told_apart(array.shape[1], timed) if array.ndim == 2 else ""
        if label:
            return self._classes(name, label, array)
        flat = array.reshape(len(array), -1)
        if flat.shape[1] > WIDEST:
            text = f"{name} has {flat.shape[1]:,} numbers for each example, too many for columns"
            raise Fault(text, "--to out.npz", "E582")
        if array.ndim == 1:
            return [ToldColumn(self._free(name), array)]
        return [ToldColumn(f"{name}[{','.join(map(str, np.unravel_index(i, array.shape[1:])))}]",
                     flat[:, i]) for i in range(flat.shape[1])]  # fmt: skip

    def _classes(self, name: str, label: str, array: NDArray[Any]) -> list[ToldColumn]:
        names, likely = self.names_of(label), self.likely(name, array)
        chosen = array.argmax(1)
        many = len(self.applied.results) > 1
        head = self._free(f"{name}.{label}" if many else label)
        texts = np.array(names, object)[chosen]
        found = [ToldColumn(head, texts.tolist())]
        if self.every:
            shown = array if likely is None else likely
            mark = f"{name}." if many else ""
            lead = mark + ("score of" if likely is None else "p")
            found += [ToldColumn(f"{lead} {n}", shown[:, i], likely is not None)
                      for i, n in enumerate(names)]  # fmt: skip
        elif likely is not None:
            most = likely[np.arange(len(array)), chosen]
            found.append(
                ToldColumn(self._free(f"{name}.probability" if many else "probability"), most, True)
            )
        return found

    def _free(self, name: str) -> str:
        """The name of a column that is no column handed through."""
        return f"predicted {name}" if name in self.kept else name

    def _blank(self, found: list[ToldColumn], gone: NDArray[np.bool_] | None) -> list[ToldColumn]:
        """Columns with nothing where an example has no result."""
        if gone is None or not gone.any():
            return found
        return [ToldColumn(t.name, _blanked(t.values, gone), t.share)
                for t in found]  # fmt: skip

    # ---- as arrays -----------------------------------------------------------------------------

    def arrays(
        self, values: Values, kept: Mapping[str, Sequence[str]], gone: NDArray[np.bool_] | None,
        lengths: NDArray[np.int64] | None,
    ) -> dict[str, NDArray[Any]]:  # fmt: skip
        """The results of some examples as they are, with the classes by name and their
        probabilities. Where there is no result numbers are NaN, names empty."""
        found: dict[str, NDArray[Any]] = {k: np.array(cells, str) for k, cells in kept.items()}
        many = len(values) > 1
        for name, array in values.items():
            blank = gone is not None and gone.any()
            found[self._free(name)] = _nan(array, gone) if blank and gone is not None else array
            label = self.label_of(name, array)
            if not label:
                continue
            names, likely = self.names_of(label), self.likely(name, array)
            texts = np.array(names)[array.argmax(-1)]
            if blank:
                texts[gone] = ""
            found[self._free(f"{name}.{label}" if many else label)] = texts
            if likely is not None and name not in self.feed.probable:
                key = f"{name}.probabilities" if many else "probabilities"
                found[self._free(key)] = (
                    _nan(likely, gone) if blank and gone is not None else likely
                )
        if lengths is not None:
            found["length"] = lengths
        return found


def _blanked(values: Any, gone: NDArray[np.bool_]) -> NDArray[Any]:
    """Values of a column with nothing where an example has no result."""
    made = np.empty(len(values), object)
    made[:] = list(values)  # in their own precision
    made[gone] = None
    return made


def _nan(array: NDArray[Any], gone: NDArray[np.bool_]) -> NDArray[Any]:
    """An array with NaN where there is no result."""
    made = array.astype(float) if array.dtype.kind != "f" else array.copy()
    made[gone] = np.nan
    return made
