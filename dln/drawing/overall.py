"""A whole spec: its data, what is applied to them, the phases that learn.

The instances of the spec are drawn once each, with what flows between them in any phase. Those that
are alike in all ways are opened once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dln.compiler.frontend.context.build_context import Instance
from dln.compiler.frontend.energy.groups import VERBS
from dln.compiler.frontend.tracing.applied import Trace, TracedCall
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.structure import is_draw
from dln.compiler.model import Model, Phase
from dln.drawing import alike, words
from dln.drawing.flows import all_sources
from dln.drawing.machines import machine_box
from dln.drawing.network import (
    Measures,
    Part,
    block_box,
    flat,
    joined,
    opened,
    port_part,
    result_parts,
    root_of,
)
from dln.drawing.scene import Arrow, Box, Scene, TextLine
from dln.drawing.words import parts_of
from dln.grammar import syntax as s
from dln.printing.terminal import cut, plural

LOSS = 40  # characters of a loss


@dataclass
class DrawnInstance:
    """An instance of the spec, a chain or a machine: the calls of it in phases, and those that show
    what is in it, of the instance laid out alone where there are such."""

    path: str
    calls: list[TracedCall] = field(default_factory=list)
    alone: list[TracedCall] = field(default_factory=list)
    elsewhere: list[TracedCall] = field(default_factory=list)

    @property
    def machine(self) -> Instance | None:
        made = self.shown[0].made
        return made if made is not None and made.groups else None

    @property
    def shown(self) -> list[TracedCall]:
        """The calls that show what is in it, each path once; none of one made in a check."""
        calls = self.alone or self.calls or self.elsewhere
        return list({c.path: c for c in calls if c.site == calls[0].site}.values())


def targets_of(model: Model, trace: Trace, every: bool = False) -> dict[str, DrawnInstance]:
    """The instances that phases apply which learn, by path; or `every` one that is applied, as
    where no phase applies any."""
    paths = [*model.functions.applied, *model.functions.refused]
    machines = {p.rpartition(".")[0] for p in paths if p.rpartition(".")[2] in VERBS}
    known = sorted({*machines, *paths}, key=len, reverse=True)
    found: dict[str, DrawnInstance] = {}
    calls = list(flat(trace.found))
    for call in calls:
        if call.made is None:
            continue
        path = next((k for k in known if _belongs(call.path, k)), _outermost(call.path))
        target = found.setdefault(path, DrawnInstance(path))
        if call.site in model.phases and not call.alone:
            target.calls.append(call)
        elif call.alone:
            target.alone.append(call)
        elif call.made.scope.space.kind == "spec":
            target.elsewhere.append(call)
    phases = {phase.name for phase in learning(model)}
    learnt = {k: t for k, t in found.items() if any(c.site in phases for c in t.calls)}
    if learnt and not every:
        return learnt
    return {k: t for k, t in found.items() if t.shown}


def _belongs(path: str, whole: str) -> bool:
    return path == whole or path.startswith((f"{whole}.", f"{whole}["))


def _outermost(path: str) -> str:
    return path.partition(".")[0]


def inside(targets: Iterable[DrawnInstance], path: str) -> TracedCall | None:
    """What was applied under a path in an instance."""
    todo = [call for target in targets for call in target.shown]
    while todo:
        call = todo.pop(0)
        if call.path == path and call.kind == "block":
            return call
        todo += call.inside
    return None


# ---- one instance ------------------------------------------------------------------------------


def target_box(known: Measures, target: DrawnInstance, depth: int) -> Box:
    """The box of an instance, a chain or a machine, opened so deep."""
    if target.machine is not None:
        return machine_box(known, target.machine, depth)
    calls = target.shown
    if len(calls) == 1 and calls[0].path == target.path:
        return block_box(known, calls[0], depth, target.path)
    lines = (TextLine(target.path, "title"), *known.under(target.path, True))
    if depth > 0:
        return Box(target.path, "group", lines, chain_scene(known, calls, depth - 1))
    sizes = words.shape(known.sizes, next(iter(calls[-1].results.values())).type)
    return Box(target.path, "block", (lines[0], *([TextLine(sizes)] if sizes else []), *lines[1:]))


def chain_scene(known: Measures, calls: Sequence[TracedCall], depth: int) -> Scene:
    """The parts of a chain, from its first port to its last result."""
    first, last = calls[0], calls[-1]
    ports = [port_part(known, name, node) for name, node in first.ports.items()]
    parts = [
        Part(block_box(known, c, depth, f"call{i}", c.name), [("", v) for v in c.ports.values()],
             [*c.results.values()])
        for i, c in enumerate(calls)
    ]  # fmt: skip
    return joined([*ports, *parts, *result_parts(known, last)])


def instance_scene(known: Measures, target: DrawnInstance, depth: int) -> Scene:
    """An instance by itself: what is in it, `depth` deep."""
    if depth <= 0:
        return Scene((target_box(known, target, 0),))
    if target.machine is not None:
        return Scene((machine_box(known, target.machine, 1),))
    calls = target.shown
    if len(calls) == 1 and calls[0].path == target.path:
        return opened(known, calls[0], depth - 1)
    return chain_scene(known, calls, depth - 1)


# ---- the whole ---------------------------------------------------------------------------------


def whole_scene(
    model: Model, known: Measures, trace: Trace, depth: int, items: Sequence[s.Item]
) -> Scene:
    """Data, instances and phases of a spec, with what flows between them."""
    targets = targets_of(model, trace)
    data = _data_parts(model, known)
    drawn: dict[str, Box] = {}
    arrows = dict[tuple[str, str], Arrow]()
    phases = [_phase_box(phase, targets, items) for phase in learning(model)]
    for phase, box in zip(learning(model), phases, strict=True):
        known_values = _Values.of(phase, data, targets)
        drawn |= known_values.draw(phase, items)
        known_values.flows(box.id, arrows)
    merged = _alike(known, targets)
    boxes = [_as_another(known, t, merged.get(path, path), depth) for path, t in targets.items()]
    every = [*(d.box for d in data.values()), *drawn.values(), *boxes, *phases]
    scene = Scene(tuple(every), tuple(a for a in arrows.values() if a.start != a.end))
    scene = without_loose(alike.phases_merged(scene, phases))
    return alike.lists_merged(scene, merged)


def learning(model: Model) -> list[Phase]:
    """The phases that move something; others only measure."""
    return [phase for phase in model.phases.values() if phase.updates or phase.descent is not None]


@dataclass
class _Values:
    """The values of one phase that something drawn gives, and what they are called there."""

    asked: tuple[Node, ...]
    names: dict[Node, str]
    said: dict[Node, str]
    calls: list[tuple[str, TracedCall]]
    machines: dict[str, DrawnInstance]

    @classmethod
    def of(
        cls, phase: Phase, data: Mapping[str, Part], targets: Mapping[str, DrawnInstance]
    ) -> _Values:
        asked = phase.objectives or tuple(phase.updates.values())
        needed = set(ancestors(asked))
        calls = [(path, call) for path, target in targets.items() for call in target.calls
                 if call.site == phase.name and not needed.isdisjoint(
                     [*call.ports.values(), *call.results.values()])]  # fmt: skip
        names, said = dict[Node, str](), dict[Node, str]()
        own = data.get(phase.on.data)
        for d in [
            *([own] if own else []),
            *data.values(),
        ]:  # sets that are alike share their fields
            names = dict.fromkeys(d.gives, d.box.id) | names
            said = dict(zip(d.gives, d.tied, strict=True)) | said
        for path, call in calls:
            names |= dict.fromkeys(call.results.values(), path)
            said |= {v: n for n, v in call.results.items() if len(call.results) > 1}
        return cls(asked, names, said, calls, {p: t for p, t in targets.items() if t.machine})

    def draw(self, phase: Phase, items: Sequence[s.Item]) -> dict[str, Box]:
        """Noise that a phase draws and hands to an instance, as its text says it."""
        drawn = (st for st in statements(phase, items) if isinstance(st, s.Draw))
        lines = {st.target.name: st for st in drawn if not self._depends(st.value)}
        found = {}
        for node in ancestors([v for _, call in self.calls for v in call.ports.values()]):
            if not is_draw(node) or any(n in self.names for n in ancestors([node])):
                continue
            name = str(node.attrs.get("site", "")).partition("#")[0].rpartition(".")[2]
            if name in lines:
                self.names[node] = f"draw {name}"
                text = words.equation(lines[name].span.text, 1)
                found[name] = Box(f"draw {name}", "draw", tuple(text))
        return found

    def _depends(self, value: s.Syntax) -> bool:
        """Whether a draw is one given an instance or a field: then it is none of the noise."""
        own = {name.partition("[")[0] for name, _ in self.calls} | set(self.said.values())
        return any(isinstance(p, s.Name) and p.id in own for p in parts_of(value))

    def flows(self, phase: str, arrows: dict[tuple[str, str], Arrow]) -> None:
        """The arrows of this phase: into instances, and into what it minimises."""
        taken = dict[Node, str]()
        for path, call in self.calls:
            for node in call.ports.values():
                for value, source in all_sources([node], self.names).items():
                    _add(arrows, source, path, self.said.get(value, ""))
                if root_of(node) not in self.names or path in self.machines:
                    taken[node] = path  # what goes into an instance reaches the loss through it
        for value, source in all_sources(self.asked, self.names | taken).items():
            label = "" if value in taken else self.said.get(value, "")
            _add(arrows, source, phase, label)


def _add(arrows: dict[tuple[str, str], Arrow], start: str, end: str, label: str) -> None:
    said = arrows.get((start, end))
    labels = dict.fromkeys(filter(None, [*(said.label.split(", ") if said else []), label]))
    arrows[start, end] = Arrow(start, end, ", ".join(labels))


def _data_parts(model: Model, known: Measures) -> dict[str, Part]:
    found = {}
    for name, data in model.data.items():
        fields = [f for f in data.fields.values()]
        lines = [TextLine(name, "title"), TextLine(plural(data.count, "example"))]
        lines += [TextLine(words.named(known.sizes, f.name, f.node)) for f in fields]
        box = Box(f"data {name}", "data", tuple(lines))
        found[name] = Part(box, [], [f.node for f in fields], tied=[f.name for f in fields])
    return found


def _phase_box(phase: Phase, targets: Mapping[str, DrawnInstance], items: Sequence[s.Item]) -> Box:
    """What a phase does: its data, how long, by which optimiser it moves what."""
    count, unit = phase.duration
    on = phase.on.spoken
    batch = "all at once" if phase.batch is None else f"batch {phase.batch}"
    lines = [TextLine(phase.name, "title"), TextLine(f"{on}, {batch}"),
             TextLine(plural(count, unit))]  # fmt: skip
    trained = [path for path in targets if any(_belongs(p, path) for p in phase.updates)]
    how = optimisers(phase, items)
    lines += [TextLine(cut(text, LOSS), "code") for text in losses(phase, items)[:2]]
    lines += [TextLine(f"trains {', '.join(alike.shortened(trained))}")] if trained else []
    lines += [TextLine(f"by {', '.join(how)}")] if how else []
    return Box(f"phase {phase.name}", "phase", tuple(lines))


def optimisers(phase: Phase, items: Sequence[s.Item]) -> list[str]:
    """The names of the optimisers of a phase, as its text says them."""
    calls = (st.optimiser for st in minimized(phase, items))
    return list(dict.fromkeys(call.span.text.partition("(")[0].strip() for call in calls))


def losses(phase: Phase, items: Sequence[s.Item]) -> list[str]:
    """What a phase minimises, as its text says it."""
    texts = (" ".join(st.loss.span.text.split()) for st in minimized(phase, items))
    return list(dict.fromkeys(f"minimize {text}" for text in texts))


def minimized(phase: Phase, items: Sequence[s.Item]) -> list[s.Minimize]:
    """Its lines of `minimize`."""
    return [st for st in statements(phase, items) if isinstance(st, s.Minimize)]


def statements(phase: Phase, items: Sequence[s.Item]) -> list[object]:
    """What stands in a phase, in its steps too."""
    found = [st for st in _statements(items) if isinstance(st, s.Train) and named(phase, st)]
    return [st for train in found for st in _deep_statements(train.body)]


def named(phase: Phase, train: s.Train) -> bool:
    """Whether a statement is that of a phase, or of a row of phases that it is one of."""
    return train.name.name == phase.name.partition("[")[0]


def _statements(items: Iterable[object]) -> Iterable[object]:
    for item in items:
        yield item
        if isinstance(item, s.For):
            yield from _statements(item.body)


def _deep_statements(body: Iterable[s.Stmt]) -> Iterable[object]:
    for st in body:
        yield st
        if isinstance(st, s.Step | s.For):
            yield from _deep_statements(st.body)  # type: ignore[arg-type]


# ---- alike -------------------------------------------------------------------------------------


def _alike(known: Measures, targets: Mapping[str, DrawnInstance]) -> dict[str, str]:
    """Instances that have the same inside as an earlier one, with that one's path."""
    seen: dict[object, str] = {}
    found = {}
    for path, target in targets.items():
        key = tuple((line.text, line.style) for line in target_box(known, target, 0).lines[1:])
        inside = instance_scene(known, target, 9)
        whole = (_block_name(target), key, _shape(inside))
        if whole in seen:
            found[path] = seen[whole]
        seen.setdefault(whole, path)
    return found


def _shape(scene: Scene) -> object:
    """A scene but for the names of instances."""
    boxes = tuple(
        (b.id, b.kind, b.lines if b.kind != "group" else b.lines[1:], b.times,
         None if b.inside is None else _shape(b.inside))
        for b in scene.boxes
    )  # fmt: skip
    return boxes, scene.arrows


def _block_name(target: DrawnInstance) -> str:
    return target.shown[0].name


def _as_another(known: Measures, target: DrawnInstance, other: str, depth: int) -> Box:
    """The box of an instance, opened unless another one that is the same is."""
    if other == target.path or depth <= 0:
        return target_box(known, target, depth)
    box = target_box(known, target, 0)
    return Box(box.id, box.kind, (box.lines[0], TextLine(f"as {other}"), *box.lines[1:]))


def without_loose(scene: Scene) -> Scene:
    """Without data sets and draws from which nothing flows."""
    ends = {end for a in scene.arrows for end in (a.start, a.end)}
    kept = tuple(b for b in scene.boxes if b.id in ends or b.kind not in ("data", "draw"))
    return Scene(kept, scene.arrows)
