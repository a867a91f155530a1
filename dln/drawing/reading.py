"""A spec read for its pictures: what was applied to what, then a scene of as much as is asked for.

Faults: E573 an instance that there is not, E575 nothing that could be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dln.compiler.frontend.build import build
from dln.compiler.frontend.tracing.applied import Trace
from dln.compiler.ir.masks import live_count
from dln.compiler.model import Model
from dln.drawing import network, overall
from dln.drawing.network import Measures
from dln.drawing.scene import Scene
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Fault, nearest
from dln.spec import Spec

SHOWN = 12  # names that are listed


@dataclass(frozen=True)
class Drawable:
    """A spec of which pictures can be made."""

    name: str
    model: Model
    known: Measures
    trace: Trace
    items: Sequence[s.Item]

    @classmethod
    def of(cls, spec: Spec) -> Drawable:
        """Read a spec once more, with what is applied to what. Raises `DlnError` for one that is
        wrong."""
        _ = spec.facts  # whatever is wrong with it is said as everywhere
        trace = Trace()
        model = build(spec.source, spec.syntax, spec.outside(trace))
        return cls(
            spec.name,
            model,
            Measures(model.sizes, counts(model, True), counts(model, False)),
            trace,
            spec.syntax.items,
        )

    def whole(self, depth: int) -> Scene:
        """Data, instances opened `depth` deep, and phases. Raises `Fault` E575 where there are
        none."""
        found = overall.whole_scene(self.model, self.known, self.trace, depth, self.items)
        if not found.boxes:
            text = f"{self.name} applies no instance and trains nothing: there is nothing to draw"
            raise Fault(text, f"dln show {self.name} --mermaid", "E575")
        return found

    def instance(self, path: str, depth: int) -> Scene:
        """One instance of the spec, or one inside of it, from its inside, `depth` deep. Raises
        `Fault` E573 where there is none."""
        targets = overall.targets_of(self.model, self.trace, every=True)
        if path in targets:
            return overall.instance_scene(self.known, targets[path], depth)
        inner = overall.inside(targets.values(), path)
        if inner is not None and depth > 0:
            return network.opened(self.known, inner, depth - 1)
        if not targets:
            raise Fault(f"{self.name} applies no instance", "leave out --net", "E573")
        text = f"{self.name} has no instance {path} that is applied"
        near = nearest(path, targets) or (next(iter(targets)) if len(targets) == 1 else "")
        remedy = f"--net {near}" if near else f"one of {', '.join(list(targets)[:SHOWN])}"
        raise Fault(text, remedy, "E573")


def counts(model: Model, trainable: bool) -> dict[str, int]:
    """How many numbers each parameter has, or each fixed value, by path."""
    found = {}
    for path, p in model.params.items():
        shape = tuple(model.sizes.resolve(size).constant for size in p.node.type.shape)
        if not p.checks and p.trainable is trainable:
            found[path] = live_count(p.joins, shape)
    return found
