"""Several problems that have one cause, told as one.

Where the line that opens a body is missing, every line of the body stands at the top of the file,
and the brace behind it closes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from dln.grammar.diagnostics import Note, Problem, Source
from dln.grammar.recovery import ITEMS

ITEM = re.compile(rf"[ \t]*(?:{'|'.join(sorted(ITEMS))})\b")
TOP = ("not at the top of a file", "an equation stands inside a block, a phase, a task or a check")
"""How it ends what is said of a line at the top of a file that belongs in a body."""


def as_one(problems: Sequence[Problem], source: Source) -> list[Problem]:
    """The problems of a text in order, those of a body without its first line as one."""
    found, run = list[Problem](), list[Problem]()
    for problem in sorted(problems, key=lambda p: p.span.start if p.span else 0):
        if run and not (_orphan(problem) and _together(run[-1], problem, source)):
            found += _told(run)
            run = []
        if _orphan(problem) and (run or not _closes(problem)):
            run.append(problem)
        else:
            found.append(problem)
    return found + _told(run)


def _orphan(problem: Problem) -> bool:
    """Whether a line stands at the top of a file that belongs in a body, or closes one."""
    stray = problem.code == "E108" and problem.message.endswith(TOP)
    return stray or problem.message.startswith("expected an item") or _closes(problem)


def _closes(problem: Problem) -> bool:
    return problem.code == "E103" and problem.message.startswith("this }")


def _together(one: Problem, other: Problem, source: Source) -> bool:
    """Whether no item begins between two lines."""
    if one.span is None or other.span is None or _closes(one):
        return False
    between = range(one.span.line + 1, other.span.line)
    return not any(ITEM.match(source.line(n)) for n in between)


def _told(run: Sequence[Problem]) -> list[Problem]:
    """The first of the lines of a body; of others, the first of those that are alike."""
    if len(run) < 2 or not _closes(run[-1]):
        alike = groupby(run, lambda p: p.message)
        return [_counted(list(same)) for _, same in alike]
    first, last = run[0], run[-1]
    assert last.span is not None
    notes = (*first.notes, Note(last.span, "closes nothing then"))
    fact = "is the line missing that opens what stands here, as train ... { or block ... {?"
    return [replace(first, notes=notes, facts=(*first.facts, fact), remedy="")]


def _counted(same: Sequence[Problem]) -> Problem:
    first, more = same[0], len(same) - 1
    if not more:
        return first
    fact = f"so do {more} more lines below it" if more > 1 else "so does one more line below it"
    return replace(first, facts=(*first.facts, fact))
