"""Errors as data: where, what was found, what fixed the other side, and the remedy.

A `Problem` is a value; `render` draws it with the line of the spec and a caret. Inner code that
knows no place raises `Fault` (the bare fact); the verb that knows the place turns it into a
`Problem`. `DlnError` carries one or more problems to the user.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from dln.grammar.record import bundle, field

MOST_SHOWN = 20  # problems that are printed
MOST_FOUND = 200  # problems after which a spec is read no further


class Source:
    """A text and its name. Compared by identity, so spans stay cheap to hash."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    @cached_property
    def starts(self) -> list[int]:
        """Offset of the first character of each line."""
        return [0, *(i for i, c in enumerate(self.text, 1) if c == "\n")]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both counted from 1."""
        line = bisect.bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line, without its end."""
        start = self.starts[number - 1]
        stop = self.starts[number] - 1 if number < len(self.starts) else len(self.text)
        return self.text[start:stop].rstrip("\r")

    def __repr__(self) -> str:
        return f"Source({self.path!r})"


class Span:
    """A stretch of a source: offsets `start` to `stop`, `stop` excluded."""

    __slots__ = __match_args__ = ("source", "start", "stop")

    def __init__(self, source: Source, start: int, stop: int) -> None:
        self.source, self.start, self.stop = source, start, stop

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Span):
            return NotImplemented
        return (self.source, self.start, self.stop) == (other.source, other.start, other.stop)

    def __hash__(self) -> int:
        return hash((self.source, self.start, self.stop))

    def __repr__(self) -> str:
        return f"Span({self.source!r}, {self.start}, {self.stop})"

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.stop]

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of another in the same source."""
        return Span(self.source, min(self.start, other.start), max(self.stop, other.stop))

    def holds(self, other: Span) -> bool:
        """Whether another stretch lies in this one."""
        inside = self.start <= other.start and other.stop <= self.stop
        return inside and self.source is other.source

    def as_data(self) -> dict[str, object]:
        path, length = self.source.path, self.stop - self.start
        return {"path": path, "line": self.line, "column": self.column, "length": length}

    def repeats(self, other: Span) -> bool:
        """Whether the line of this span is that of the other once more."""
        if self.source is not other.source or self.line == other.line:
            return False
        return self.source.line(self.line).strip() == self.source.line(other.line).strip()

    def __str__(self) -> str:
        return f"{self.source.path}:{self.line}:{self.column}"


TWICE = "take one of the two lines out"
"""The remedy where a line stands twice."""
CHOICES = "one of "
"""How a remedy begins that leaves the choice."""


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that matters to a problem, underlined with dashes."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or, with the `word` warning, that may be.

    `label` stands at the caret, `facts` and `remedy` (printed as `try: ...`) below the frame.
    `ways` are what else may have been meant, a text in place of a stretch each (`trial.py`).
    """

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    notes: tuple[Note, ...] = ()
    facts: tuple[str, ...] = ()
    remedy: str = ""
    word: str = "error"
    ways: tuple[tuple[Span, str], ...] = ()

    def __str__(self) -> str:
        return render(self)

    @property
    def below(self) -> tuple[str, ...]:
        """The facts below the frame; where nobody has said how to go on, what its code says."""
        if self.facts or self.remedy:
            return self.facts
        from dln.grammar.idioms.ways import way  # late: most specs are right

        return way(self.code, self.message)

    def as_data(self) -> dict[str, object]:
        """The problem as plain data, for `--json` and editors."""

        notes = [{"at": n.span.as_data(), "text": n.text} for n in self.notes]
        return {
            "code": self.code, "message": self.message, "at": self.span and self.span.as_data(),
            "label": self.label, "notes": notes, "facts": list(self.below), "remedy": self.remedy,
        }  # fmt: skip


class Fault(Exception):
    """A bare fact from code that knows no place in a spec: `message`, and perhaps a `remedy`."""

    def __init__(self, message: str, remedy: str = "", code: str = "E500") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code

    def at(self, span: Span | None, label: str = "", notes: tuple[Note, ...] = ()) -> DlnError:
        """The same fact as an error with its place."""
        found = Problem(self.code, self.message, span, label, notes, remedy=self.remedy)
        return DlnError([found])


