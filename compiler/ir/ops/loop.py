"""Loops: one step written as a graph of its own, and what the steps leave behind.

`scan` runs its body for t = 0, 1, ... (or backwards). The body's sources are *slots*: a row of a
sequence, a value that stays, or what the step before left. `item(scan, value)` is the sequence of
the values that one node of the body has had, time first; several items share one loop. The body is
data of the node, so a loop over a thousand steps is as large a graph as one over ten.

Only the front-end makes `at`, the element of a sequence at the step at hand, and only lowering
`left`, the array that a loop fills row by row: the values of the `carried` slot with the number
`of`, with the first one before them (or behind, in a reverse loop), or those of the body's node
`of`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count as counting
from typing import Any, TypeAlias

from dln.compiler.ir.graph import Graph, K, Node, Spans, ancestors, rewrite
from dln.compiler.ir.op import (
    OPS,
    Array,
    Attrs,
    Evaluate,
    Make,
    OfNumPy,
    Op,
    Places,
    Site,
    Types,
    count,
    register,
)
from dln.compiler.ir.ops.common import differ, given_type, no_value, unlike
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TIME, TensorType, scalar
from dln.compiler.schema.keys import Key
from dln.grammar.diagnostics import Fault
from dln.grammar.record import Record


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Body:
    """One step of a loop: a graph, and what its slots stand for.

    The operands of the loop are the sequences for `rows`, the values for `fixed` and the first
    values for `carried`, in this order. `nexts` are the nodes whose values the next step finds in
    the slots `carried`. A `reverse` loop runs from the last step to the first.
    """

    graph: Graph
    rows: tuple[Node, ...]
    fixed: tuple[Node, ...]
    carried: tuple[Node, ...]
    nexts: tuple[Node, ...]
    length: Size
    reverse: bool = False

    def __repr__(self) -> str:
        steps = f"{self.length} steps, {len(self.graph)} operations"
        return f"<{steps}, backwards>" if self.reverse else f"<{steps}>"

    @property
    def slots(self) -> tuple[Node, ...]:
        return (*self.rows, *self.fixed, *self.carried)

    def operand(self, node: Node, slot: Node) -> Node:
        """The operand of a loop with this body that a slot stands for."""
        return node.operands[self.slots.index(slot)]

    def numbers(self) -> Iterator[int]:
        """The numbers that no slot has."""
        return counting(1 + max((s["number"] for s in self.slots), default=0))

    def steps(self, n: int) -> range:
        """The numbers of n steps in the order they are run."""
        return range(n - 1, -1, -1) if self.reverse else range(n)


Copy: TypeAlias = "Callable[[Graph, Node, tuple[Node, ...], tuple[Spans, str | None]], Node]"
"""A node made again in a graph, on these operands, with its places and name."""


def slot(graph: Graph, type: TensorType, number: int, role: str) -> Node:
    """A source of a body: `rows`, `fixed` or `carried`, told apart by its number."""
    return graph.add("slot", (), type, number=number, role=role, type=type)


def body_of(node: Node) -> Body:
    """The body of a loop, or of the loop that an item belongs to."""
    body: Body = (node if node.op == "scan" else node.operands[0])["body"]
    return body


# ---- rules of types ----------------------------------------------------------------------------


def row_type(type: TensorType) -> TensorType:
    """The type of one element of a sequence, whose first axis is time."""
    return type.like(shape=type.shape[1:], running=tuple(a for a in type.running if a != TIME))


def sequence_type(type: TensorType, length: Size) -> TensorType:
    """The type of a sequence of such elements."""
    return type.like(shape=(length, *type.shape), running=(TIME, *type.running))


def at_type(attrs: Attrs, types: Types) -> TensorType:
    if types[0].running[:1] != (TIME,):
        raise Fault(f"{types[0]} does not run over time first")
    return row_type(types[0])


def scan_type(attrs: Attrs, types: Types) -> TensorType:
    """Every operand fits its slot. The loop itself has no value; its items have."""
    body: Body = attrs["body"]
    count("scan", types, len(body.slots))
    for s, t in zip(body.slots, types, strict=True):
        if unlike(t.shape[1:] if s["role"] == "rows" else t.shape, s.type.shape):
            raise Fault(f"scan: {t} does not fit the slot {s.type}")
        if s["role"] == "rows" and differ(t.shape[0], body.length):
            raise Fault(f"scan: {t.shape[0]} rows for {body.length} steps")
    for s, n in zip(body.carried, body.nexts, strict=True):
        if unlike(n.type.shape, s.type.shape):
            raise Fault(f"scan: what is carried changes from {s.type} to {n.type}")
    return scalar()


# ---- meaning -----------------------------------------------------------------------------------


class History(Record):
    """What the evaluator knows of a loop it has run: of each step, the values of its nodes."""

    body: Body
    steps: Sequence[dict[Node, Array]]
    shape: tuple[int, ...] = ()


class Stepper:
    """Works out some nodes of a body, step by step; what is the same in every step is found once:
    the order, the shapes, the functions. All steps know the same nodes before."""

    def __init__(self, site: Site, wanted: Sequence[Node], known: Container[Node]) -> None:
        self.np, self.t = site.np, 0
        self.nodes: list[tuple[Node, tuple[Node, ...], Evaluate, tuple[int, ...]]] = []
        for node in ancestors(wanted):
            if node not in known:
                shape = tuple(site.size(s) for s in node.type.shape)
                here = site.changed(attrs=node.attrs, shape=shape, draw=partial(self.draw, site))
                meaning, call = OPS[node.op].evaluate, partial(OPS[node.op].evaluate, here)
                if isinstance(meaning, OfNumPy):
                    call = getattr(site.np, meaning.name)
                self.nodes.append((node, node.operands, call, shape))

    def draw(self, site: Site, kind: str, where: str, shape: tuple[int, ...]) -> Array:
        """Each step draws for itself."""
        return site.draw(kind, f"{where}@{self.t}", shape)

    def fill(self, values: dict[Node, Array], t: int) -> None:
        """Add to the values of a step those that are wanted and not known yet. Raises `Fault` for a
        value of another shape than its node's."""
        self.t, asarray, array = t, self.np.asarray, self.np.ndarray
        for node, operands, call, shape in self.nodes:
            if len(operands) == 2:
                a, b = operands
                value = call(values[a], values[b])
            elif len(operands) == 1:
                value = call(values[operands[0]])
            else:
                value = call(*[values[o] for o in operands])
            if type(value) is not array:
                value = asarray(value)
            if value.shape != shape:
                raise Fault(f"{node!r} has shape {shape}, its value has {value.shape}")
            values[node] = value


