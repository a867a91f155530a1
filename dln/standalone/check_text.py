"""What a spec expects of what its phases report, as text; what asks more of a run is only named."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from json import dumps

import numpy as np

from dln.compiler.ir.graph import Node
from dln.compiler.ir.structure import is_clock, is_const
from dln.compiler.model import Checking, Expectation
from dln.compiler.schema.keys import PhaseNumber
from dln.printing.terminal import cut
from dln.running.verdict_text import WIDE
from dln.standalone.program.layout import WIDTH, broken, remark

COUNTS = ("updates", "epochs", "seconds")
SIGNS = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "==": ""}
"""How a file calls comparisons."""


Side = Callable[[Node], str | None]


def check_lines(checks: Iterable[Checking], phases: Collection[str], of: Side) -> Iterator[str]:
    """What tests what is expected: of reports of some phases, and of what is known when the file is
    written; `of` gives a side of it as text."""
    some = [check for check in checks if check.expects]
    for k, check in enumerate(some):
        lead = "    checked(cut, [" if not k else " " * 4
        yield f"{lead}({dumps(remark(ascii_text(check.text), 76))},"
        rows = [row for e in check.expects for row in of_expectation(check, e, phases, of)]
        rows[-1] = rows[-1].removesuffix(",") + (")," if k + 1 < len(some) else ")])")
        yield from rows


def of_expectation(check: Checking, e: Expectation, phases: Collection[str], of: Side) -> list[str]:
    """An expectation: its text, the phase that it asks, and its sides or why it is not tested."""
    text, phase = cut(ascii_text(e.text), WIDE), next(iter(e.phases), "")
    tested = '"this file does not test it"'
    if missing := [name for name in e.phases if name not in phases]:
        slow = "slow: write the file with --slow"
        tested = dumps(slow if check.slow else f"the phase {missing[0]} was not run")
    elif e.op in SIGNS:
        sides = [of(e.left), of(e.right), "0" if e.within is None else of(e.within)]
        if None not in sides:
            left, right, within = sides
            tested = f"lambda: ({left}, {dumps(SIGNS[e.op])}, {right}, {within})"
    shown = dumps("" if tested[0] == '"' else phase)
    return broken(f"        ({dumps(text)}, {shown}, {tested}),", WIDTH - 3)


def ascii_text(text: str, keep: bool = False) -> str:
    """A text as comments and messages have it, which may keep the ends of its lines."""
    return re.sub(r"[^ -~\n]+" if keep else r"[^ -~]+", "?", text)


def side(node: Node) -> str | None:
    """One side of an expectation: a number, or a report; None for what needs dln."""
    if is_const(node):
        value = node["value"]
        value = np.asarray(value) if isinstance(value, tuple) else value
        value = int(value) if isinstance(value, bool | np.bool_) else value
        return repr(value.tolist() if hasattr(value, "tolist") else value)
    if not is_clock(node) or not isinstance(asked := node["name"], PhaseNumber):
        return None
    return number_of(asked)


def number_of(asked: PhaseNumber) -> str:
    """A number that a phase has left, as text: a count, or a report."""
    entry = "" if asked.entry is None else f"[{asked.entry}]"
    if asked.best:
        name = asked.name if asked.name in COUNTS else f"{asked.phase}.{asked.name}"
        return f'told["best {asked.phase}"]["{name}"]{entry}'
    if asked.name in COUNTS:
        return f'float(told["{asked.phase}"]["{asked.name}"])'
    at = -1 if asked.at is None else asked.at - 1 if asked.at < 0 else asked.at
    return f'told["{asked.phase}.{asked.name}"][{at}][2]{entry}'
