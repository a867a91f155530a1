"""Sizes of axes: linear forms over size variables, and the solver that unifies them.

A size is `constant + sum(coefficient * variable)`. Every equation between two sizes is given with
its reason (a place and a few words); the solver keeps, for each variable it fixes, the reason that
fixed it. When two sizes cannot be equal, the reasons of both sides are the proof that is printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dln.grammar.diagnostics import Span


@dataclass(frozen=True, slots=True, eq=False)
class Var:
    """An unknown size. `running` variables (batch, time) stand for any number of examples or
    steps: they are never fixed by an equation. Compared by identity."""

    name: str
    running: bool = False
    span: Span | None = None

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Size:
    """`constant + sum(c * v)`; `terms` in order of first use, no zero coefficients.

    >>> h = Size.of(Var("h"))
    >>> str(2 * h - 1)
    '2*h - 1'
    >>> (h + 3 - h).value
    3
    """

    constant: int = 0
    terms: tuple[tuple[Var, int], ...] = ()

    @staticmethod
    def of(value: int | Var | Size) -> Size:
        if isinstance(value, Size):
            return value
        return Size(0, ((value, 1),)) if isinstance(value, Var) else Size(value)

    @property
    def value(self) -> int | None:
        """The number, when no variable is left."""
        return None if self.terms else self.constant

    def __add__(self, other: int | Size) -> Size:
        other = Size.of(other)
        sums = dict(self.terms)
        for v, c in other.terms:
            sums[v] = sums.get(v, 0) + c
        return Size(self.constant + other.constant, tuple((v, c) for v, c in sums.items() if c))

    __radd__ = __add__

    def __mul__(self, factor: int) -> Size:
        scaled = tuple((v, c * factor) for v, c in self.terms if factor)
        return Size(self.constant * factor, scaled)

    __rmul__ = __mul__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: int | Size) -> Size:
        return self + -Size.of(other)

    def __rsub__(self, other: int | Size) -> Size:
        return -self + other

    def __str__(self) -> str:
        parts = [("" if c == 1 else "-" if c == -1 else f"{c}*") + v.name for v, c in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts).replace("+ -", "- ")

    def __repr__(self) -> str:
        return str(self)


BATCH = Var("batch", running=True)
BATCH_SIZE = Size.of(BATCH)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a size is what it is: a place in the spec and a phrase."""

    span: Span | None
    text: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two sizes that cannot be equal, as far as they are known, and what fixed each."""

    left: Size
    right: Size
    left_proof: tuple[Reason, ...]
    right_proof: tuple[Reason, ...]
    remainder: str = ""


@dataclass
class Sizes:
    """The solver: a substitution from variables to sizes, each with the reason that fixed it."""

    fixed: dict[Var, tuple[Size, Reason]] = field(default_factory=dict)
    waiting: list[tuple[Size, Size, Reason]] = field(default_factory=list)

    def resolve(self, size: int | Size) -> Size:
        """A size with every known variable replaced."""
        size = Size.of(size)
        while any(v in self.fixed for v, _ in size.terms):
            out = Size(size.constant)
            for v, c in size.terms:
                out = out + (self.fixed[v][0] * c if v in self.fixed else Size(0, ((v, c),)))
            size = out
        return size

    def proof(self, size: Size) -> tuple[Reason, ...]:
        """The reasons that fixed the variables of a size, nearest first."""
        found: list[Reason] = []
        front = [v for v, _ in size.terms]
        while front:
            v = front.pop(0)
            if v in self.fixed:
                value, reason = self.fixed[v]
                if reason not in found:
                    found.append(reason)
                front += [u for u, _ in value.terms]
        return tuple(found)

    def equate(self, left: int | Size, right: int | Size, reason: Reason) -> Conflict | None:
        """Demand `left == right`; a conflict, or None where they agree or may still agree."""
        left, right = Size.of(left), Size.of(right)
        clash = self._solve(left, right, reason)
        if clash is None and self.waiting:
            again, self.waiting = self.waiting, []
            for a, b, why in again:
                clash = clash or self._solve(a, b, why)
        return clash

    def _solve(self, left: Size, right: Size, reason: Reason) -> Conflict | None:
        gap = self.resolve(left) - self.resolve(right)
        free = [(v, c) for v, c in gap.terms if not v.running]
        if not gap.terms:
            return self._conflict(left, right) if gap.constant else None
        if not free:
            return self._conflict(left, right)
        unit = [(v, c) for v, c in free if abs(c) == 1]
        if len(gap.terms) > 1 and not unit:
            self.waiting.append((left, right, reason))
            return None
        v, c = unit[0] if unit else free[0]
        rest = gap - Size(0, ((v, c),))
        if abs(c) == 1:
            value = rest * -c
        elif rest.constant % c:
            text = f"{-rest.constant} is not a multiple of {abs(c)}"
            return self._conflict(left, right, text)
        else:
            value = Size(-rest.constant // c)
        if value.value is not None and value.value < 0:
            return self._conflict(left, right, f"{v} would be {value}")
        self.fixed[v] = (value, reason)
        return None

    def _conflict(self, left: Size, right: Size, remainder: str = "") -> Conflict:
        return Conflict(left, right, self.proof(left), self.proof(right), remainder)
