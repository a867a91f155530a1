"""`dln` alone: the commands and the shipped specs, each with a line."""

from __future__ import annotations

from pathlib import Path

import click

from dln.spec import LIBRARIES, shipped
from dln.terminal import columns

WIDTH = 62


def overview(group: click.Group) -> str:
    """How to call it, the commands, the shipped specs."""
    commands = [(n, c.get_short_help_str(WIDTH)) for n, c in group.commands.items()]
    specs = [(n, first_line(p)) for n, p in shipped().items() if n not in LIBRARIES]
    parts = [
        "Usage: dln COMMAND SPEC [options]      (dln COMMAND --help tells more)",
        "Commands:\n" + columns(commands, lead="  "),
        "Shipped specs:\n" + columns(specs, lead="  "),
        "A SPEC is one of these names, or the path of a .dln file.",
    ]
    return "\n\n".join(parts)


def first_line(path: Path) -> str:
    """What the first comment of a spec says, cut between two words where it is long."""
    with path.open(encoding="utf-8", errors="replace") as text:
        line = text.readline()
    said = line.removeprefix("#").strip() if line.startswith("#") else ""
    said = said.split(": ")[0].removesuffix(".")
    if len(said) <= WIDTH:
        return said
    return said[: WIDTH - 3].rpartition(" ")[0].rstrip(",;(") + " ..."
