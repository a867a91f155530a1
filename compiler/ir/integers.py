"""Whole numbers that solve small systems: what is left of the sizes when all equations are known.

Some forms are 0 and others are not negative, in unknowns that are not negative themselves. The
bounds of each unknown follow by elimination (Fourier and Motzkin); within them values are tried.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from math import gcd
from typing import Generic, TypeAlias, TypeVar

V = TypeVar("V", bound=Hashable)
LinearForm: TypeAlias = tuple[int, Mapping[V, int]]
"""A constant, and the factor of each unknown."""

FAR = 2_000  # values of an unknown without an upper bound that are tried
LOOKS = 4_000  # assignments that are tried in all
ROWS = 300  # inequalities in one elimination


class IntegerSearch(Generic[V]):
    """A search for solutions. It is not `complete` where some were not looked at."""

    def __init__(self, zeros: Sequence[LinearForm[V]], others: Sequence[LinearForm[V]]) -> None:
        self.zeros, self.others = zeros, others
        self.complete, self.looks = True, 0

    def solutions(self) -> Iterator[dict[V, int]]:
        """Every solution, one after the other."""
        minus: list[LinearForm[V]] = [
            (-k, {v: -c for v, c in terms.items()}) for k, terms in self.zeros
        ]
        yield from self._below([*self.zeros, *minus, *self.others])

    def _below(self, forms: Sequence[LinearForm[V]]) -> Iterator[dict[V, int]]:
        """The solutions of some forms that are not negative."""
        self.looks += 1
        if self.looks > LOOKS:
            self.complete = False
            return
        names = {v for _, terms in forms for v in terms}
        if not names:
            if all(constant >= 0 for constant, _ in forms):
                yield {}
            return
        bounds = {v: self._bounds(forms, v, names) for v in names}
        v = min(names, key=lambda v: bounds[v][1] - bounds[v][0])
        low, high = bounds[v]
        if high - low >= FAR:
            self.complete, high = False, low + FAR
        for value in range(low, high + 1):
            for rest in self._below([put(form, v, value) for form in forms]):
                yield {v: value, **rest}

    def _bounds(self, forms: Sequence[LinearForm[V]], v: V, names: set[V]) -> tuple[int, int]:
        """The least and the largest value of an unknown, every other eliminated."""
        rows: list[LinearForm[V]] = [*forms, *((0, {u: 1}) for u in names)]
        for u in names - {v}:
            rows = eliminated(rows, u)
            if len(rows) > ROWS:
                return 0, FAR
        low, high = 0, FAR
        for constant, terms in rows:
            c = terms.get(v, 0)
            if c > 0:
                low = max(low, -(constant // c))
            elif c < 0:
                high = min(high, constant // -c)
            elif constant < 0:
                return 0, -1
        return low, low + FAR if high == FAR else high


def put(form: LinearForm[V], v: V, value: int) -> LinearForm[V]:
    """A form with an unknown replaced by its value."""
    constant, terms = form
    rest = {u: c for u, c in terms.items() if u != v}
    return constant + terms.get(v, 0) * value, rest


def eliminated(rows: Sequence[LinearForm[V]], v: V) -> list[LinearForm[V]]:
    """What some forms that are not negative say without an unknown."""
    up = [r for r in rows if r[1].get(v, 0) > 0]
    down = [r for r in rows if r[1].get(v, 0) < 0]
    out = [r for r in rows if not r[1].get(v, 0)]
    for k, terms in up:
        for m, others in down:
            a, b = -others[v], terms[v]
            names = {**terms, **others}
            both = {u: a * terms.get(u, 0) + b * others.get(u, 0) for u in names if u != v}
            out.append(shorter(a * k + b * m, {u: c for u, c in both.items() if c}))
    return out


def shorter(constant: int, terms: dict[V, int]) -> LinearForm[V]:
    """The same inequality of whole numbers, divided by what its factors share."""
    factor = gcd(*terms.values()) if terms else 1
    return constant // factor, {u: c // factor for u, c in terms.items()}
