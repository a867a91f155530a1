"""Types of tensors: running axes, domains, text."""

from __future__ import annotations

import pytest

from dln.compiler.ir.sizes import BATCH_SIZE, Size, Var
from dln.compiler.ir.tensor_type import (
    BINARY,
    DOMAINS,
    LOGIT,
    POSITIVE,
    PROB,
    REAL,
    Domain,
    TensorType,
    fits,
    scalar,
)

X = TensorType((BATCH_SIZE, Size(5), Size(3), Size(2)), ("batch", "time"))


def test_running_axes_come_first() -> None:
    assert X.lead == (BATCH_SIZE, Size(5))
    assert X.example == (Size(3), Size(2))
    assert X.size_of("time") == Size(5)
    assert scalar("bool", BINARY) == TensorType((), (), "bool", BINARY)


def test_like_replaces_parts() -> None:
    y = X.like(shape=(BATCH_SIZE,), running=("batch",), kind="bool", domain=BINARY)
    assert y == TensorType((BATCH_SIZE,), ("batch",), "bool", BINARY)
    assert X.like(shape=(), running=()).shape == ()
    assert X.like() == X


@pytest.mark.parametrize(
    ("type", "text"),
    [
        (X, "[batch, time=5, 3, 2]"),
        (scalar(), "[]"),
        (TensorType((Size(3),), domain=PROB), "[3]: prob"),
        (TensorType((Size.of(Var("n")),)), "[n]"),
        (TensorType((), (), "index", Domain("class", Size(10))), "[]: class(10)"),
    ],
)
def test_text(type: TensorType, text: str) -> None:
    assert str(type) == text


def test_every_domain_accepts_itself() -> None:
    assert all(fits(Domain(d), Domain(d)) for d in DOMAINS)


@pytest.mark.parametrize(
    ("found", "wanted", "may"),
    [
        (PROB, REAL, True),
        (PROB, POSITIVE, True),
        (BINARY, PROB, True),
        (REAL, LOGIT, True),
        (PROB, LOGIT, False),
        (BINARY, LOGIT, False),
        (REAL, PROB, False),
        (REAL, POSITIVE, False),
        (PROB, BINARY, False),
        (Domain("class", Size(3)), REAL, False),
    ],
)
def test_what_may_stand_for_what(found: Domain, wanted: Domain, may: bool) -> None:
    assert fits(found, wanted) is may
