"""Run the recipes of the specs, and write the table of results."""

from __future__ import annotations

from typing import Any

import click

from dln.options import Some, Wrong, settings, takes
from dln.printing.terminal import Terminal
from dln.results.recipes import results

ORDER = 100


@click.command(help=__doc__)
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@click.option("--slow", is_flag=True, help="The full recipes, and the sweeps.")
@click.option("--table", is_flag=True, help="Run nothing: only write the table anew.")
@click.option(
    "--take", type=Some(), metavar="DIR", multiple=True, help="Take the figures of a finished run."
)
@click.option(
    "--to", type=Some(), metavar="FILE", default="docs/results.md", help="[docs/results.md]"
)
@click.option(
    "--specs", "folder", type=Some(), metavar="DIR", help="The specs of a folder [those shipped]."
)
@takes("jobs", "device", "target", "files")
def command(terminal: Terminal, /, specs: tuple[str, ...], **given: Any) -> int:
    """The specs named, or all of a folder."""
    own = {k: given[k] for k in ("folder", "to", "table", "take", "force")}
    said = {"SPEC": specs, "--take": given["take"], "--table": given["table"]}
    if len(found := [word for word, value in said.items() if value]) > 1:
        raise Wrong(f"{' and '.join(found)} exclude each other", f"{found[0]} or {found[1]} alone")
    return results(terminal, settings(terminal, given), specs, **own)
