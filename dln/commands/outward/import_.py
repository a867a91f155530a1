"""Import weights of other tools, by a map of names."""

from __future__ import annotations

from typing import Any

import click

from dln.options import Some, Wrong, settings, takes
from dln.printing.terminal import Terminal

ORDER = 86


@click.command(help=__doc__)
@click.option("--weights", type=Some(), metavar="FILE",
              help="Weights: .safetensors, .npz, .mat, or a run.")  # fmt: skip
@click.option("--into", type=Some(), metavar="RUN", help="With --weights: a run or a spec.")
@click.option("--map", "chart", type=Some(), metavar="CSV",
              help="With --weights: what goes where [one is proposed].")  # fmt: skip
@click.option("--map-to", "chart_to", type=Some(), metavar="CSV",
              help="With --weights: where a proposed map goes [stdout].")  # fmt: skip
@click.option("--to", type=Some(), metavar="FILE",
              help="A .safetensors file [SPEC.safetensors].")  # fmt: skip
@takes("spec", "target")
def command(
    terminal: Terminal, /, weights: str | None, into: str | None, chart: str | None,
    chart_to: str | None, to: str | None, **given: Any,
) -> int:  # fmt: skip
    """A map that is proposed, or the file that one makes. Raises `DlnError` E625 to E629."""
    if weights is None or into is None:
        raise Wrong("import takes --weights FILE --into RUN",
                    "dln import --weights w.safetensors --into mlp")  # fmt: skip
    from dln.weights.importing import imported  # late: NumPy

    return imported(terminal, settings(terminal, given), weights, into, chart, to, chart_to)
