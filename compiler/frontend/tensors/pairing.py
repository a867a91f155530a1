"""A sequence beside what does not run over time: each of its steps would meet each entry.

That is meant of a vector of parameters, and of one that is the same in all steps. Of classes it is
not, nor of numbers of which each example has as many as there are steps: those are one for each
step, and were declared without `time`. Which is meant an index can say.
"""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.frontend.context.broadcasting import short
from dln.compiler.frontend.context.build_context import Build
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_input
from dln.compiler.ir.tensor_type import TIME
from dln.grammar.diagnostics import Note, Span


def refuse_pairs(
    b: Build, nodes: Sequence[Node], spans: Sequence[Span], axes: Sequence[int] = ()
) -> None:
    """Refuse such a pair among some tensors. `axes` are the axes of each that a function takes as a
    whole."""
    mine = []
    for i, (node, span) in enumerate(zip(nodes, spans, strict=True)):
        if "batch" in node.type.running:
            whole = axes[i] if axes else 0
            mine.append((node, span, node.type.example[: len(node.type.example) - whole]))
    for x, at, single in mine:
        if TIME not in x.type.running or single:
            continue
        for y, other, many in mine:
            if len(many) == 1 and TIME not in y.type.running and _suspicious(b, x, y, many[0]):
                _refuse(b, x, y, many[0], (at, other))


def _suspicious(b: Build, x: Node, y: Node, many: Size) -> bool:
    steps, entries = b.sizes.resolve(x.type.size_of("time")), b.sizes.resolve(many)
    return y.type.domain.name == "class" or (steps.value is not None and steps == entries)


def _refuse(b: Build, x: Node, y: Node, many: Size, spans: tuple[Span, Span]) -> None:
    places = [b.blame(n, p) for n, p in zip((x, y), spans, strict=True)]
    steps, entries = b.sizes.resolve(x.type.size_of("time")), b.sizes.resolve(many)
    pairs = ""
    if steps.value is not None and entries.value is not None:
        pairs = f": {steps.value * entries.value} pairs"
    name = y["name"] if is_input(y) else short(places[1].text)
    notes = () if places[0] == places[1] else (Note(places[0], f"runs over time, {steps} steps"),)
    b.fail(
        "E222",
        f"each step would meet each entry of what does not run over time{pairs}",
        places[1],
        f"is {b.shown(y.type)}",
        notes,
        f"declare it over time where its values are: {name}[time]; where all pairs are meant say "
        f"so by an index: y[i] = ... {short(places[1].text)}[i] ...",
    )