def evaluate_scan(site: Site, *operands: Array) -> History:
    """Step after step; the values of each are kept."""
    body: Body = site.attrs["body"]
    n, stepper = site.size(body.length), Stepper(site, body.nexts, body.slots)
    given = dict(zip(body.slots, operands, strict=True))
    held = {s: given[s] for s in body.carried}
    rows = [(s, given[s]) for s in body.rows]
    steps: list[dict[Node, Array]] = [{} for _ in range(n)]
    alike = dict.fromkeys(body.fixed)  # what is the same in each step, and worked out in the first
    for node, of, *_ in stepper.nodes:
        if node.op != "draw" and all(o in alike for o in of):
            alike[node] = None
    same = {s: given[s] for s in body.fixed}
    for t in body.steps(n):
        steps[t] = now = {**same, **held}
        for s, sequence in rows:
            now[s] = sequence[t]
        stepper.fill(now, t)
        if len(same) < len(alike):
            same = {node: now[node] for node in alike}
            stepper.nodes = [known for known in stepper.nodes if known[0] not in alike]
        held = {s: now[new] for s, new in zip(body.carried, body.nexts, strict=True)}
    return History(body, tuple(steps))


def evaluate_item(site: Site, loop: History) -> Array:
    rows = rows_of(site, loop, site.attrs["value"])
    return site.np.stack(rows) if rows else site.np.zeros(site.shape)


def evaluate_left(site: Site, loop: History) -> Array:
    """What is carried stands there before each step, and after the last one."""
    of: int | Node = site.attrs["of"]
    if isinstance(of, Node):
        return site.np.stack(rows_of(site, loop, of))
    rows, reverse = rows_of(site, loop, loop.body.carried[of]), loop.body.reverse
    last = loop.steps[0 if reverse else -1][loop.body.nexts[of]]
    return site.np.stack([last, *rows] if reverse else [*rows, last])


def rows_of(site: Site, loop: History, value: Node) -> list[Array]:
    """The values of a node of a body, step by step."""
    if any(value not in now for now in loop.steps):
        stepper = Stepper(site, [value], loop.steps[0])
        for t, now in enumerate(loop.steps):
            stepper.fill(now, t)
    return [now[value] for now in loop.steps]


# ---- walking through bodies --------------------------------------------------------------------


def requested(nodes: Sequence[Node]) -> dict[Node, list[Node]]:
    """The values of its body that are asked of each loop among some nodes."""
    found: dict[Node, dict[Node, None]] = {n: {} for n in nodes if n.op == "scan"}
    for n in nodes:
        if n.op == "item":
            found.setdefault(n.operands[0], {})[n["value"]] = None
    return {loop: list(values) for loop, values in found.items()}


