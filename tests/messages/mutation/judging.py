"""Where the answer to a mutant points: at the edit, or beside it.

The first span of the first problem counts. It is on the line where it begins on a line of the
edit, and on the token where it begins at an edited token or at the next to it on either side. A
place that lost what it needs is as good as the edit itself: nobody can say which of the two is
wrong. That is

- a use of a name that the edit took away or changed,
- the mate of a lost bracket, and the header of the block that a lost line stood in,
- the line before or after a lost line,
- the other one of two that are the same.
"""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import dln.spec as spec
from dln.grammar.diagnostics import DlnError, Problem, Source, Span
from dln.spec import Spec
from mutation.edits import Edit, tokens

FOLDER = spec.specs_folder()
MATES = dict(zip(")]}([{", "([{)]}", strict=True))
NAMES = re.compile(r"[A-Za-z_]\w*")
SECONDS = 2.0  # of processor time, for one text


@dataclass(frozen=True)
class Answer:
    """What was answered to a text; `made` where it was accepted."""

    problems: tuple[Problem, ...] = ()
    made: Spec | None = None
    seconds: float = 0.0

    @property
    def code(self) -> str:
        return self.problems[0].code if self.problems else ""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Stops what takes too much processor time."""

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    old = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)


def answer(text: str, name: str = "net.dln") -> Answer:
    """What is answered to a text that stands in the folder of the shipped specs."""
    began = process_time()
    try:
        with limited(SECONDS):
            source = Source(str(FOLDER / name), text)
            made = spec.from_source(source, Path(name).stem, functions=False)
    except DlnError as error:
        return Answer(tuple(error.problems), None, process_time() - began)
    except Exception as error:  # as the command says it, so that it is counted
        defect = Problem("E999", f"a defect of dln: {error!r}")
        return Answer((defect,), None, process_time() - began)
    return Answer((), made, process_time() - began)


@dataclass(frozen=True)
class Place:
    """Whether a span is on the line and on the token of an edit, or at a `partner` of it."""

    line: bool
    token: bool
    partner: bool = False


def place(edit: Edit, span: Span | None) -> Place:
    """Where a span of a mutant stands."""
    if span is None or span.source.text != edit.mutant:
        return Place(False, False)
    if _partner(edit, span):
        return Place(True, True, True)
    end = edit.start + len(edit.text.rstrip("\n"))
    first, last = span.source.position(edit.start)[0], span.source.position(end)[0]
    if edit.operator == "line lost":
        first, last = first - 1, last + 1
        line = first <= span.line <= last
        return Place(line, line)
    words = tokens(edit.mutant)
    left = max((t.start for t in words if t.stop <= edit.start), default=0)
    right = min((t.stop for t in words if t.start >= end), default=len(edit.mutant))
    return Place(first <= span.line <= last, left <= span.start <= right)


def either(problem: Problem, edit: Edit) -> bool:
    """Whether a problem says that something stands twice, once where the edit is."""
    twice = problem.code in ("E329", "E334")
    return twice and any(place(edit, note.span).line for note in problem.notes)


def _partner(edit: Edit, span: Span) -> bool:
    lost = set(NAMES.findall(edit.old)) - set(NAMES.findall(edit.text))
    begins = NAMES.match(span.text)
    if begins and begins[0] in lost:
        return True
    brackets = [b for b in edit.old if b in MATES]
    if not edit.text.strip() and brackets and span.start in _mates(edit, brackets):
        return True
    if edit.operator == "line lost":
        return span.line == span.source.position(_opener(edit))[0]
    return False


def _mates(edit: Edit, brackets: list[str]) -> set[int]:
    """Where the mates of lost brackets stand in the mutant."""
    pairs, opened = dict[int, int](), list[int]()
    for token in tokens(edit.original):
        if token.text in "([{":
            opened.append(token.start)
        elif token.text in ")]}" and opened:
            mate = opened.pop()
            pairs |= {mate: token.start, token.start: mate}
    lost = [i for i in range(edit.start, edit.stop) if edit.original[i] in MATES]
    shift = len(edit.text) - len(edit.old)
    return {m + (shift if m >= edit.stop else 0) for i in lost if (m := pairs.get(i)) is not None}


def _opener(edit: Edit) -> int:
    """Where the innermost brace opens that a line stands in; its own place at the top."""
    opened = [edit.start]
    for token in tokens(edit.original):
        if token.start >= edit.start:
            break
        if token.text == "{":
            opened.append(token.start)
        elif token.text == "}" and len(opened) > 1:
            opened.pop()
    return opened[-1]
