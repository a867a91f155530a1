"""An instance opened: its ports, the instances and functions applied in it, its own equations.

What is drawn of a block are the calls that were met while it was read (`trace`), its equations that
are more than such a call, and what flows between them by the graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dln.compiler.frontend.tracing.applied import TracedCall
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import op_of
from dln.compiler.ir.sizes import Sizes
from dln.compiler.ir.structure import is_param
from dln.drawing import words
from dln.drawing.flows import sources
from dln.drawing.scene import Arrow, Box, BoxKind, Scene, TextLine
from dln.drawing.words import parts_of
from dln.grammar import syntax as s

ALIKE = 3  # boxes in a row that stand as one stack, from so many on


@dataclass(frozen=True)
class Measures:
    """What a picture needs to know of a spec beside what was applied: sizes, and how many numbers
    are in each parameter and in each fixed value, by path."""

    sizes: Sizes
    counts: Mapping[str, int]
    fixed: Mapping[str, int]

    def under(self, path: str, chain: bool = False) -> list[TextLine]:
        """How many numbers are in the parameters of an instance and of those inside, or of a chain:
        `156 parameters`; nothing where there are none."""
        inside = f"{path}[" if chain else f"{path}."
        each = (sum(n for p, n in some.items() if p.startswith(inside))
                for some in (self.counts, self.fixed))  # fmt: skip
        return words.parameters(*each)


@dataclass
class Part:
    """Something drawn in an opened block: its box, what it takes (with the name of the port where
    there are several) and what it gives."""

    box: Box
    takes: list[tuple[str, Node]]
    gives: list[Node]
    back: str = ""
    like: tuple[object, ...] = ()
    tied: list[str] = field(default_factory=list)


def opened(known: Measures, call: TracedCall, depth: int) -> Scene:
    """The inside of an instance as it was applied; what is in it is opened too, `depth` deep."""
    return _scene(known, call, depth)


def block_box(known: Measures, call: TracedCall, depth: int, id: str, title: str = "") -> Box:
    """The box of an instance: closed, or with its inside where `depth` is above 0."""
    lines = [TextLine(title or title_of(call), "title")]
    sizes = [words.shape(known.sizes, node.type) for node in call.results.values()]
    counted = known.under(call.path)
    if depth > 0 and (call.inside or call.values):
        inside = opened(known, call, depth - 1)
        lines += [TextLine(text) for text in [functions_of(call)] if text]
        return Box(id, "group", (*lines, *counted), inside)
    facts = [", ".join(filter(None, [" and ".join(filter(None, sizes)), functions_of(call)]))]
    lines += [TextLine(text) for text in facts if text]
    return Box(id, "block", (*lines, *counted))


def title_of(call: TracedCall) -> str:
    """`c1: conv`; the block alone where it is one of several in an equation or list of a block."""
    last = call.path.rpartition(".")[2]
    own = last.partition("[")[0]
    of_several = "[" in last or re.fullmatch(r"\w+_[0-9]+", own) is not None
    plain = of_several and "." in call.path or last in (call.name, "anonymous")
    return call.name if plain else f"{last}: {call.name}"


def functions_of(call: TracedCall) -> str:
    """The functions that a block applies itself, as `relu`: its activation."""
    if any(inner.kind == "block" for inner in call.inside):
        return ""
    named = dict.fromkeys(c.name for c in call.inside if c.kind == "function" and c.results)
    return ", ".join(named) if len(named) <= 2 else ""


# ---- the parts of a block ----------------------------------------------------------------------


def flat(calls: Iterable[TracedCall]) -> Iterator[TracedCall]:
    """Calls, with those of a function that applies blocks in its place."""
    for call in calls:
        if call.kind == "function" and any(c.kind != "function" for c in _deep(call)):
            yield from flat(call.inside)
        else:
            yield call


def _deep(call: TracedCall) -> Iterator[TracedCall]:
    for inner in call.inside:
        yield inner
        yield from _deep(inner)


def _scene(known: Measures, call: TracedCall, depth: int) -> Scene:
    calls = list(flat(call.inside))
    parts = [port_part(known, name, node) for name, node in call.ports.items()]
    applied = [c for c in calls if c.kind == "block" and not c.in_step and c.results]
    parts += [Part(block_box(known, c, depth, f"call{i}"), _ports(c), [*c.results.values()],
                   like=_like(known, c)) for i, c in enumerate(applied)]  # fmt: skip
    inner = [c for c in calls if c.kind == "block" and c.in_step and not call.in_step]
    parts += _own(known, call, calls, parts, inner, depth)
    parts += result_parts(known, call)
    functions = [c for c in calls if c.kind == "function" and not c.in_step]
    return stacked(joined([*parts, *_between(parts, functions)]), parts)


def _between(parts: Sequence[Part], functions: Sequence[TracedCall]) -> list[Part]:
    """What stands between instances in a line: functions, as `-> relu ->`, and operations in which
    several values come together, as `a + f(x)`. Boxes of equations say theirs themselves."""
    given = {node: part.box.id for part in parts for node in part.gives}
    applied = {v: c for c in functions for v in c.results.values() if v not in given}
    made = list[Part]()
    todo = [p for p in parts if p.box.kind in ("block", "group", "result", "operation")]
    while todo:
        part = todo.pop(0)
        for _, node in part.takes:
            around = {v: i for v, i in given.items() if v not in part.gives}
            met = sources(node, around | dict.fromkeys(applied, ""))
            found = [
                (applied[v].name, [*applied[v].ports.values()], v) for v in met if v in applied
            ]
            root = _merge(node)
            if not found and len(set(met.values())) > 1 and node not in (*around, *part.gives):
                found = [(words.symbol(root.op, ""), [*root.operands], node)]
            for name, takes, value in found:
                if value not in given:
                    box = Box(f"between{len(made)}", "operation", (TextLine(name),))
                    made.append(Part(box, [("", v) for v in takes], [value]))
                    given[value] = box.id
                    todo.append(made[-1])
    return made


def _merge(node: Node) -> Node:
    """The operation in which values come together."""
    while node.operands and (len(node.operands) == 1 or op_of(node).is_("view")):
        node = node.operands[0]
    return node


def result_parts(known: Measures, call: TracedCall) -> list[Part]:
    """What an instance gives, at its end."""
    return [
        Part(Box(f"result {name}", "result", (TextLine(words.named(known.sizes, name, node)),)),
             [("", node)], [])
        for name, node in call.results.items()
    ]  # fmt: skip


def port_part(known: Measures, name: str, node: Node) -> Part:
    """What an instance takes, at its beginning."""
    text = words.named(known.sizes, name, node)
    return Part(Box(f"port {name}", "port", (TextLine(text),)), [], [node])


def _ports(call: TracedCall) -> list[tuple[str, Node]]:
    many = len(call.ports) > 1
    return [(name if many else "", node) for name, node in call.ports.items()]


def _like(known: Measures, call: TracedCall) -> tuple[object, ...]:
    """What makes two boxes alike: the block, what flows in and out, how many numbers."""
    types = [
        words.shape(known.sizes, n.type) for n in (*call.ports.values(), *call.results.values())
    ]
    return (call.name, *types, *known.under(call.path), functions_of(call))


# ---- equations ---------------------------------------------------------------------------------


def _own(
    known: Measures, call: TracedCall, calls: Sequence[TracedCall], parts: Sequence[Part],
    inner: Sequence[TracedCall], depth: int,
) -> list[Part]:  # fmt: skip
    """The equations of a block that are more than a call: those of a scan in one box."""
    given = {node for part in parts for node in part.gives}
    body = () if call.made is None else call.block.body
    named = {n: v for n, v in call.values.items() if n not in call.ports and v not in given}
    found = list[Part]()
    for scan in (st for st in body if isinstance(st, s.Scan)):
        lines = [st for st in scan.body if isinstance(st, s.Define)]
        mine = {
            st.target.name: named.pop(st.target.name) for st in lines if st.target.name in named
        }
        if mine:
            found.append(_loop(known, scan, lines, mine, inner, depth, f"loop{len(found)}"))
    lets = {st.target.name: st for st in body if isinstance(st, s.Define | s.Draw)}
    functions = {node: c for c in calls if c.kind == "function" for node in c.results.values()}
    blocks = {node for c in calls if c.kind == "block" for node in c.results.values()}
    for name, node in named.items():
        if name in lets and not _same(node, given):
            around = {v: n for n, v in named.items() if v is not node} | {n: "" for n in given}
            met = blocks & set(sources(node, around)) - set(call.values.values())
            inline = met and not _learns(call, node, around)
            by = functions.get(node) or functions.get(root_of(node))
            op = words.symbol(root_of(node).op, by.name if by is not None else "")
            kind: BoxKind = "operation" if inline else "equation"
            text = [TextLine(op)] if inline else words.equation(lets[name].span.text)
            takes = [*by.ports.values()] if inline and by is not None else [node]
            box = Box(f"own {name}", kind, tuple(text))
            found.append(Part(box, [("", value) for value in takes], [node]))
    return found


def _learns(call: TracedCall, node: Node, around: Mapping[Node, str]) -> bool:
    """Whether an equation has parameters of the block itself."""
    own = {v: n for n, v in call.values.items() if is_param(v)} | dict(around)
    todo, seen = [node], set[Node]()
    while todo:
        at = todo.pop()
        if is_param(at) and at["path"].rpartition(".")[0] == call.path:
            return True
        if at not in seen and (at is node or at not in own):
            seen.add(at)
            todo += at.operands
    return False


def _same(node: Node, given: set[Node]) -> bool:
    """Whether a value is another one in a new shape."""
    return root_of(node) in given


def root_of(node: Node) -> Node:
    """What a value is, whatever its shape."""
    while op_of(node).is_("view") and node.operands:
        node = node.operands[0]
    return node


def _loop(
    known: Measures, scan: s.Scan, lines: Sequence[s.Define], mine: Mapping[str, Node],
    inner: Sequence[TracedCall], depth: int, id: str,
) -> Part:  # fmt: skip
    """The equations of a scan: one box with an arrow back for what is carried; what is applied in
    each step is named with its numbers."""
    texts = [line.span.text for line in lines]
    backwards = " backwards" if scan.backwards else ""
    head = TextLine(f"each {scan.name}{backwards}", "title")
    called = [TextLine(f"{title_of(c)}, {counted.text}")
              for c in inner for counted in known.under(c.path)]  # fmt: skip
    names = [st.target.name for st in lines]
    back = ", ".join(_carried(scan, names))
    box = Box(id, "loop", (head, *words.equations(texts), *called))
    return Part(box, [("", node) for node in mine.values()], [*mine.values()], back)


def _carried(scan: s.Scan, names: Sequence[str]) -> Iterator[str]:
    """What of another step is looked at: `h[t-1]`."""
    found = dict.fromkeys(
        f"{part.body.id}[{scan.name}{_lag(part, scan.name)}]"
        for st in scan.body for part in parts_of(st)
        if isinstance(part, s.Index) and isinstance(part.body, s.Name) and part.body.id in names
        and _lag(part, scan.name)
    )  # fmt: skip
    yield from found


def _lag(index: s.Index, step: str) -> str:
    """`-1` of `h[t-1]`."""
    text = "".join(index.span.text.partition("[")[2].rstrip("]").partition(",")[0].split())
    return text.removeprefix(step) if text.startswith((f"{step}-", f"{step}+")) else ""


# ---- arrows ------------------------------------------------------------------------------------


def joined(parts: Sequence[Part], hidden: Mapping[Node, str] | None = None) -> Scene:
    """Parts with arrows from what gives a value to what takes it."""
    known: dict[Node, str] = dict(hidden or {})
    for part in parts:
        for node in part.gives:
            known.setdefault(node, part.box.id)
    arrows = list[Arrow]()
    for part in parts:
        for label, node in part.takes:
            own = node in part.gives
            for value, name in sources(node, known, itself=not own).items():
                if name != part.box.id and value not in part.gives:
                    arrows.append(Arrow(name, part.box.id, label))
        if part.back:
            arrows.append(Arrow(part.box.id, part.box.id, part.back, "back"))
    once: dict[tuple[str, str, str], Arrow] = {}
    for a in arrows:
        key = (a.start, a.end, a.kind)
        same = once.get(key)
        labels = dict.fromkeys(filter(None, [*(same.label.split(", ") if same else []), a.label]))
        once[key] = Arrow(a.start, a.end, ", ".join(labels), a.kind)
    boxes = tuple(part.box for part in parts)
    return used(Scene(boxes, tuple(once.values())))


def used(scene: Scene) -> Scene:
    """Without what nothing reads and nothing flows into."""
    ends = {end for a in scene.arrows for end in (a.start, a.end)}
    kept = tuple(b for b in scene.boxes if b.id in ends or b.kind in ("block", "group", "port"))
    return Scene(kept, scene.arrows)


def stacked(scene: Scene, parts: Sequence[Part]) -> Scene:
    """A row of boxes that are alike, each of which reads the one before alone, as one stack."""
    like = {p.box.id: p.like for p in parts if p.like and p.box.inside is None}
    after: dict[str, list[str]] = {}
    before: dict[str, list[str]] = {}
    for a in scene.arrows:
        after.setdefault(a.start, []).append(a.end)
        before.setdefault(a.end, []).append(a.start)
    gone: dict[str, str] = {}
    times: dict[str, int] = {}
    for box in scene.boxes:
        run = [box.id]
        while box.id in like and box.id not in gone:
            following = after.get(run[-1], [])
            if len(following) != 1 or before[following[0]] != [run[-1]]:
                break
            if like.get(following[0]) != like[box.id]:
                break
            run.append(following[0])
        if len(run) >= ALIKE:
            times[box.id] = len(run)
            gone |= dict.fromkeys(run[1:], run[0])
    boxes = tuple(Box(b.id, b.kind, b.lines, b.inside, times.get(b.id, 1))
                  for b in scene.boxes if b.id not in gone)  # fmt: skip
    moved = [(gone.get(a.start, a.start), gone.get(a.end, a.end), a) for a in scene.arrows]
    arrows = tuple(Arrow(x, y, a.label, a.kind) for x, y, a in moved if x != y or a.kind == "back")
    return Scene(boxes, arrows)
