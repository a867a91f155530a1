"""Import a model as a spec, or weights of other tools by a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dln.options import Some, Wrong, settings, shown, takes
from dln.printing.terminal import Terminal

ORDER = 86
OPTIONS = {"constants": "-D", "define": "-D"}  # what are called otherwise


@click.command(help=__doc__)
@click.argument("file", metavar="[FILE.onnx]", required=False, type=Some())
@click.option("--weights", type=Some(), metavar="FILE",
              help="Weights: .safetensors, .npz, .mat, or a run.")  # fmt: skip
@click.option("--into", type=Some(), metavar="RUN", help="With --weights: a run or a spec.")
@click.option("--map", "chart", type=Some(), metavar="CSV",
              help="With --weights: what goes where [one is proposed].")  # fmt: skip
@click.option("--map-to", "chart_to", type=Some(), metavar="CSV",
              help="With --weights: where a proposed map goes [stdout].")  # fmt: skip
@click.option("--to", type=Some(), metavar="FILE",
              help="A .dln file [FILE.dln]; of weights a .safetensors file.")  # fmt: skip
@takes("spec", "target", "files")
def command(
    terminal: Terminal, /, file: str | None, weights: str | None, into: str | None,
    chart: str | None, chart_to: str | None, to: str | None, force: bool, **given: Any,
) -> int:  # fmt: skip
    """A spec made of a model; or a map that is proposed, or the file that one makes. Raises
    `DlnError` E615 to E622, E625 to E629, `Fault` E611 for files that are there."""
    if file is not None:
        if weights is not None or into is not None:
            raise Wrong("a model has its own weights", f"dln import {file}")
        if chart is not None or chart_to is not None:
            raise Wrong("a model needs no map of names", f"dln import {file}")
        return model(terminal, file, to, force, given)
    if weights is None or into is None:
        raise Wrong("import takes FILE.onnx, or --weights FILE --into RUN",
                    "dln import --weights w.safetensors --into mlp")  # fmt: skip
    from dln.weights.importing import imported  # late: NumPy

    return imported(terminal, settings(terminal, given), weights, into, chart, to, chart_to,
                    force)  # fmt: skip


def model(terminal: Terminal, file: str, to: str | None, force: bool, given: dict[str, Any]) -> int:
    """A spec, and its weights beside it, of a model in a file."""
    terminal.json, terminal.quiet = given["json"], given["quiet"]
    if odd := [k for k, v in given.items() if v and k not in ("json", "quiet")]:
        raise Wrong(f"a model takes no {OPTIONS.get(odd[0], f'--{odd[0]}')}", f"dln import {file}")
    if Path(file).suffix != ".onnx":
        raise Wrong(f"import reads a model of .onnx, not {shown(file)}", "dln import net.onnx")
    target = Path(to) if to is not None else Path(Path(file).name).with_suffix(".dln")
    if target.suffix != ".dln":
        stem = target.stem if target.suffix else target.name
        raise Wrong(f"--to writes .dln, not {target.suffix or to}", f"--to {stem}.dln")
    from dln.importing.onnx_import import imported  # late: NumPy

    return imported(terminal, Path(file), target, force)
