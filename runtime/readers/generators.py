"""What a synthetic set is, and the draws that all of them are made of.

Draws are counter-based (`sampling_order.words`): a number depends on the seed, the set, what is
drawn and its place alone, so that a smaller set is the head of a larger one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Field = tuple[tuple[int, ...], Literal["real", "index"]]
Shapes = tuple[dict[str, Field], int, int | None]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Set:
    """One synthetic set: `shapes` gives fields, count and classes; `make` the arrays."""

    about: str
    parameters: Mapping[str, int | float]
    shapes: Callable[[Values], Shapes]
    make: Callable[[Values], dict[str, Any]]


class Draws:
    """The draws of one set, each `what` from a stream of its own."""

    def __init__(self, name: str, v: Values) -> None:
        self.name, self.seed, self.count = name, int(v["seed"]), int(v["count"])

    def unit(self, what: str, *shape: int) -> NDArray[np.float64]:
        """[count, *shape] uniform in [0, 1)."""
        from dln.runtime.readers.sampling_order import unit  # late: NumPy

        found = unit(self.count * prod(shape), self.seed, self._site(what), 0)
        return found.reshape(self.count, *shape)

    def whole(self, what: str, most: int, *shape: int) -> NDArray[np.int64]:
        """[count, *shape] whole numbers, uniform in 0, ..., most - 1."""
        return (self.unit(what, *shape) * most).astype("int64")

    def normal(self, what: str, *shape: int) -> NDArray[np.float64]:
        """[count, *shape] standard normal."""
        import numpy as np  # late: NumPy

        from dln.runtime.device.kernels import normal  # late: NumPy

        found = np.empty((self.count, *shape))
        normal(found, self.seed, self._site(what), 0)
        return found

    def _site(self, what: str) -> int:
        """The place of a draw; that of a set's only draw has no name of its own."""
        from dln.compiler.plan import site_number  # late: `dln check` has no plan

        return site_number(".".join(filter(None, ["synthetic", self.name, what])))
