"""A scene as text for other programs: Graphviz, and Mermaid, which pages of Markdown draw."""

from __future__ import annotations

from collections.abc import Iterator

from dln.compiler.show import escaped, quoted
from dln.drawing.layout import titled
from dln.drawing.look import LOOKS
from dln.drawing.scene import Box, Scene


def dot(scene: Scene) -> str:
    """The scene for Graphviz; what is opened is a cluster."""
    style = 'shape=box, style="filled,rounded", fontname="DejaVu Sans", fontsize=11'
    font = '[fontname="DejaVu Sans", fontsize=11]'
    head = ["digraph dln {", "  rankdir=TB; compound=true;", f"  node [{style}];"]
    head += [f"  graph {font};", f"  edge {font};"]
    return "\n".join([*head, *_dot(scene, "n", "  "), "}"]) + "\n"


def _dot(scene: Scene, prefix: str, lead: str) -> Iterator[str]:
    names = {box.id: f"{prefix}{i}" for i, box in enumerate(scene.boxes)}
    for box in scene.boxes:
        text = "\\n".join(quoted(line.text) for line in titled(box))
        look = LOOKS[box.kind]
        if box.inside is None:
            colours = f'fillcolor="{look.fill}", color="{look.edge}"'
            yield f'{lead}{names[box.id]} [label="{text}", {colours}];'
            continue
        yield f'{lead}subgraph cluster_{names[box.id]} {{ label="{text}"; color="{look.edge}";'
        yield from _dot(box.inside, f"{names[box.id]}_", lead + "  ")
        yield f"{lead}}}"
    for a in scene.arrows:
        (x, tail), (y, head) = (
            _end(scene, names, n, first) for n, first in ((a.start, False), (a.end, True))
        )
        facts = [f'label="{quoted(a.label)}"'] if a.label else []
        facts += [f"ltail=cluster_{tail}"] if tail else []
        facts += [f"lhead=cluster_{head}"] if head else []
        facts += ["dir=none"] if a.kind == "join" else []
        yield f"{lead}{x} -> {y}{' [' + ', '.join(facts) + ']' if facts else ''};"


def _end(scene: Scene, names: dict[str, str], id: str, first: bool) -> tuple[str, str]:
    """Where an arrow ends: a box, or of an opened one the first or last in it, and its cluster."""
    box = next(b for b in scene.boxes if b.id == id)
    name = names[id]
    cluster = name if box.inside is not None else ""
    while box.inside is not None:
        i = 0 if first else len(box.inside.boxes) - 1
        name, box = f"{name}_{i}", box.inside.boxes[i]
    return name, cluster


def mermaid(scene: Scene) -> str:
    """The scene for Mermaid; what is opened is a subgraph."""
    return "\n".join(["flowchart TB", *_mermaid(scene, "n", "  ")]) + "\n"


def _mermaid(scene: Scene, prefix: str, lead: str) -> Iterator[str]:
    names = {box.id: f"{prefix}{i}" for i, box in enumerate(scene.boxes)}
    for box in scene.boxes:
        yield from _mermaid_box(box, names[box.id], lead)
    for a in scene.arrows:
        arrow = "---" if a.kind == "join" else "-->"
        label = f'|"{escaped(a.label)}"|' if a.label else ""
        yield f"{lead}{names[a.start]} {arrow}{label} {names[a.end]}"


def _mermaid_box(box: Box, name: str, lead: str) -> Iterator[str]:
    text = "<br>".join(escaped(line.text) for line in titled(box))
    if box.inside is None:
        yield f'{lead}{name}["{text}"]'
        return
    yield f'{lead}subgraph {name} ["{text}"]'
    yield from _mermaid(box.inside, f"{name}_", lead + "  ")
    yield f"{lead}end"
