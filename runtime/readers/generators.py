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
Values = Mapping[str, Any]
Wrong = tuple[str, str] | None
"""What is wrong with the parameters of a set, and what helps."""


@dataclass(frozen=True)
class Set:
    """One synthetic set, of its parameters: the `fields` of an example, and what makes the arrays.

    `classes` is their number, or the parameter that says it. `count` says how many examples there
    are where it is not the parameter of that name. `peak` is the memory taken while they are made,
    in that of the arrays.
    """

    about: str
    parameters: Mapping[str, int | float]
    fields: Callable[[Values], dict[str, Field]]
    make: Callable[[Draws, Values], dict[str, Any]]
    classes: int | str | None = None
    wrong: Callable[[Values], Wrong] = lambda v: None
    count: Callable[[Values], int] = lambda v: int(v["count"])
    peak: float = 2.0


def real(*shape: int) -> Field:
    """A field of real numbers, of the shape of an example."""
    return shape, "real"


def index(*shape: int) -> Field:
    """A field of whole numbers, of the shape of an example."""
    return shape, "index"


def at_least(v: Values, key: str, least: int) -> Wrong:
    """What is wrong where a parameter is too small for the task."""
    return (f"{key} must be at least {least}, not {v[key]}", "") if v[key] < least else None


class Draws:
    """The draws of one set, each `what` from a stream of its own."""

    def __init__(self, name: str, v: Values) -> None:
        self.name, self.seed, self.count = name, int(v["seed"]), int(v.get("count", 0))

    def unit(self, what: str, *shape: int) -> NDArray[np.float64]:
        """[count, *shape] uniform in [0, 1)."""
        from dln.runtime.readers.sampling_order import unit  # late: NumPy

        found = unit(self.count * prod(shape), self.seed, self._site(what), 0)
        return found.reshape(self.count, *shape)

    def whole(self, what: str, most: int, *shape: int) -> NDArray[np.int64]:
        """[count, *shape] whole numbers, uniform in 0, ..., most - 1."""
        found = self.unit(what, *shape)
        found *= most
        return found.astype("int64")

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
