"""Regions of pointwise operations become one `fused` node each.

A region has one result; what is computed in between is read nowhere else, has the shape of the
result, and never needs more than `target.registers` arrays beside the result. A target that
compiles kernels emits one for each region. A target that calls an array module writes a region
out again, line by line, in the buffers that the scheduler finds, so its numbers are the same bits
as without fusing.

What fusing saves is the traffic of the values in between, written once and read once; a region
that is not grown further says why.
"""

from __future__ import annotations

from dln.compiler.formula import formula
from dln.compiler.graph import Graph, Node, Spans, ancestors, keep
from dln.compiler.op import OPS, Make, elements
from dln.compiler.ops.lowered import Part
from dln.compiler.passes.rewriting import Firing, Log
from dln.compiler.sizes import Size
from dln.compiler.targets import Target

LARGEST = 24
"""Operations in a region: kernels longer than this gain nothing more from being one."""


# ---- finding regions ---------------------------------------------------------------------------


class Finder:
    """Grows regions from their results towards their operands, users before operands."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph, self.target = graph, target
        self.order = ancestors(graph.outputs.values())
        self.index = {n: i for i, n in enumerate(self.order)}
        self.users: dict[Node, set[Node]] = {n: set() for n in self.order}
        for n in self.order:
            for o in n.operands:
                self.users[o].add(n)
        self.outputs = set(graph.outputs.values())
        self.taken: set[Node] = set()
        self.refused: list[tuple[Node, Node, str]] = []

    def regions(self) -> list[list[Node]]:
        """Regions of two or more operations, each in order of execution."""
        found = []
        for node in reversed(self.order):
            if node not in self.taken and may_join(node):
                region = self.grow(node)
                if len(region) > 1:
                    self.taken.update(region)
                    found.append(region)
        return found[::-1]

    def grow(self, result: Node) -> list[Node]:
        """The largest region with this result that no reason speaks against."""
        region, front, tried = {result}, [result], {result}
        while front:
            node = front.pop(0)
            for operand in node.operands:
                if operand in tried or not may_join(operand):
                    continue
                why = self.objection(operand, result, region)
                if why is None:
                    region.add(operand)
                    front.append(operand)
                    tried.add(operand)
                elif self.users[operand] <= region:
                    tried.add(operand)
                    self.refused.append((operand, result, why))
        outside = {o for n in region for o in n.operands if o not in tried and may_join(o)}
        for operand in sorted(outside, key=self.index.__getitem__):
            self.refused.append((operand, result, "it is read outside the region too"))
        return sorted(region, key=self.index.__getitem__)

    def objection(self, node: Node, result: Node, region: set[Node]) -> str | None:
        """Why a node may not join a region, if it may not."""
        if node in self.taken or node in self.outputs:
            return "it is a result of its own"
        if node.type.shape != result.type.shape:
            return f"its shape is {node.type}, that of the region {result.type}"
        if not self.users[node] <= region:
            return "it is read outside the region too"
        if len(region) >= LARGEST:
            return f"the region has {LARGEST} operations already"
        grown = sorted(region | {node}, key=self.index.__getitem__)
        need = registers(grown)
        if need > self.target.registers:
            return f"{need} arrays would be needed in between, {self.target.registers} are allowed"
        return None


def may_join(node: Node) -> bool:
    """Whether an operation works element by element and gives an array."""
    record = OPS[node.op]
    usable = record.is_("pointwise") and not record.is_("view") and node.op != "fused"
    return usable and bool(node.type.shape)


def registers(region: list[Node]) -> int:
    """The arrays that a region in order needs beside that of its result.

    The result of an operation may take the place of an operand that is read last there.
    """
    last = {o: i for i, n in enumerate(region) for o in n.operands}
    alive: set[Node] = set()
    most = 0
    for i, node in enumerate(region):
        alive -= {o for o in node.operands if last[o] == i}
        alive.add(node)
        most = max(most, len(alive))
    return most - 1


def body_of(graph: Graph, region: list[Node]) -> tuple[list[Node], tuple[Part, ...]]:
    """The operands of a region and its parts."""
    inside = set(region)
    outer = list(dict.fromkeys(o for n in region for o in n.operands if o not in inside))
    slot = {n: i for i, n in enumerate([*outer, *region])}
    parts = tuple(
        Part(
            n.op,
            tuple(slot[o] for o in n.operands),
            tuple(n.attrs.items()),
            n.type,
            graph.spans.get(n, ()),
            graph.names.get(n),
        )
        for n in region
    )
    return outer, parts


# ---- the pass ----------------------------------------------------------------------------------


def fuse(graph: Graph, target: Target, log: Log | None = None) -> Graph:
    """The graph with its pointwise regions fused, if the target wants that.

    The log gets what was fused, with what it saves, and where growing stopped, with the reason.
    """
    if not target.fuses:
        return graph
    finder = Finder(graph, target)
    regions = {region[-1]: region for region in finder.regions()}
    inside = {n for region in regions.values() for n in region[:-1]}
    new, to = Graph(), dict[Node, Node]()
    for node in finder.order:
        if node in inside:
            continue
        if node in regions:
            outer, body = body_of(graph, regions[node])
            to[node] = Make(new)("fused", *(to[o] for o in outer), body=body)
        else:
            to[node] = keep(new, node, tuple(to[o] for o in node.operands))
        new.mark(to[node], graph.spans.get(node, ()), graph.names.get(node))
    new.outputs = {key: to[node] for key, node in graph.outputs.items()}
    if log is not None:
        log += [fused(graph, region) for region in regions.values()]
        log += [refused(graph, *entry) for entry in finder.refused]
    return new


def fused(graph: Graph, region: list[Node]) -> Firing:
    """The entry of the log for a region."""
    elements_saved = Size(0)
    for node in region[:-1]:
        elements_saved = elements_saved + elements(node.type)
    said = formula(graph, region[-1], len(region))
    gain = f"{len(region)} operations in one: {elements_saved} elements less to write and read"
    return Firing("region", True, said, gain, places(graph, region))


def refused(graph: Graph, node: Node, result: Node, why: str) -> Firing:
    """The entry of the log for an operation that stays outside a region."""
    said = f"{formula(graph, node, 3)}, for {formula(graph, result, 2)}"
    return Firing("kept apart", True, said, why, places(graph, [node]))


def places(graph: Graph, nodes: list[Node]) -> Spans:
    """The places of the spec that nodes came from."""
    return tuple(dict.fromkeys(s for n in nodes for s in graph.spans.get(n, ())))
