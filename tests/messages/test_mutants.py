"""Mutants of the shipped specs, each with one slip: the answer points at it, and a remedy that is
given mends it. `python tests/messages/table.py` prints what is asserted here."""

from collections.abc import Callable

import pytest
from mutation import corpus, counting
from mutation.counting import Tried
from mutation.mending import ABSENT, OTHER, RESTORED

# What holds now, in per cent; the goals are 95 on the line, 85 on the token, 90 of the remedies
# that restore or are absent, and none with another meaning.
LINE, TOKEN, MENDED, OTHERS = 95, 85, 85, 0.5
SECONDS = 2.0


def held(found: list[Tried | None]) -> None:
    refused = [t for t in found if t is not None]
    assert len(refused) > len(found) / 2
    assert not [t.edit for t in refused if t.answer.code == "E999"]
    assert not [t.edit for t in refused if t.answer.seconds > SECONDS]
    assert share(refused, lambda t: t.place.line) >= LINE
    assert share(refused, lambda t: t.place.token) >= TOKEN
    assert share(refused, lambda t: t.mended.outcome in (RESTORED, ABSENT)) >= MENDED
    assert share(refused, lambda t: t.mended.outcome == OTHER) <= OTHERS


def share(found: list[Tried], fits: Callable[[Tried], bool]) -> float:
    return 100 * sum(map(fits, found)) / len(found)


def test_answers_point_at_the_slip_and_remedies_mend_it() -> None:
    held(list(counting.run(corpus.sliced(), 1, 2000)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_answers_to_many_mutants(seed: int) -> None:
    held(list(counting.run(corpus.whole(), seed, 2000)))
