"""`dln` alone: the commands, and the shipped specs in the order of the lecture's slides."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from dln.printing.terminal import columns
from dln.reading.facts import Facts, facts_of
from dln.spec import LIBRARIES, shipped

WIDTH = 80


def overview(commands: Sequence[tuple[str, str]]) -> str:
    """How to call it, the commands with what each does, the shipped specs."""
    specs = [facts_of(p) for n, p in shipped().items() if n not in LIBRARIES]
    beyond = [f for f in specs if not f.slides]
    return "\n\n".join([
        "Usage: dln COMMAND SPEC [options]      (dln COMMAND --help tells more)",
        "Commands:\n" + columns(commands, lead="  "),
        "Shipped specs, by the slides of the lecture:\n" + listed(f for f in specs if f.slides),
        "Beyond the lecture:\n" + listed(beyond),
        "A SPEC is one of these names, or the path of a .dln file.",
    ])  # fmt: skip


def listed(specs: Iterable[Facts]) -> str:
    """Name, slides and title of each, in the order of the slides; a long title goes on below."""
    specs = sorted(specs, key=lambda f: f.order)
    names = max((len(f.name) for f in specs), default=0)
    slides = max((len(f.slides) for f in specs), default=0)
    rows: list[tuple[str, str, str]] = []
    for f in specs:
        first, *more = textwrap.wrap(f.title, WIDTH - names - slides - 6) or [""]
        rows += [(f.name, f.slides, first), *(("", "", line) for line in more)]
    return columns(rows, lead="  ")
