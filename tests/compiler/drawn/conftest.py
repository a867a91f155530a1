"""What draws specs is the package `drawing` in this folder, on the path of the tests."""

from collections.abc import Callable

import pytest
from drawing.choices import Choices
from drawing.specs import Drawn, draw


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Drawn]:
    """`drawn(seed)`, or `drawn(given=choices)`: a spec and what it means."""

    def made(seed: int = 0, given: list[int] | None = None) -> Drawn:
        c = Choices(seed, given)
        spec = draw(c)
        spec.choices = c.made
        return spec

    return made
