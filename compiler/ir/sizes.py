"""Sizes of axes: linear forms over size variables, and the solver that unifies them.

A size is `constant + sum(coefficient * variable)`. Every equation between two sizes is given with
its reason (a place and a few words); the solver keeps, for each variable it fixes, the reason that
fixed it. When two sizes cannot be equal, the reasons of both sides are the proof that is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from math import gcd
from typing import NamedTuple, NoReturn

from dln.compiler.ir.integers import IntegerSearch
from dln.grammar.diagnostics import Span
from dln.grammar.record import Record, bundle, field


class Var:
    """An unknown size. `running` variables (batch, time) stand for any number of examples or
    steps: they are never fixed by an equation. Compared by identity."""

    __slots__ = ("name", "running", "span")

    def __init__(self, name: str, running: bool = False, span: Span | None = None) -> None:
        self.name, self.running, self.span = name, running, span

    def __repr__(self) -> str:
        return self.name


class Size:
    """`constant + sum(c * v)`; `terms` in order of first use, no zero coefficients.

    >>> h = Size.of(Var("h"))
    >>> str(2 * h - 1)
    '2*h - 1'
    >>> (h + 3 - h).value
    3
    """

    __slots__ = ("constant", "terms")

    def __init__(self, constant: int = 0, terms: tuple[tuple[Var, int], ...] = ()) -> None:
        self.constant, self.terms = constant, terms

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Size):
            return NotImplemented
        return self.constant == other.constant and self.terms == other.terms

    def __hash__(self) -> int:
        return hash((self.constant, self.terms))

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
        if not other.terms:
            return Size(self.constant + other.constant, self.terms) if other.constant else self
        sums = dict(self.terms)
        for v, c in other.terms:
            sums[v] = sums.get(v, 0) + c
        return Size(self.constant + other.constant, tuple((v, c) for v, c in sums.items() if c))

    __radd__ = __add__

    def __mul__(self, factor: int) -> Size:
        if factor == 1:
            return self
        scaled = tuple((v, c * factor) for v, c in self.terms if factor)
        return Size(self.constant * factor, scaled)

    __rmul__ = __mul__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: int | Size) -> Size:
        return self + -Size.of(other)

    def __rsub__(self, other: int | Size) -> Size:
        return -self + other

    def __repr__(self) -> str:
        parts = [("" if c == 1 else "-" if c == -1 else f"{c}*") + v.name for v, c in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts).replace("+ -", "- ")


BATCH = Var("batch", running=True)
BATCH_SIZE = Size.of(BATCH)
POWERS = (BATCH, *(Var(f"batch^{k}", running=True) for k in (2, 3, 4)))
"""What a number of elements grows with: a tensor may run over the examples more than once."""


def coefficients(size: Size) -> tuple[int, ...] | None:
    """A number of elements as `a + b*n + c*n^2 + ...` for n examples, at least a and b; None where
    something else in it is not known.

    >>> coefficients(3 * BATCH_SIZE + 2)
    (2, 3)
    """
    if not size.terms:
        return size.constant, 0
    if len(size.terms) == 1 and size.terms[0][0] is BATCH:
        return size.constant, size.terms[0][1]
    grows = dict(size.terms)
    found = [size.constant, *(grows.pop(v, 0) for v in POWERS)]
    while len(found) > 2 and not found[-1]:
        found.pop()
    return None if grows else tuple(found)


def times(a: Size, b: Size) -> Size | None:
    """The product of two numbers of elements; None where something in them is not known."""
    p, q = coefficients(a), coefficients(b)
    if p is None or q is None:
        return None
    made = [0] * (len(p) + len(q) - 1)
    for i, x in enumerate(p):
        for j, y in enumerate(q):
            made[i + j] += x * y
    return Size(made[0], tuple((v, c) for v, c in zip(POWERS, made[1:], strict=False) if c))


class Reason(NamedTuple):
    """Why a size is what it is: a place in the spec and a phrase."""

    span: Span | None
    text: str


class Equation(Record, eq=False):
    """Two sizes that are to be equal, why, and how it is said if they are not."""

    left: Size
    right: Size
    reason: Reason
    said: Callable[[Conflict], NoReturn] | None = None

    def refused(self, remainder: str = "") -> Conflict:
        return Conflict(self.left, self.right, remainder, self.said)


class Conflict(NamedTuple):
    """Two sizes that cannot be equal. Where they had to wait for others it is `said` in the words
    of their own equation."""

    left: Size
    right: Size
    remainder: str = ""
    said: Callable[[Conflict], NoReturn] | None = None


@bundle()
class Sizes:
    """The solver: a substitution from variables to sizes, each with the reason that fixed it.

    An equation with an unknown whose factor is 1 is solved for it. The others wait until more is
    known; `settle` looks at the end whether whole numbers are left that solve them.
    """

    fixed: dict[Var, tuple[Size, Reason]] = field(default_factory=dict)
    waiting: list[Equation] = field(default_factory=list)
    open: dict[Var, Equation] = field(default_factory=dict)
    """The equations that fixed variables to forms in which others are unknown."""

    def resolve(self, size: int | Size) -> Size:
        """A size with every known variable replaced."""
        size = Size.of(size)
        while size.terms and any(v in self.fixed for v, _ in size.terms):
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

    def equate(
        self,
        left: int | Size,
        right: int | Size,
        reason: Reason,
        said: Callable[[Conflict], NoReturn] | None = None,
    ) -> Conflict | None:
        """Demand `left == right`; a conflict, or None where they agree or may still agree."""
        equation = Equation(Size.of(left), Size.of(right), reason, said)
        return self._solve(self._gap(equation), equation) or self._again(equation)

    def _again(self, newest: Equation) -> Conflict | None:
        """The waiting equations, now that more is known; two of them may give a third."""
        while self.waiting:
            known, before, self.waiting = len(self.fixed), self.waiting, []
            for number, equation in enumerate(before):
                clash = self._solve(self._gap(equation), equation)
                if clash is not None:
                    self.waiting += before[number + 1 :]
                    return clash
            if len(self.fixed) == known:
                rows = [(self._gap(e), e) for e in self.waiting]
                for gap in eliminated([gap for gap, _ in rows]):
                    clash = self._solve(gap, newest, waits=False)
                    if clash is not None:
                        self.waiting = [e for e in self.waiting if e is not newest]
                        return clash
            if len(self.fixed) == known:
                break
        return None

    def _gap(self, e: Equation) -> Size:
        return self.resolve(e.left) - self.resolve(e.right)

    def _solve(self, gap: Size, e: Equation, waits: bool = True) -> Conflict | None:
        """Demand that a form is 0."""
        free = [(v, c) for v, c in gap.terms if not v.running]
        rest = gap - Size(0, tuple(free))
        if not free:
            return e.refused() if rest.terms or rest.constant else None
        factor = gcd(*(c for _, c in free))
        if any(c % factor for c in (rest.constant, *(c for _, c in rest.terms))):
            return e.refused(indivisible(free, rest, factor))
        v, c = next(((v, c) for v, c in free if abs(c) == factor), (None, 0))
        if v is None:
            if waits:
                self.waiting.append(e)
            return None
        others = gap - Size(0, ((v, c),))
        sign = -1 if c > 0 else 1
        terms = tuple((u, sign * k // factor) for u, k in others.terms)
        return self._fix(v, Size(sign * others.constant // factor, terms), e)

    def _fix(self, v: Var, value: Size, e: Equation) -> Conflict | None:
        """A variable gets its value; neither it nor one that follows from it is negative."""
        self.fixed[v] = (value, e.reason)
        self.open[v] = e
        known = {u: size for u in self.open if (size := self.resolve(Size.of(u))).value is not None}
        for u, size in known.items():
            if size.constant < 0:
                del self.fixed[v], self.open[v]
                return e.refused(f"{u} would be {size}")
        self.open = {u: why for u, why in self.open.items() if u not in known}
        return None

    def settle(self) -> list[Conflict]:
        """What is open when no equation is to come: one that whole numbers solve in one way is
        solved, one that none solve is a conflict, and the rest stays open."""
        found = []
        for equations in self._together():
            zeros = [form(self._gap(e)) for e in equations if e in self.waiting]
            fixed = (Size.of(v) for v, e in self.open.items() if e in equations)
            search = IntegerSearch(zeros, [form(self.resolve(size)) for size in fixed])
            some = list(islice(search.solutions(), 2))
            if len(some) > 1 or not search.complete:
                continue
            last = equations[-1]
            self.waiting = [e for e in self.waiting if e not in equations]
            if not some:
                found.append(last.refused(unsolvable(last, self)))
            for v, value in (pair for solution in some for pair in solution.items()):
                self._fix(v, Size(value), last)
        return found

    def _together(self) -> list[list[Equation]]:
        """The open equations by the unknowns that they share; those with batch or time in them
        hold for every number of those, or not at all."""
        groups: list[tuple[set[Var], list[Equation]]] = []
        rows = [(e, self._gap(e)) for e in self.waiting]
        rows += [(e, self.resolve(Size.of(v))) for v, e in self.open.items()]
        for e, size in rows:
            names = {v for v, _ in size.terms}
            if any(v.running for v in names) or not names:
                continue
            mine: tuple[set[Var], list[Equation]] = (names, [e])
            for group in [g for g in groups if g[0] & names]:
                groups.remove(group)
                mine = (mine[0] | group[0], [*group[1], *(x for x in mine[1] if x not in group[1])])
            groups.append(mine)
        return [equations for _, equations in groups]


def form(size: Size) -> tuple[int, dict[Var, int]]:
    return size.constant, dict(size.terms)


def indivisible(free: Sequence[tuple[Var, int]], rest: Size, factor: int) -> str:
    """`5 is not a multiple of 2`; of several unknowns `2*a + 2*b is a multiple of 2, 7 is not`."""
    number = rest * (-1 if rest.constant <= 0 else 1)
    if len(free) == 1:
        return f"{number} is not a multiple of {factor}"
    sign = -1 if free[0][1] < 0 else 1
    whole = Size(0, tuple((v, sign * c) for v, c in free))
    return f"{whole} is a multiple of {factor}, {number} is not"


def unsolvable(e: Equation, sizes: Sizes) -> str:
    left, right = sizes.resolve(e.left), sizes.resolve(e.right)
    if left == right:  # it has fixed an unknown, by which no other can be
        left, right = e.left, e.right
    names = dict.fromkeys(v.name for v, _ in (*left.terms, *right.terms))
    return f"no whole {', '.join(names)} make {left} = {right}"


def reduced(size: Size) -> Size:
    """A form that is 0, divided by what all its numbers share."""
    factor = gcd(size.constant, *(c for _, c in size.terms)) or 1
    return Size(size.constant // factor, tuple((v, c // factor) for v, c in size.terms))


def eliminated(gaps: Sequence[Size]) -> list[Size]:
    """What follows from some forms that are all 0, each with fewer unknowns than it came from."""
    rows, out = list(gaps), []
    while len(rows) > 1:
        rows.sort(key=lambda r: len(r.terms))
        pivot, *rest = rows
        v, c = next(((v, c) for v, c in pivot.terms if not v.running), (None, 0))
        rows = []
        for row in rest:
            k = 0 if v is None else dict(row.terms).get(v, 0)
            made = reduced(row * c - pivot * k) if k else row
            if k:
                out.append(made)
            if made.terms:
                rows.append(made)
    return out
