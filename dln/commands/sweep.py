"""Run a spec for every combination of what a sweep varies."""

from __future__ import annotations

import gc
import re
from typing import Any

import click

from dln.options import Some, Wrong, settings, shown, takes
from dln.printing.terminal import Terminal
from dln.sweep.grid import sweep
from dln.sweep.parts import gather, part, refuse_together

ORDER = 60


class Share(click.ParamType[tuple[int, int]]):
    """One of several equal shares."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """`3/20` as 3 and 20. Raises `Wrong`."""
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", str(value))
        k, n = map(int, found.groups()) if found else (0, 0)
        if not 1 <= k <= n:
            form = "K/N, the K-th of N shares of the rows, from 1/N to N/N"
            raise Wrong(f"--part takes {form}, not {shown(str(value))}", "--part 3/20")
        return k, n


@click.command(help=__doc__)
@click.argument("spec")
@click.argument("name", required=False)
@click.option(
    "--out", type=Some(), metavar="DIR", help="The sweep's directory [runs/SPEC-sweep-N]."
)
@click.option("--resume", type=Some(), metavar="DIR", help="Go on with the sweep that DIR holds.")
@click.option(
    "--part", type=Share(), metavar="K/N",
    help="Run the K-th of N shares of the rows, into the directory that all share (--out).",
)  # fmt: skip
@click.option(
    "--gather", type=Some(), metavar="DIR",
    help="The table and the pictures of the rows that parts have left in DIR, and what is missing.",
)  # fmt: skip
@takes("jobs", "training", "device", "target", "memory", "spec")
def command(terminal: Terminal, /, spec: str, name: str | None, **given: Any) -> int:
    """One sweep, or all of a spec."""
    gc.enable()
    asked = settings(terminal, given)
    refuse_together(asked)
    if asked.gather is not None:
        return gather(terminal, spec, name, asked)
    return (sweep if asked.part is None else part)(terminal, spec, name, asked)
