"""Where the choices of a drawing come from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

Shape = tuple[int, ...]


class Choices:
    """Where choices come from: a seed, or choices made before, so that they can be made fewer and
    smaller. 0 is the simplest."""

    def __init__(self, seed: int = 0, given: list[int] | None = None) -> None:
        self.rng, self.given = random.Random(seed), given
        self.made: list[int] = []

    def below(self, n: int) -> int:
        at = len(self.made)
        if self.given is None:
            value = self.rng.randrange(n)
        else:
            value = self.given[at] % n if at < len(self.given) else 0
        self.made.append(value)
        return value

    def pick(self, options: Any) -> Any:
        return options[self.below(len(options))]

    def number(self) -> float:
        """Never 0, and hardly the same twice."""
        return round((self.below(199) * 37 % 199 - 99) / 80 + 0.0031, 6)

    def array(self, shape: Shape) -> Any:
        return np.array([self.number() for _ in range(int(np.prod(shape)))]).reshape(shape)
