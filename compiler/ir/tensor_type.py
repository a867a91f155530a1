"""What is known of a tensor before it has values: its axes, its kind of number, its domain.

The leading axes of a shape are *running* axes: `batch` first, then `time`, then bound indices.
An equation written for one example is mapped over them. No other axis is mapped or broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from dln.compiler.ir.sizes import BATCH, Size

TIME = "time"
"""The running axis of a sequence."""


class IndexAxis(str):
    """The running axis of a bound index, or of a sequence that a step sees as a whole: told apart
    by a number from others that the spec calls the same.

    >>> IndexAxis("i", 3), spoken(IndexAxis("i", 3)), spoken("batch")
    ('i.3', 'i', 'batch')
    """

    spoken: str
    number: int

    def __new__(cls, name: str, number: int) -> Self:
        made = super().__new__(cls, f"{name}.{number}")
        made.spoken, made.number = name, number
        return made


def spoken(axis: str) -> str:
    """What a spec calls a running axis."""
    return axis.spoken if isinstance(axis, IndexAxis) else axis


Kind = Literal["real", "index", "bool"]


@dataclass(frozen=True, slots=True)
class Domain:
    """What values mean: real, positive, prob, logit, binary, or class with its number `size`.

    What is `partial` may be no class at all (`absences.py`).
    """

    name: str = "real"
    size: Size | None = None
    partial: bool = False

    def __str__(self) -> str:
        return f"class({self.size})" if self.size is not None else self.name


REAL, POSITIVE, PROB = Domain("real"), Domain("positive"), Domain("prob")
LOGIT, BINARY = Domain("logit"), Domain("binary")

# Which domains a value may be used as without a word. A real is nobody's prob, but a fine logit.
ACCEPTS: dict[str, frozenset[str]] = {
    "real": frozenset({"real", "positive", "prob", "logit", "binary"}),
    "positive": frozenset({"positive", "prob", "binary"}),
    "prob": frozenset({"prob", "binary"}),
    "logit": frozenset({"logit", "real", "positive"}),
    "binary": frozenset({"binary"}),
    "class": frozenset({"class"}),
}
DOMAINS = tuple(ACCEPTS)


def fits(found: Domain, wanted: Domain) -> bool:
    """Whether a value of domain `found` may stand where `wanted` is asked for.

    >>> fits(PROB, LOGIT), fits(REAL, LOGIT), fits(BINARY, PROB)
    (False, True, True)
    """
    return found.name in ACCEPTS[wanted.name]


class TensorType:
    """Shape (running axes first), the names of the running axes, kind of number, domain."""

    __slots__ = ("domain", "hashed", "kind", "running", "shape")

    def __init__(
        self, shape: tuple[Size, ...] = (), running: tuple[str, ...] = (), kind: Kind = "real",
        domain: Domain = REAL,
    ) -> None:  # fmt: skip
        self.shape, self.running, self.kind, self.domain = shape, running, kind, domain
        # Types are part of every node's key: their hash is asked for again and again.
        self.hashed = hash((shape, running, kind, domain))

    def __hash__(self) -> int:
        return self.hashed

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, TensorType) or self.hashed != other.hashed:
            return False
        mine = self.shape, self.running, self.kind, self.domain
        return mine == (other.shape, other.running, other.kind, other.domain)

    def __repr__(self) -> str:
        return f"TensorType({self.shape}, {self.running}, {self.kind!r}, {self.domain})"

    @property
    def example(self) -> tuple[Size, ...]:
        """The shape for one example: without the running axes."""
        return self.shape[len(self.running) :]

    @property
    def lead(self) -> tuple[Size, ...]:
        """The sizes of the running axes."""
        return self.shape[: len(self.running)]

    def size_of(self, axis: str) -> Size:
        """The size of a running axis by name."""
        return self.shape[self.running.index(axis)]

    def like(
        self,
        shape: tuple[Size, ...] | None = None,
        running: tuple[str, ...] | None = None,
        kind: Kind | None = None,
        domain: Domain | None = None,
    ) -> TensorType:
        """A copy with some parts replaced; the type itself where they are what they were."""
        shape = self.shape if shape is None else shape
        running = self.running if running is None else running
        kind, domain = kind or self.kind, domain or self.domain
        if shape == self.shape and running == self.running:
            if kind == self.kind and domain == self.domain:
                return self
        return TensorType(shape, running, kind, domain)

    def __str__(self) -> str:
        lead = [
            r if s.terms == ((BATCH, 1),) or r == str(s) else f"{r}={s}"
            for r, s in zip(self.running, self.lead, strict=True)
        ]
        axes = ", ".join(lead + [str(s) for s in self.example])
        tail = "" if self.domain == REAL else f": {self.domain}"
        return f"[{axes}]{tail}"


def scalar(kind: Kind = "real", domain: Domain = REAL) -> TensorType:
    """The type of one number."""
    return TensorType((), (), kind, domain)
