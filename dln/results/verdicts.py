"""Whether a figure was met, in words, and by how much it was missed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dln.results.records import Data, largest, numbers


def verdict(figures: Sequence[Data]) -> str:
    """`passed`, `missed by 0.12`, `not run`; of several `5 of 6 passed, ...` where they differ."""
    failed = [f for f in figures if f["status"] == "failed"]
    waiting = [f for f in figures if f["status"] == "not run"]
    met = len(figures) - len(failed) - len(waiting)
    if len(waiting) == len(figures):
        return _not_run(waiting)
    if met == len(figures):
        return f"all {met} passed" if met > 1 else "passed"
    parts = [f"{met} of {len(figures)} passed"] if len(figures) > 1 else []
    parts += [f"**{missed(failed)}**"] if failed else []
    parts += [f"{len(waiting)} {_not_run(waiting)}"] if waiting else []
    return ", ".join(parts)


def _not_run(figures: Sequence[Data]) -> str:
    reached = next((f["reached"] for f in figures if "reached" in f), "")
    if reached:
        return f"not run to its end: {reached}"
    slow = any(f["reason"].startswith("slow") for f in figures)
    return "not run (slow)" if slow else "not run"


def missed(figures: Iterable[Data]) -> str:
    """By how much the worst lies outside of its tolerance."""
    amounts = [a for f in figures if (a := beyond(f)) is not None]
    if amounts and not max(amounts):
        return "missed: just at the bound"
    return f"missed by {max(amounts):.3g}" if amounts else "missed"


def beyond(f: Data) -> float | None:
    """How far a figure lies outside of its tolerance or bound; None where that is no number.

    >>> beyond({"op": "==", "value": 93.5, "expected": 94.81, "within": 0.8}) > 0.5
    True
    """
    value, expected = numbers(f["value"]), numbers(f["expected"])
    if not value or not expected or f["expected"] is True:
        return None
    if f["op"] == "==":
        return max(0.0, largest(value, expected) - max(numbers(f.get("within")), default=0.0))
    if f["op"] in ("<", "<="):
        return max(0.0, max(value) - min(expected))
    return max(0.0, max(expected) - min(value)) if f["op"] in (">", ">=") else None


def duration(seconds: float) -> str:
    """
    >>> duration(0.31), duration(12), duration(200), duration(3900), duration(0)
    ('0.3 s', '12 s', '3 min 20 s', '1 h 5 min', '')
    """
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "0.1 s" if seconds else ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h" + (f" {whole % 3600 // 60} min" if whole % 3600 >= 60 else "")
