"""The order of execution, how long values live, and which memory they share.

The order keeps lifetimes short and puts every reader of a parameter's old value before the write
of its new one, so that updates happen in the parameter's own buffer. What lives in the arena takes
a region of it for a time (`arena`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from math import inf
from typing import TypeAlias

from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.ir.ops.loop import body_of, strided, with_outputs
from dln.compiler.ir.sizes import Size, coefficients
from dln.compiler.ir.spelling import Statements
from dln.compiler.ir.structure import is_const, is_left, is_scan, is_slot
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.lower.arena import Lease, packed
from dln.compiler.lower.inplace import InPlace, may_overwrite
from dln.compiler.lower.materialise import Roles, base, own_key, prepare, scattered
from dln.compiler.lower.targets import Target
from dln.compiler.plan import Buffer, Extent, at, item_size, product
from dln.compiler.schema.keys import Output
from dln.grammar.diagnostics import Fault


@dataclass(frozen=True, slots=True)
class Step:
    """Compute `node` into the buffer `out`, with more buffers for what its spelling needs."""

    node: Node
    out: str
    scratch: Mapping[str, str] = field(default_factory=dict)


Rows: TypeAlias = int | Node
"""What a loop leaves row by row: a carried value by its number, any other one by its node."""


def named(of: Rows) -> str:
    return "item" if isinstance(of, Node) else "carried"


@dataclass
class LoopSchedule:
    """The schedule of one step of a loop, and where its buffers are in the whole program.

    `left` gives the buffers that rows are written to; `rings` are the carried values of which only
    the last two are kept. `names` says what the step's own buffers are called outside.
    """

    step: Schedule
    outputs: dict[Output, Rows]
    left: dict[Rows, str] = field(default_factory=dict)
    rings: set[int] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)

    def keep(self, row: Rows, buffer: str) -> str:
        """The buffer for the rows of a value: one, and one that each step writes to. Raises `Fault`
        where no step would write it."""
        if row in self.left or row not in self.outputs.values():
            raise Fault(f"no step of the loop would write the buffer for {named(row)} {row!r}")
        self.left[row] = buffer
        return buffer


def scheduled_step(made: Schedule, node: Node, writes: InPlace) -> LoopSchedule:
    """One step of a loop as a program of its own, whose outputs are rows."""
    body, users = body_of(node), made.graph.users(node)
    items = [u["of"] for u, _ in users if is_left(u) and isinstance(u["of"], Node)]
    wanted: list[Rows] = [*range(len(body.nexts)), *dict.fromkeys(items)]
    outputs = {Output("row", f"{i}"): w for i, w in enumerate(wanted)}
    nodes = {k: of if isinstance(of, Node) else body.nexts[of] for k, of in outputs.items()}
    step = strided(with_outputs(body, nodes), scattered(made.roles, node))
    spent = spent_rows(made.roles, node, writes)
    return LoopSchedule(laid_out(step, made.target, made.capacity, made.dtype, spent), outputs)


def spent_rows(roles: Roles, loop: Node, writes: InPlace) -> frozenset[int]:
    """The slots of a loop whose rows nothing reads but its steps: one may add to them."""
    read = [base(roles, o) for o in loop.operands]
    return frozenset(
        slot["number"]
        for slot, of, array in zip(body_of(loop).slots, loop.operands, read, strict=True)
        if slot["role"] == "rows" and roles.layout[of] == "rows"
        if roles.role[array] in ("compute", "left") and array not in writes.dest
        if writes.readers[array] == [loop] and read.count(array) == 1
    )


@dataclass
class Schedule:
    """Steps in order; `home` names the buffer of every node that has one, `loops` holds the
    schedule of a step of each loop. Buffers in the arena take regions of it, `leases`, which end up
    in `slots`; which lie below which says `below`. `now` is the step that is being laid out,
    `bytes` what types take. Of a step, `spent` are the slots whose arrays may be added to. `unread`
    nodes are computed only where somebody looks.
    """

    graph: Graph
    target: Target
    roles: Roles
    capacity: int
    dtype: str
    steps: list[Step] = field(default_factory=list)
    home: dict[Node, str] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    slots: Sequence[Extent] = ()
    below: Sequence[tuple[int, ...]] = ()
    leases: list[Lease] = field(default_factory=list)
    now: int = 0
    bytes: dict[TensorType, Extent] = field(default_factory=dict)
    loops: dict[Node, LoopSchedule] = field(default_factory=dict)
    spent: frozenset[int] = frozenset()
    unread: frozenset[Node] = frozenset()

    def add_buffer(self, place: str, key: str, type: TensorType, slot: int = -1) -> str:
        """A new buffer; its name."""
        name = f"v{len(self.buffers)}"
        shape = tuple(map(extent, type.shape))
        self.buffers[name] = Buffer(name, place, key, type.kind, shape, slot)
        return name

    def bytes_of(self, type: TensorType) -> Extent:
        """Bytes of a tensor, for any number of examples."""
        found = self.bytes.get(type)
        if found is None:
            item = item_size(type.kind, self.dtype)
            found = tuple(item * c for c in product(tuple(map(extent, type.shape))))
            self.bytes[type] = found
        return found

    # ---- memory that buffers share -------------------------------------------------------------

    def take(self, need: Extent) -> int:
        """A region of so many bytes, from now on; its number."""
        self.leases.append(Lease(need, (self.now,)))
        return len(self.leases) - 1

    def arena(self, type: TensorType, note: str = "") -> str:
        """A new buffer in the arena."""
        return self.add_buffer("arena", note, type, self.take(self.bytes_of(type)))

    def give(self, names: Iterable[str]) -> None:
        """Let the regions of some buffers be used again, after this step."""
        for name in names:
            self.leases[self.buffers[name].slot].stop = (self.now, inf)

    def pack(self) -> None:
        """Lay the regions out in the arena, and give each buffer the slot of its region."""
        made = packed(self.leases, self.capacity)
        self.slots, self.below = made.slots, made.below
        for name, buffer in self.buffers.items():
            if buffer.place == "arena":
                self.buffers[name] = buffer.changed(slot=made.slot[buffer.slot])


def extent(size: Size) -> Extent:
    """A size, or a number of elements, as an extent. Raises `Fault` for one that is not known."""
    found = coefficients(size)
    if found is None:
        raise Fault(f"the size {size} is not known", "give it a number")
    return found


def schedule(graph: Graph, target: Target, capacity: int = 1, dtype: str = "float32") -> Schedule:
    """Decide the order, the buffers and the slots of an optimised graph.

    `capacity` is the number of examples that memory is laid out for; any other number works.
    """
    made = laid_out(graph, target, capacity, dtype, frozenset())
    made.pack()
    return made


def laid_out(
    graph: Graph, target: Target, capacity: int, dtype: str, spent: frozenset[int]
) -> Schedule:
    """A schedule whose regions of the arena have no place yet. Of a step of a loop, `spent` are the
    slots whose arrays may be added to."""
    prepared, roles = prepare(graph, target, capacity)
    made = Schedule(prepared, target, roles, capacity, dtype, spent=spent)
    writes = InPlace(prepared, roles)
    writes.place_outputs()
    for node in ancestors(prepared.outputs.values()):
        if is_scan(node):
            made.loops[node] = scheduled_step(made, node, writes)
    _give_homes(made, writes.dest)
    _allocate(made, _order(made, writes), writes)
    return made


# ---- order -------------------------------------------------------------------------------------


def _order(made: Schedule, writes: InPlace) -> list[Node]:
    """The better of two orders by peak memory: as the graph was built, or greedily by bytes."""
    nodes = [n for n in ancestors(made.graph.outputs.values()) if made.roles.role[n] == "compute"]
    plain = _arrange(nodes, writes, {})
    size = {n: 0 if n in writes.dest else at(made.bytes_of(n.type), made.capacity) for n in nodes}
    greedy = _arrange(nodes, writes, size)
    return min(plain, greedy, key=lambda order: _peak(order, writes, size))


def _arrange(nodes: list[Node], writes: InPlace, size: Mapping[Node, int]) -> list[Node]:
    """A topological order that always takes the node that is ready and makes the memory that is in
    use grow least; of those alike, the first. What one costs may fall while it waits, when it
    becomes the last to read something; it never rises. Raises `graphlib.CycleError` where writes
    wait for each other."""
    index = {n: i for i, n in enumerate(nodes)}
    left = {source: len(readers) for source, readers in writes.readers.items()}
    waiting = TopologicalSorter({n: writes.needs(n) for n in nodes})
    waiting.prepare()
    ready: dict[Node, int] = {}
    taken: dict[Node, None] = {}
    heap: list[tuple[int, int]] = []
    while waiting.is_active():
        for node in waiting.get_ready():
            freed = sum(size.get(r, 0) for r in writes.reads[node] if left[r] == 1)
            ready[node] = size.get(node, 0) - freed
            heappush(heap, (ready[node], index[node]))
        node = nodes[heappop(heap)[1]]
        if node in taken:  # it was there twice, once at an earlier cost
            continue
        taken[node] = None
        del ready[node]
        waiting.done(node)
        for source in writes.reads[node]:
            left[source] -= 1
            if left[source] == 1:  # the one that is left over costs less now
                last = next((r for r in writes.readers[source] if r in ready), None)
                if last is not None:
                    ready[last] -= size.get(source, 0)
                    heappush(heap, (ready[last], index[last]))
    return list(taken)


def _peak(order: list[Node], writes: InPlace, size: Mapping[Node, int]) -> int:
    """The most bytes alive at once, without reuse inside a step."""
    ends = last_reads(order, writes)
    alive = peak = 0
    for i, node in enumerate(order):
        alive += size[node]
        peak = max(peak, alive)
        alive -= sum(size.get(dead, 0) for dead in ends.get(i, ()))
    return peak


# ---- buffers and slots -------------------------------------------------------------------------


def _give_homes(made: Schedule, dest: Mapping[Node, Output]) -> None:
    """Buffers for what does not live in the arena: sources, constants, boxes and outputs."""
    for node in ancestors(made.graph.outputs.values()):
        role = made.roles.role[node]
        if role == "source":
            key = str(node[op_of(node).key or "number"])
            made.home[node] = made.add_buffer(node.op, key, node.type)
        elif role == "const":
            made.home[node] = made.add_buffer("const", "", node.type)
        elif role == "host" and _needs_box(made, node):
            place = "const" if is_const(node) else "scalar"
            made.home[node] = made.add_buffer(place, "", node.type)
    by_key = {own: name for n, name in made.home.items() if (own := own_key(n))}
    for node, output in dest.items():
        if output not in by_key:
            by_key[output] = made.add_buffer(output.place, str(output.key), node.type)
        made.home[node] = by_key[output]


def _needs_box(made: Schedule, node: Node) -> bool:
    """Whether a number known on the host is read as an array."""
    for user, slot in made.graph.users(node):
        role = made.roles.role.get(user)
        if role == "view" or is_scan(user):
            return True
        if role == "compute" and made.target.boxes:
            spelled = made.roles.spelling(user)
            if isinstance(spelled, Statements) and spelled.boxes(slot):
                return True
    return False


def _allocate(made: Schedule, order: list[Node], writes: InPlace) -> None:
    """Walk the order: take memory for each result, and give back what was read last."""
    ends = last_reads(order, writes)
    for i, node in enumerate(order):
        made.now = i
        homes = {d: made.home[d] for d in ends.get(i, ()) if d in made.home}
        dying = {d: name for d, name in homes.items() if made.buffers[name].place == "arena"}
        if is_scan(node):
            made.steps.append(_loop_step(made, node))
            made.give(dying.values())
            continue
        if node not in writes.dest:
            spent = [d for d in homes if is_slot(d) and d["number"] in made.spent]
            spent = spent if op_of(node).is_("onto") else []
            over = next((d for d in (*spent, *dying) if may_overwrite(made.roles, node, d)), None)
            made.home[node] = homes[over] if over is not None else made.arena(node.type)
            dying = {d: name for d, name in dying.items() if d is not over}
        spelled = made.roles.spelling(node)
        needs = spelled.scratch if isinstance(spelled, Statements) else {}
        scratch = {k: made.arena(shape(node), "scratch") for k, shape in needs.items()}
        made.steps.append(Step(node, made.home[node], scratch))
        made.give([*dying.values(), *scratch.values()])


# ---- loops -------------------------------------------------------------------------------------


def _loop_step(made: Schedule, node: Node) -> Step:
    """Memory for a loop: what it leaves, the two last values of what is carried and not read
    afterwards, and what one step needs, which is free again when the loop is done."""
    loop, after = made.loops[node], []
    for user, _ in made.graph.users(node):
        if is_left(user):
            made.home[user] = loop.keep(user["of"], made.arena(user.type))
    for j, slot in enumerate(body_of(node).carried):
        if j not in loop.left:
            ring = slot.type.like(shape=(Size(2), *slot.type.shape))
            after.append(loop.keep(j, made.arena(ring, "the last two")))
            loop.rings.add(j)
    shared = {i: len(made.leases) + i for i in range(len(loop.step.leases))}
    made.leases += [
        Lease(ls.extent, (made.now, *ls.start), (made.now, *ls.stop)) for ls in loop.step.leases
    ]
    for name, buffer in loop.step.buffers.items():
        if buffer.place in ("arena", "const", "scalar"):
            loop.names[name] = outside = f"v{len(made.buffers)}"
            made.buffers[outside] = buffer.changed(name=outside, slot=shared.get(buffer.slot, -1))
    made.give(after)
    inside = {f"step {k}": v for k, v in loop.names.items() if made.buffers[v].place == "arena"}
    left = {f"{named(of)} {i}": v for i, (of, v) in enumerate(loop.left.items())}
    return Step(node, next(iter(left.values())), {**left, **inside})


def last_reads(order: list[Node], writes: InPlace) -> dict[int, list[Node]]:
    """The arrays that are read for the last time at each position, through views; what is never
    read at its own."""
    last = {n: i for i, n in enumerate(order)}
    last |= {source: i for i, n in enumerate(order) for source in writes.reads[n]}
    found: dict[int, list[Node]] = {}
    for node, i in last.items():
        found.setdefault(i, []).append(node)
    return found
