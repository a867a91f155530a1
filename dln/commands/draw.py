"""Draw the network as a picture: layers, sizes, data, phases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from dln.drawing import graphviz as by_graphviz
from dln.drawing import layout, raster, svg, text_forms
from dln.drawing.reading import Drawable
from dln.drawing.scene import Scene
from dln.grammar.diagnostics import Fault
from dln.options import Some, Whole, Wrong, loaded, settings, takes
from dln.printing import pictures
from dln.printing.files import put, spared
from dln.printing.terminal import Terminal

ORDER = 25
FORMS: dict[str, Callable[[Scene], bytes]] = {
    ".svg": lambda scene: svg.svg(layout.laid_out(scene)).encode(),
    ".png": lambda scene: raster.drawn(layout.laid_out(scene), ".png"),
    ".pdf": lambda scene: raster.drawn(layout.laid_out(scene), ".pdf"),
    ".dot": lambda scene: text_forms.dot(scene).encode(),
    ".mmd": lambda scene: text_forms.mermaid(scene).encode(),
}
"""Kinds of files: pictures, then texts for Graphviz and Mermaid."""
DRAWN = (".png", ".pdf")  # by matplotlib
LAID_OUT = (".svg", *DRAWN)  # by Graphviz, where it is asked for


@click.command(help=__doc__)
@click.argument("spec")
@click.option("--to", type=Some(), metavar="FILE",
              help="A .svg, .png, .pdf, .dot or .mmd file [SPEC.svg].")  # fmt: skip
@click.option("--depth", type=Whole(), metavar="N", default=1,
              help="How deep instances are opened: 0 not, 2 to their equations [1].")  # fmt: skip
@click.option("--graphviz", is_flag=True, help="Let Graphviz lay it out, where it is installed.")
@click.option("--net", type=Some(), metavar="NAME", help="Only this instance, from its inside.")
@takes("spec", "files")
def command(
    terminal: Terminal, /, spec: str, to: str | None, depth: int, graphviz: bool,
    net: str | None, force: bool, **given: Any,
) -> int:  # fmt: skip
    """A picture of the whole spec, or of one instance. Raises `Fault` E574 where there is no
    matplotlib for it, E576 where there is no Graphviz, E611 for a file that is there."""
    asked = settings(terminal, given)
    if to is not None and Path(to).suffix not in FORMS:
        kinds = ", ".join(FORMS)
        stem = Path(to).stem if Path(to).suffix else to
        raise Wrong(f"--to draws {kinds}, not {Path(to).suffix or to}", f"--to {stem}.svg")
    found = loaded(spec, asked)
    path = Path(to or (f"{found.name}-{net}.svg" if net else f"{found.name}.svg"))
    spared(path, force=force)
    if path.suffix in DRAWN and not graphviz and not pictures.available():
        remedy = f"--to {path.with_suffix('.svg')}, or pip install 'dln[plot]'"
        raise Fault(f"a picture in {path.suffix} needs matplotlib", remedy, "E574")
    drawable = Drawable.of(found)
    scene = drawable.whole(depth) if net is None else drawable.instance(net, depth)
    if graphviz and path.suffix in LAID_OUT:
        made = by_graphviz.drawn(scene, path.suffix)
    else:
        made = FORMS[path.suffix](scene)
    put(path, made, "free some space, or give another --to")
    terminal.say(f"wrote {path}")
    terminal.data({"spec": found.name, "file": str(path), "scene": asdict(scene)})
    return 0
