"""What the commands print: results to stdout, messages to stderr, and nothing else anywhere.

With `--json` stdout is one JSON object. Whatever comes from outside is printed with its control
characters made visible, and no markup is ever read from it: every text passes `dressed`. Colours
stand on terminals only, and not where NO_COLOR is set (no-color.org).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite, log10
from typing import Any, TextIO

import click

from dln.grammar.diagnostics import MOST_SHOWN, DlnError, Problem, clean, rest

MARK = f"\0{os.urandom(8).hex()}\0"
"""What stands around a painted text until it is printed. No name or text of a spec, no path and no
word of the command line can hold it."""

COLOURS = {"passed": "green", "failed": "red", "not run": "yellow"}


@dataclass
class Terminal:
    """Where the output of one command goes. `json` and `quiet` are the options of that name. Of
    several processes of one run all but the first are `silent`. `ending` is done at last: it is
    given the exit code, and gives the one that the process ends with."""

    json: bool = False
    quiet: bool = False
    silent: bool = False
    ending: Callable[[int], int] | None = None

    def result(self, text: str = "") -> None:
        """A result for people; left out with --json."""
        if not self.json and not self.silent:
            print(dressed(text), file=sys.stdout)

    def data(self, found: Mapping[str, Any]) -> None:
        """The result for programs: one JSON object, printed with --json only."""
        if self.json and not self.silent:
            import json  # late: with --json alone

            print(json.dumps(plain(found), allow_nan=False), file=sys.stdout)

    def say(self, text: str) -> None:
        """A message on the way; left out with --quiet."""
        if not self.quiet and not self.silent:
            print(clean(text), file=sys.stderr, flush=True)

    def warn(self, problems: Iterable[Problem]) -> None:
        """What may be wrong, each with its place and remedy; left out with --quiet."""
        for problem in problems if not self.quiet and not self.silent else ():
            print(dressed(_headed(problem, "yellow")) + "\n", file=sys.stderr)

    def error(self, error: DlnError) -> None:
        """Everything that is wrong, as the result, each with its place and remedy."""
        if self.json:
            from dln.grammar.remedies import as_data  # late: with --json alone

            self.data({"problems": [as_data(p) for p in error.problems]})
        self.wrong(error.problems)

    def wrong(self, problems: Sequence[Problem]) -> None:
        """What is wrong, each with its place and remedy, to stderr; how many more there are."""
        if self.silent:
            return
        for i, problem in enumerate(problems[:MOST_SHOWN]):
            print(dressed(("\n" if i else "") + _headed(problem, "red")), file=sys.stderr)
        for line in rest(problems):
            print(f"\n{line}", file=sys.stderr)


def _headed(problem: Problem, colour: str) -> str:
    head, end, rest = str(problem).partition("\n")
    return painted(head, colour, sys.stderr) + end + rest


def coloured(stream: TextIO) -> bool:
    """Whether colours may be printed to a stream."""
    plainly = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plainly and stream.isatty()


def painted(text: str, colour: str, stream: TextIO | None = None) -> str:
    """A text to be in a colour, where the stream (stdout) takes colours: for `dressed`."""
    if not colour or not coloured(stream or sys.stdout):
        return text
    return f"{MARK}{colour}:{text}{MARK}"


def dressed(text: str) -> str:
    """A text as it is printed: what was `painted` in its colour, every other control character
    made visible, wherever it comes from."""
    parts = text.split(MARK)
    for i, part in enumerate(parts):
        colour, _, inner = part.partition(":") if i % 2 else ("", "", part)
        parts[i] = click.style(clean(inner), fg=colour, bold=True) if colour else clean(inner)
    return "".join(parts)


def verdict(status: str, width: int = 7) -> str:
    """`passed`, `failed` or `not run`, in its colour, padded to a column."""
    return painted(f"{status:<{width}}", COLOURS.get(status, ""))


def columns(rows: Iterable[Sequence[str]], right: Iterable[int] = (), lead: str = "") -> str:
    """Rows as aligned columns, two blanks apart; the columns of `right` are set flush right.

    >>> print(columns([("a", "1"), ("bcd", "10")], right=[1]))
    a     1
    bcd  10
    """
    cells, right = [[clean(c) for c in row] for row in rows], set(right)
    if not cells:
        return ""
    turned = [
        [c.rjust(wide) if i in right else c.ljust(wide) for c in column]
        for i, column in enumerate(zip(*cells, strict=True))
        for wide in [max(map(len, column))]
    ]
    return "\n".join(lead + "  ".join(row).rstrip() for row in zip(*turned, strict=True))


def number(value: Any, within: float | None = None, digits: int = 6) -> str:
    """A measured number as a person reads it: six significant digits, or as many as are said, all
    of them from 17 on; or as many decimals as a tolerance asks for; lists in brackets.

    >>> number(79400.0), number(94.8123456), number([1.0, 0.25])
    ('79400', '94.8123', '[1, 0.25]')
    >>> number(0.7651234567891, 1e-9)
    '0.7651234568'
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    if isinstance(value, list | tuple):
        most = 8 if within is None else 3
        shown = [number(v, within, digits) for v in value[:most]]
        return f"[{', '.join(shown + ['...'] * (len(value) > most))}]"
    if not isinstance(value, int | float):
        return clean(str(value))
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < 1e12)
    return str(int(value)) if whole else _digits(value, within, digits)


def _digits(value: float, within: float | None, digits: int) -> str:
    if digits >= 17:
        return repr(value)
    short = f"{value:.{digits}g}"
    if not within or not isfinite(value):
        return short
    decimals = max(2, min(15, 1 + ceil(-log10(within))))
    if "e" in short:
        return f"{value:.{decimals}g}"
    return max(f"{value:.{decimals}f}".rstrip("0").rstrip("."), short, key=len)


def cut(text: str, most: int) -> str:
    """A text of so many characters at most; of a longer one its beginning and three dots."""
    return text if len(text) <= most else text[: most - 3] + "..."


def plural(count: int, what: str) -> str:
    """
    >>> plural(1, "phase"), plural(1200, "phase")
    ('1 phase', '1,200 phases')
    """
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def present(**facts: Any) -> dict[str, Any]:
    """Those of some facts that say something."""
    return {k: v for k, v in facts.items() if v}


def plain(value: Any) -> Any:
    """What JSON can hold: arrays as lists; numbers that JSON lacks as "nan", "inf", "-inf"."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    return value if value is None or isinstance(value, int | str) else str(value)
