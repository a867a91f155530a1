"""What a remedy changes in a text, where its words can be put in place as they stand.

`edit(problem)` is for editors and for tests. Most remedies are text alone, and this reads
off what they replace. A remedy in prose, or with dots to be filled in, changes nothing by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from dln.grammar.diagnostics import DlnError, Problem, Source, Span
from dln.grammar.parser import parse_source
from dln.grammar.repair import phrased, repeats

HOLE = "..."
MOST = 100_000  # characters of a text that is read again
NAMED = re.compile(r"([A-Za-z_]\w*)\s*=\s*(?!=)")
ITEM = re.compile(r"(?:let|const|fn|use) |[#}]")  # a line by itself
CLAUSES = ("for", "every", "over", "with", "within", "by", "on", "as")
PORT = re.compile(r"\w+(?:\[[^\[\]]*\])?: \w+(?:\([^()]*\))?")  # with its domain
TAIL = re.compile(r"\s*\{?\s*$")


@dataclass(frozen=True, slots=True)
class Edit:
    """A text in place of a stretch of a source."""

    span: Span
    text: str

    @property
    def changed(self) -> str:
        """The whole source after the edit."""
        text = self.span.source.text
        return text[: self.span.start] + self.text + text[self.span.stop :]


def as_data(problem: Problem) -> dict[str, object]:
    """A problem as plain data, with what its remedy changes."""
    found = edit(problem)
    change = found and {"at": found.span.as_data(), "text": found.text}
    return {**problem.as_data(), "edit": change}


def edit(problem: Problem) -> Edit | None:
    """What the remedy of a problem changes; None where it is advice.

    Of the ways to put it in place, the first after which the text has fewer syntax errors, or none.
    """
    span, said = problem.span, problem.remedy
    if span is None or not said or HOLE in said or len(span.source.text) > MOST:
        return None
    if (told := phrased(problem)) is not None:
        start, stop, text = told
        return Edit(Span(span.source, start, stop), text)
    before: int | None = None
    for found in _ways(span, said):
        if (after := mistakes(found.changed)) == 0:
            return found
        before = mistakes(span.source.text) if before is None else before
        if after < before:
            return found
    return None


def placed(problem: Problem) -> Edit | None:
    """The first place that a remedy would fit into, right or wrong there; None for advice."""
    span, said = problem.span, problem.remedy
    if span is None or not said or HOLE in said or len(span.source.text) > MOST:
        return None
    return next(_ways(span, said), None)


@lru_cache(maxsize=64)
def mistakes(text: str) -> int:
    """How many syntax errors a text has."""
    try:
        parse_source(Source("<text>", text))
    except DlnError as error:
        return len(error.problems)
    return 0


def _ways(span: Span, said: str) -> Iterator[Edit]:
    if (said.isidentifier() and span.text.isalnum()) or not mistakes(f"let a = ({said})\n"):
        yield Edit(span, said)
    elif PORT.fullmatch(said) and PORT.fullmatch(span.text):
        yield Edit(span, said)
    elif (named := NAMED.match(said)) is not None:
        yield from _option(span, said, named[1])
    line = _statement(span)
    whole = span.text.strip() == line.text
    if whole or "\n" in said or ITEM.match(said) or repeats(said, line.text):
        yield Edit(line, said)
    elif said.split()[0] in CLAUSES:
        end = line.start + len(TAIL.sub("", line.text))
        yield Edit(Span(span.source, end, end), f" {said}")


def _option(span: Span, said: str, name: str) -> Iterator[Edit]:
    """`name = value` in place of an option of that name, whose value the span is."""
    text = span.source.text
    before = re.search(rf"\b{name}\s*=\s*$", text[: span.start])
    if before is not None:
        yield Edit(Span(span.source, before.start(), span.stop), said)


def _statement(span: Span) -> Span:
    """The lines of a span, without the blanks before them and the comment behind."""
    source = span.source
    last = source.position(max(span.start, span.stop - 1))[0]
    first, text = source.starts[span.line - 1], source.line(last)
    stop = source.starts[last - 1] + len(text.split("#")[0].rstrip())
    start = first + len(source.line(span.line)) - len(source.line(span.line).lstrip())
    return Span(source, start, max(start, stop))
