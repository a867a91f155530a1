"""Run a spec for every combination of what a sweep varies."""

from __future__ import annotations

import gc
from typing import Any

import click

from dln.options import Some, settings, takes
from dln.printing.terminal import Terminal
from dln.sweep.grid import sweep

ORDER = 60


@click.command(help=__doc__)
@click.argument("spec")
@click.argument("name", required=False)
@click.option(
    "--out", type=Some(), metavar="DIR", help="The sweep's directory [runs/SPEC-sweep-N]."
)
@click.option("--resume", type=Some(), metavar="DIR", help="Go on with the sweep that DIR holds.")
@takes("jobs", "training", "device", "target", "memory", "spec")
def command(terminal: Terminal, /, spec: str, name: str | None, **given: Any) -> int:
    """One sweep, or all of a spec."""
    gc.enable()
    return sweep(terminal, spec, name, settings(terminal, given))