def everything(nodes: Iterable[Node]) -> Iterator[Node]:
    """All that some nodes need, the steps of loops too."""
    for node in ancestors(nodes):
        yield node
        if node.op == "scan":
            yield from everything(node["body"].nexts)
        elif node.op == "item":
            yield from everything([node["value"]])


class BodyValue(Key):
    """A value that a body is asked to work out: the `next` of what is carried, or an `item`."""

    form = "{kind}:{number}"
    kind: str
    number: int


def outputs_of(body: Body, values: Sequence[Node]) -> dict[BodyValue, Node]:
    """What a body must work out: what it carries, and the values that are asked of it."""
    nexts = {BodyValue("next", i): n for i, n in enumerate(body.nexts)}
    return nexts | {BodyValue("item", i): v for i, v in enumerate(values)}


def items_of(graph: Graph, values: Sequence[Node]) -> dict[Node, Node]:
    """What has become of the values asked of a body, after a rewriting of its graph."""
    return {v: graph.outputs[BodyValue("item", i)] for i, v in enumerate(values)}


def with_outputs(body: Body, outputs: Mapping[K, Node]) -> Graph:
    """The graph of a body with these outputs: all that they need, with places and names."""
    graph = Graph()
    for n in (*body.slots, *ancestors(outputs.values())):
        graph.include(n, *body.graph.about(n))
    graph.outputs = dict(outputs.items())
    return graph


def strided(graph: Graph, slots: frozenset[int]) -> Graph:
    """The graph of a step in which these slots are known not to lie in C order."""

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        if node.op != "slot" or node["number"] not in slots:
            return None
        return new.add("slot", (), node.type, **node.attrs, strided=True)

    return rewrite(graph, rule)[0] if slots else graph


def rebuilt(body: Body, graph: Graph) -> Body:
    """The body after a rewriting of its graph that kept the slots, or made equal ones."""
    rows, fixed, carried = (
        tuple(graph.include(s) for s in part) for part in (body.rows, body.fixed, body.carried)
    )
    nexts = tuple(graph.outputs[BodyValue("next", i)] for i in range(len(body.nexts)))
    return replace(body, graph=graph, rows=rows, fixed=fixed, carried=carried, nexts=nexts)


def copied(body: Body, copy: Copy) -> tuple[Body, dict[Node, Node]]:
    """The same body of nodes of its own, and which they are; `copy` makes one in a graph."""
    graph, to = Graph(), dict[Node, Node]()
    for n in body.graph.topological():
        to[n] = copy(graph, n, tuple([to[o] for o in n.operands]), body.graph.about(n))
    rows, fixed, carried, nexts = (
        tuple(to[n] for n in part) for part in (body.rows, body.fixed, body.carried, body.nexts)
    )
    made = replace(body, graph=graph, rows=rows, fixed=fixed, carried=carried, nexts=nexts)
    return made, to


def item(m: Make, loop: Node, value: Node) -> Node:
    """The values of a node of a loop's body, step by step."""
    return m("item", loop, value=value, length=body_of(loop).length)


# ---- along axes --------------------------------------------------------------------------------


def mixes(values: Iterable[Node]) -> bool:
    """Whether something is taken over all examples on the way to some values."""
    return any(
        "batch" in o.type.running and "batch" not in n.type.running and n.op != "scan"
        for n in ancestors(values)
        for o in n.operands
    )


def item_places(node: Node, slot: int) -> Places:
    """Of a loop itself it is asked for which examples it is needed: axis 0."""
    running = node.type.running
    if "batch" not in running or mixes([*body_of(node).nexts, node["value"]]):
        return {}
    return {running.index("batch"): 0}


def scan_places(node: Node, slot: int) -> Places:
    running = node.operands[slot].type.running
    return {0: running.index("batch")} if "batch" in running else {}


IN_STEP = no_value("a step of a loop has no value outside of it")
LOOP: dict[str, Any] = {"flops": lambda node: 0, "facts": ("loop",)}

# fmt: off
register(
    Op("slot", given_type, IN_STEP, formula="{role}", **LOOP),
    Op("at", at_type, IN_STEP, takes=(None,), flops=lambda node: 0, facts=("symbolic",),
       formula="{0}[t]"),
    Op("scan", scan_type, evaluate_scan, formula="scan", places=scan_places, **LOOP),
    Op("item", lambda attrs, types: sequence_type(attrs["value"].type, attrs["length"]),
       evaluate_item, formula="{value}", places=item_places, **LOOP),
    Op("left", given_type, evaluate_left, facts=("loop",), formula="{of}"),
)
# fmt: on
