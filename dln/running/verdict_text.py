"""Verdicts as text and as data: shared by `check`, `run` and `sweep`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import ceil, log10
from textwrap import indent

from dln.grammar.diagnostics import clean
from dln.kept.facts import SpecFacts
from dln.printing.terminal import Terminal, columns, cut, number, plural, verdict
from dln.running.verdict import Verdict

ORDER = ("passed", "failed", "not run")
WIDE = 44  # characters of an expectation in a table
MANY = 48  # characters beyond which numbers that have passed are only counted
NEAR = 1e-6  # of what is expected: what may be rounding
MOST = 12  # expectations of one check that are printed one by one


def grouped(facts: SpecFacts, found: Sequence[Verdict]) -> Iterator[tuple[str, list[Verdict]]]:
    """Each check of a spec with its verdicts, in the order of the file."""
    rest = iter(found)
    for check in facts.checks:
        yield check.text, list(islice(rest, check.expects))


def status_of(found: Iterable[Verdict]) -> str:
    """That of a check, or of a run: failed if one expectation has, passed only if all have."""
    states = {v.status for v in found}
    return next((s for s in ("failed", "not run", "passed") if s in states), "")


def brief(terminal: Terminal, facts: SpecFacts, found: Sequence[Verdict]) -> None:
    """One line for each check; below it what failed."""
    for text, verdicts in grouped(facts, found):
        status = status_of(verdicts) or "passed"
        terminal.result(f"{verdict(status)}  {clean(text)} ({_share(verdicts)})")
        for v in verdicts:
            if v.status == "failed":
                said = f"{v.span}: {clean(v.text)}\n{clean(comparison(v))}"
                terminal.result(indent(said, " " * 9))


def _share(found: Sequence[Verdict]) -> str:
    """`3 expectations`, or how many of them could be tested and why not all."""
    waiting = list(dict.fromkeys(v.reason for v in found if v.status == "not run"))
    tested = sum(v.status != "not run" for v in found)
    if not waiting:
        return plural(len(found), "expectation")
    more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    return f"{tested} of {plural(len(found), 'expectation')} tested: {waiting[0]}{more}"


def comparison(v: Verdict) -> str:
    """What was measured, what was expected, and how near it must be."""
    return ", ".join(part for part in parts(v) if part)


def parts(v: Verdict) -> tuple[str, str]:
    """`measured ...` and `expected ...`; the reason instead where there is one."""
    if v.status == "not run" or v.reason:
        return v.reason, ""
    if v.expected is True and v.op == "==":
        return ("holds" if v.value is True else "does not hold"), ""
    within = "" if v.within is None else f" within {number(v.within)}"
    sign = "" if v.op == "==" else f"{v.op} "
    measured, expected = apart(v.value, v.expected, v.within)
    long = isinstance(v.value, list) and max(len(measured), len(expected)) > MANY
    if v.status == "passed" and long:
        measured = expected = plural(_count(v.value), "number")
    return f"measured {measured}", f"expected {sign}{expected}{within}{_nearly(v)}"


def apart(value: object, expected: object, within: float | None) -> tuple[str, str]:
    """Two values with as many digits as tell them apart.

    >>> apart(0.1 + 0.2, 0.3, None), apart(1 / 3, 0.333333333, None)
    (('0.30000000000000004', '0.3'), ('0.3333333333', '0.333333333'))
    """
    for digits in range(6, 18):
        one, other = number(value, within, digits), number(expected, within, digits)
        if one != other or value == expected:
            break
    return one, other


def _nearly(v: Verdict) -> str:
    """Of what fails by the rounding of numbers alone, the tolerance in which it holds."""
    if v.op != "==" or v.within is not None or v.status != "failed":
        return ""
    pairs = list(_paired(v.value, v.expected))
    gap = max((abs(a - b) for a, b in pairs), default=0.0)
    if not 0 < gap <= NEAR * max(1.0, *(abs(b) for _, b in pairs)):
        return ""
    return f": equal within {10.0 ** ceil(log10(gap)):.0e}"


def _paired(value: object, expected: object) -> Iterator[tuple[float, float]]:
    """The numbers of two values beside each other; nothing of what is no number."""
    if isinstance(value, list):
        others = expected if isinstance(expected, list) else [expected] * len(value)
        for one, other in zip(value, others, strict=False):
            yield from _paired(one, other)
    elif isinstance(value, int | float) and isinstance(expected, int | float):
        yield float(value), float(expected)


def _count(value: object) -> int:
    """How many numbers a list of lists holds."""
    return sum(map(_count, value)) if isinstance(value, list) else 1


def full(terminal: Terminal, facts: SpecFacts, found: Sequence[Verdict]) -> None:
    """Each check sentence, and below it measured beside expected for each expectation."""
    for text, verdicts in grouped(facts, found):
        terminal.result(f"\n{clean(text)}")
        ranked = sorted(range(len(verdicts)), key=lambda i: (verdicts[i].status != "failed", i))
        shown = [verdicts[i] for i in sorted(ranked[:MOST])]  # those that failed before the others
        rows = [(cut(v.text, WIDE), *parts(v)) for v in shown]
        lines = columns(rows).split("\n") if rows else ()  # a check may expect nothing
        for line, v in zip(lines, shown, strict=True):
            terminal.result(f"  {verdict(v.status)}  {line}")
        if len(shown) < len(verdicts):
            left = Counter(v.status for v in verdicts) - Counter(v.status for v in shown)
            terminal.result(f"  and {_counts(left)} more")


def tally(terminal: Terminal, found: Sequence[Verdict]) -> None:
    """The last line: how many expectations passed, failed and were not run."""
    if found:
        terminal.result(_counts(Counter(v.status for v in found)))


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[s]} {s}" for s in ORDER if counts[s])
