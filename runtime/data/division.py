"""Which examples of a data set are in which part: a function of the division, the number of
examples and, where they are divided by a class or groups stay together, of the classes or groups.
Nothing else is asked, so a part is the same in every run, and in every set with as many examples.

How they are dealt out is said in `readers.dealing`. Within a part examples stand as in the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import DataSpec
from dln.runtime.readers import sampling_order
from dln.runtime.readers.dealing import Told, dealt

Indices = sampling_order.Indices


class ChosenRows:
    """The examples of a part, by their numbers in the file: `count` of them from `first` on, or
    those of `listed`, which ascend."""

    def __init__(self, first: int, count: int, listed: Indices | None = None) -> None:
        self.first, self.count, self.listed = first, count, listed

    def of(self, array: NDArray[Any], low: int = 0, high: int | None = None) -> NDArray[Any]:
        """The rows of an array with all examples as its first axis; some of them: from number
        `low` of the part up to before `high`. A look where they lie side by side, else a copy."""
        high = self.count if high is None else high
        if self.listed is None:
            return array[self.first + low : self.first + high]
        return array[self.listed[low:high]]

    def numbers(self, low: int = 0) -> int | Indices:
        """Where examples from number `low` of the part on stand in the file: the first one, the
        others following, or all of them."""
        return self.first + low if self.listed is None else self.listed[low:]

    def places(self, indices: NDArray[Any]) -> Indices:
        """Where the examples of the part with some indices [n] stand in the file, [n]."""
        found: Indices = self.first + indices if self.listed is None else self.listed[indices]
        return found

    def number(self, place: int) -> int:
        """Where an example of the part stands in the file."""
        return self.first + place if self.listed is None else int(self.listed[place])


def rows_of(spec: DataSpec, part: str, told: Told, limit: int | None) -> ChosenRows:
    """The examples of a part; `told` are the classes or groups [n] by which the set is divided. Of
    `limit` examples those that come first in the order in which they were dealt out."""
    division, portion = spec.division, spec.parts[part]
    most = spec.count if limit is None else limit
    stretch = spec.stretch(part)
    if stretch is not None:
        return ChosenRows(stretch[0], min(most, stretch[1]))
    order, pieces = dealt(division, told)
    listed = order[np.isin(pieces[order], portion.pieces)][:most]
    return ChosenRows(0, len(listed), np.sort(listed))


def in_runs(labels: NDArray[Any]) -> bool:
    """Whether all examples of each class lie side by side, of enough that this is no chance.

    >>> in_runs(np.repeat([0, 2, 1], 5)), in_runs(np.resize([0, 1], 30)), in_runs(np.ones(30))
    (True, False, False)
    """
    runs = 1 + int(np.count_nonzero(labels[1:] != labels[:-1]))
    return runs > 1 and len(labels) >= 5 * runs and runs == len(np.unique(labels))