class DlnError(Exception):
    """What a user did that cannot be carried out: one or more problems."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__()

    def __str__(self) -> str:
        return "\n\n".join([*map(render, self.problems[:MOST_SHOWN]), *rest(self.problems)])


def rest(problems: Sequence[Problem]) -> list[str]:
    """How many problems there are beyond those that are printed."""
    more = len(problems) - MOST_SHOWN
    least = "at least " if len(problems) >= MOST_FOUND else ""
    return [f"and {least}{more:,} more"] if more > 0 else []


@bundle()
class Problems:
    """Collects problems so that one run reports every wrong line."""

    found: list[Problem] = field(default_factory=list)
    places: set[Span | None] = field(default_factory=set)
    seen: set[Problem] = field(default_factory=set)

    def add(self, error: DlnError) -> None:
        for p in error.problems:
            if p not in self.seen:
                self.found.append(p)
                self.seen.add(p)
                self.places.add(p.span)

    def raise_if_any(self) -> None:
        """Raise what was found, in the order of the lines; what has no place comes last."""
        if self.found:
            files = list(dict.fromkeys(p.span.source for p in self.found if p.span))
            end = len(files), 0

            def place(p: Problem) -> tuple[int, int]:
                return end if p.span is None else (files.index(p.span.source), p.span.start)

            raise DlnError(sorted(self.found, key=place))

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.found)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely meant, if one is a slip of the pen away: a mark in
    four may be wrong, one at least. Another word that looks alike is no help, nor one of two that
    are as close. Of two marks any other two may be meant, and another number is no slip.

    >>> nearest("sigmod", ["sigmoid", "tanh"]), nearest("reshape", ["shape"])
    ('sigmoid', None)
    """
    known = sorted(set(known))
    by_fold = {k.casefold(): k for k in reversed(known)}
    if name.casefold() in by_fold:
        return by_fold[name.casefold()]
    most = max(1, len(name) // 4)
    if len(name) < 3:
        return None
    if any(map(str.isdigit, name)):
        bare = _lettered(name)
        known = [k for k in known if _lettered(k) != bare]
    folded = name.casefold()
    found = [(slips(folded, k.casefold()), k) for k in known if abs(len(k) - len(name)) <= most]
    best = min((n for n, _ in found), default=most + 1)
    close = [k for n, k in found if n == best <= most]
    if len(close) < 2:
        return close[0] if close else None
    from difflib import SequenceMatcher  # late: only where a name is wrong

    alike = [SequenceMatcher(None, name, k).ratio() for k in close]
    return None if alike.count(max(alike)) > 1 else close[alike.index(max(alike))]


def _lettered(name: str) -> str:
    return "".join(c for c in name if not c.isdigit())


def slips(a: str, b: str) -> int:
    """How many marks must be changed, left out, put in or exchanged with the next to come from one
    word to another (Damerau 1964; Wagner and Fischer 1974).

    >>> slips("sofmtax", "softmax"), slips("best", "lowest")
    (1, 3)
    """
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


# ---- drawing -----------------------------------------------------------------------------------


MAX_SHOWN = 116  # characters of a source line


def clean(text: str) -> str:
    """Text with control characters made visible, so a name cannot drive the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def _expand(text: str, column: int) -> tuple[str, int]:
    """A line with its tabs expanded, and where `column` (from 0) lands in it."""
    return clean(text).expandtabs(4), len(clean(text[:column]).expandtabs(4))


def _window(shown: str, left: int, right: int) -> tuple[str, int, int]:
    """A line too long to read, cut to what stands around the columns `left` to `right`."""
    if len(shown) <= MAX_SHOWN:
        return shown, left, right
    start = max(0, min(left - MAX_SHOWN // 3, len(shown) - MAX_SHOWN))
    stop = start + MAX_SHOWN
    head, tail = "..." if start else "", "..." if stop < len(shown) else ""
    shift = len(head) - start
    return head + shown[start:stop] + tail, left + shift, min(right, stop) + shift


def _frame(span: Span, mark: str, text: str, width: int) -> list[str]:
    """A source line and, below it, marks under the span with a text beside them."""
    line, column = span.line, span.column - 1
    raw = span.source.line(line)
    last, end = span.source.position(max(span.start, span.stop - 1))
    stop = min(end, len(raw)) if last == line else len(raw)
    shown, left = _expand(raw, column)
    _, right = _expand(raw, max(stop, column + 1))
    shown, left, right = _window(shown, left, max(right, left + 1))
    marks = " " * left + mark * (right - left)
    beside = f" {clean(text)}" if text else ""
    return [f" {line:>{width}} | {shown}", f" {'':>{width}} | {marks}{beside}"]


def render(problem: Problem) -> str:
    """Draw a problem as a person should read it: code, place, lines with marks, remedy."""
    head = f"{problem.word}[{problem.code}]: {clean(problem.message)}"
    tail = [*problem.below]
    if problem.remedy:
        choices = problem.remedy.startswith(CHOICES)
        tail.append(problem.remedy if choices else f"try: {problem.remedy}")
    if problem.span is None:
        return "\n".join([head, *(f"  = {clean(t)}" for t in tail)])
    marks = [(problem.span, "^", problem.label)] + [(n.span, "-", n.text) for n in problem.notes]
    width = max(len(str(s.line)) for s, _, _ in marks)
    here = [m for m in marks if m[0].source is problem.span.source]
    lines = [head, f" {'':>{width}}--> {clean(str(problem.span))}", f" {'':>{width}} |"]
    for span, mark, text in sorted(here, key=lambda m: (m[0].line, m[0].start)):
        frame = _frame(span, mark, text, width)
        lines += frame[1:] if frame[0] in lines else frame
    for span, mark, text in marks:
        if span.source is not problem.span.source:
            lines += [f" {'':>{width}} ::: {clean(str(span))}", *_frame(span, mark, text, width)]
    if tail:
        lines.append(f" {'':>{width}} |")
        below = "\n" + " " * (width + len("  = try: "))
        lines += [f" {'':>{width}} = {clean(t)}".replace("\n", below) for t in tail]
    return "\n".join(lines)
