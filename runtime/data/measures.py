"""What is measured of values over a part of a data set: mean and deviation, least and most.

Examples are gone through once, some at a time. Means and sums of squares about them are joined as
Chan, Golub and LeVeque (1979) do, in double precision, so that no large mean eats a small
deviation; what is the same in all examples has exactly that as its mean, and the deviation 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = dict[str, NDArray[np.float64]]
"""What has been measured of a value, by name: each has a number for each one of an example."""


class Moments:
    """The moments of numbers, of the `shape` of an example, taken up some examples at a time."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = 0
        self.mean, self.squares = np.zeros(shape), np.zeros(shape)
        self.least, self.most = np.full(shape, np.inf), np.full(shape, -np.inf)

    def add(self, values: NDArray[np.float64]) -> None:
        """Take up some examples [examples, *shape]."""
        if not len(values):
            return
        mean = values.mean(0)
        both, apart = self.count + len(values), mean - self.mean
        self.squares += ((values - mean) ** 2).sum(0)
        self.squares += apart**2 * (self.count * len(values) / both)
        self.mean += apart * (len(values) / both)
        self.least = np.minimum(self.least, values.min(0))
        self.most = np.maximum(self.most, values.max(0))
        self.count = both

    def numbers(self, kept: Sequence[str]) -> Numbers:
        """What is kept, by name. The deviation is that of all examples, not of a sample."""
        same = self.least == self.most
        deviation = np.where(same, 0.0, np.sqrt(self.squares / max(1, self.count)))
        mean = np.where(same, self.least, self.mean)
        found = {"mean": mean, "deviation": deviation, "least": self.least, "most": self.most}
        return {what: found[what] for what in kept}


def filled_in(numbers: Mapping[str, NDArray[Any]], what: str) -> NDArray[np.float64]:
    """What an input of a program is given, of the shape of an example: of a range or deviation of 0
    an infinite one, so that what is divided by it is 0."""
    if what == "range":
        width = np.asarray(numbers["most"]) - numbers["least"]
    else:
        width = np.asarray(numbers[what])
    return np.where(width == 0, np.inf, width) if what in ("range", "deviation") else width
