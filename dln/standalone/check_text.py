"""What a spec expects of what its phases report, as text; what asks more of a run is only named."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from json import dumps

from dln.compiler.ir.graph import Node
from dln.compiler.ir.structure import is_clock, is_const
from dln.compiler.model import Checking, Expectation
from dln.compiler.schema.keys import PhaseNumber
from dln.standalone.program.layout import broken, remark

COUNTS = ("updates", "epochs", "seconds")


Side = Callable[[Node], str | None]


def check_lines(checks: Iterable[Checking], phases: Collection[str], of: Side) -> Iterator[str]:
    """What tests what is expected where nothing was cut short: of reports of some phases, and of
    what is known when the file is written; `of` gives a side of it as text."""
    for check in checks:
        yield from of_check(check, phases, of)


def of_check(check: Checking, phases: Collection[str], of: Side) -> Iterator[str]:
    """A check: each of its expectations, or that it is not tested here."""
    asked = [e for e in check.expects if phases_known(e, phases)]
    if asked:
        yield from broken(f"        print({dumps(remark(ascii_text(check.text), 82))})")
    for e in asked:
        sides = [of(e.left), of(e.right), "0" if e.within is None else of(e.within)]
        text = ascii_text(e.text)
        if None in sides:
            yield f"        # not tested here: {remark(text, 70)}"
            continue
        left, right, within = map(str, sides)
        said = [dumps(remark(text, 44)), left, dumps(e.op), right, *[within] * (within != "0")]
        several = "[" in (left[0], right[0]) or "probed" in left or left.startswith("side_")
        form = "expect_all" if several else "expect"
        yield from broken(f"        {form}({', '.join(said)})")


def phases_known(e: Expectation, phases: Collection[str]) -> bool:
    """Whether all phases that an expectation asks are in the file."""
    return all(name in phases for name in e.phases)


def ascii_text(text: str, keep: bool = False) -> str:
    """A text as comments and messages have it, which may keep the ends of its lines."""
    return re.sub(r"[^ -~\n]+" if keep else r"[^ -~]+", "?", text)


def side(node: Node) -> str | None:
    """One side of an expectation: a number, or a report; None for what needs dln."""
    if is_const(node):
        value = node["value"]
        return repr(value.tolist() if hasattr(value, "tolist") else value)
    if not is_clock(node) or not isinstance(asked := node["name"], PhaseNumber) or asked.best:
        return None
    return number_of(asked)


def number_of(asked: PhaseNumber) -> str:
    """A number that a phase has left, as text: a count, or a report."""
    if asked.name in COUNTS:
        return f'float(told["{asked.phase}"]["{asked.name}"])'
    at = -1 if asked.at is None else asked.at - 1 if asked.at < 0 else asked.at
    entry = "" if asked.entry is None else f"[{asked.entry}]"
    return f'told["{asked.phase}.{asked.name}"][{at}][2]{entry}'
