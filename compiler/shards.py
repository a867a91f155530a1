"""A step in shards: what is added up within each shard of a minibatch, and what is made of it.

The graph of a step, derivatives written out, is cut where values of all examples become values
without an axis for them: at sums over the examples, products summed over them, rows added by class,
extremes. What comes before is worked out by each shard on its rows; what comes after, once, from
the sums over the shards. Where rows need what has been made of sums, as a batch norm does, there is
another round. Parameters and states move in the last one alone, so that no optimiser, no clipping
and no line of `update` has to know of shards.

Rows that a later round needs are kept from the round that works them out: nothing is worked out
twice but views, and what depends on no example.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dln.compiler.early_sums import early
from dln.compiler.ir.graph import Graph, Node, ancestors, keep, rewrite
from dln.compiler.ir.op import Make, op_of, volume
from dln.compiler.ir.ops.loop import body_of
from dln.compiler.ir.sizes import BATCH_SIZE, POWERS, Size
from dln.compiler.ir.structure import is_draw, is_item, is_reshape, is_scan, is_size, is_state
from dln.compiler.lower.layout import around, examples_first, moved_last
from dln.compiler.model import Model, Phase
from dln.compiler.passes.needs import places_of
from dln.compiler.passes.scan_bodies import inside
from dln.compiler.schema.keys import Output, new_param, new_state, value
from dln.compiler.schema.shards import ROWS, SharedValue
from dln.compiler.stages import WHOLE, optimise, part
from dln.grammar.diagnostics import DlnError, Fault, Problem, Span

MEET = "examples of a minibatch meet here in another way than in a sum: no shard can do this alone"


@dataclass(frozen=True)
class CutRound:
    """What each shard works out of its rows, and what is made of the sums over the shards. Without
    rows there is the second alone. What is `reported` only a report reads."""

    shard: Graph | None
    join: Graph
    reported: frozenset[Output]


def rounds(
    model: Model, ph: Phase, outputs: Mapping[Output, Node], reported: Container[Output] = (),
    rows: int = 0,
) -> list[CutRound]:  # fmt: skip
    """The rounds of a step that leaves some outputs, of which a report alone reads those that are
    `reported`; in a shard of so many `rows`, where known, maps are handed on as they lie. Raises
    `DlnError` E437, with the line, where examples meet in another way than in a sum."""
    whole = optimise(part(model, outputs), WHOLE)
    if ph.carried and ph.batch is not None:
        whole = streamed(whole, ph.carried, ph.batch)
    try:
        written = rewrite(whole, apart)[0]
        meeting = ByExample(written, ancestors(written.outputs.values()))
        return Cut(early(written, meeting.joined), reported, rows).rounds()
    except DlnError as error:
        facts = (f"{ph.name} is learned in {ph.shards} shards of each minibatch",)
        found = [Problem(p.code, p.message, p.span, "one sees what others are", facts=facts,
                         remedy="leave out shards") for p in error.problems]  # fmt: skip
        raise DlnError(found) from None


def apart(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
    """What is worked out over all examples at once, written in operations that have parts."""
    record, over = op_of(node), (o for o in operands if any(map(_open, o.type.shape)))
    if record.apart is None or any(map(_open, node.type.shape)) or not any(over):
        return None
    made = keep(new, node, operands)
    return record.apart(Make(new), made)


def divisible(model: Model) -> Model:
    """The same model. Raises `DlnError` E437 where a phase in shards cannot be cut into them."""
    for ph in model.phases.values():
        for turn in (ph.turns or (ph,)) if ph.shards else ():
            asked = {new_param(k): n for k, n in turn.updates.items()}
            asked |= {new_state(k): n for k, n in turn.states.items()}
            asked |= {value(f"{i}"): n for i, n in enumerate(turn.objectives)}
            rounds(model, ph, asked)
    return model


def streamed(graph: Graph, paths: Container[str], rows: int) -> Graph:
    """The graph of a step that reads a stream of so many rows side by side: the states `paths` go
    on from window to window, and have as many rows as there are windows."""

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node:
        make, shape = Make(new, graph.spans.get(node, ())), node.type.shape
        if is_state(node) and node["path"] in paths:
            type = node.type.like(shape=(BATCH_SIZE, *shape[1:]), running=("batch",))
            return make("state", **{**node.attrs, "type": type})
        of_rows = any(any(map(_open, o.type.shape)) for o in operands)
        if is_reshape(node) and of_rows and shape[:1] == (Size(rows),):
            whole = (BATCH_SIZE, *shape[1:])
            return make("reshape", *operands, shape=whole, running=("batch",))
        return make(node.op, *operands, **node.attrs)

    return rewrite(graph, rule)[0]


# ---- what there is of each example ---------------------------------------------------------------


def axis_of(node: Node) -> int | None:
    """The axis of a value that runs over the examples; None where none does. Raises `Fault` where
    there are two, or where it is no axis of its own."""
    axes = [i for i, size in enumerate(node.type.shape) if _open(size)]
    if len(axes) > 1 or any(node.type.shape[i] != BATCH_SIZE for i in axes):
        raise Fault(MEET, code="E437")
    return axes[0] if axes else None


def _open(size: Size) -> bool:
    return any(v in POWERS for v, _ in size.terms)


@dataclass
class ByExample:
    """Of some nodes, operands first: those that there are `many` of, one for each example, and
    those in which they are `joined`. In a loop nothing goes on from there."""

    graph: Graph
    nodes: Sequence[Node]
    many: set[Node] = field(default_factory=set)
    joined: dict[Node, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.nodes:
            try:
                self._look(node)
            except Fault as fault:
                raise fault.at(self.place(node), "") from None

    def place(self, node: Node) -> Span | None:
        """The nearest place of the spec that a node comes from."""
        for n in reversed(ancestors([node])):
            if found := self.graph.spans.get(n):
                return found[0]
        return None

    def _look(self, node: Node) -> None:
        of_rows = not self.many.isdisjoint(node.operands)
        if is_scan(node):
            body = body_of(node)
            if of_rows or any(axis_of(n) is not None for n in ancestors(body.nexts)):
                self.many.add(node)
        elif is_item(node) and node.operands[0] in self.many:
            self._item(node)
        elif (axis := axis_of(node)) is not None:
            self.many.add(node)
            for slot, operand in enumerate(node.operands):
                if operand in self.many:
                    self._alone(node, axis, slot, operand)
        elif of_rows:
            if not op_of(node).parts:
                raise Fault(MEET, code="E437")
            self.joined[node] = op_of(node).parts

    def _alone(self, node: Node, axis: int, slot: int, operand: Node) -> None:
        """Raise `Fault` unless each row is made of the same row of an operand."""
        at = axis_of(operand)
        if is_reshape(node):  # rows stay rows where as many elements stand before them
            alone = volume(node.type.shape[:axis]) == volume(operand.type.shape[:at])
        else:
            alone = (places_of(node, slot) or {}).get(axis) == at
        if not alone:
            raise Fault(MEET, code="E437")

    def _item(self, node: Node) -> None:
        """What a loop leaves: rows, or at each step a sum over them that no step waits for."""
        body, wanted = body_of(node), node["value"]
        steps = ByExample(body.graph, ancestors([*body.nexts, wanted]))
        waiting = set(ancestors(body.nexts))
        behind = any(not steps.joined.keys().isdisjoint(n.operands) for n in steps.nodes)
        if found := [n for n in steps.joined if behind or n in waiting]:
            raise Fault(MEET, code="E437").at(steps.place(found[0]))
        if wanted in steps.joined:
            self.joined[node] = steps.joined[wanted]
        elif axis_of(node) is not None:
            self.many.add(node)
        else:
            raise Fault(MEET, code="E437")


# ---- the rounds ----------------------------------------------------------------------------------


class Cut:
    """Takes the graph of a step apart. `depth` says of each node after how many sums it is known,
    `kept` under which name rows are handed to later rounds, `known` what joins leave. Those are
    `needed` of which not only a report is made."""

    def __init__(self, graph: Graph, reported: Container[Output] = (), rows: int = 0) -> None:
        self.graph, self.nodes = graph, ancestors(graph.outputs.values())
        self.needed = set(ancestors(n for k, n in graph.outputs.items() if k not in reported))
        found = ByExample(graph, self.nodes)
        self.many, self.joined = found.many, found.joined
        self.depth: dict[Node, int] = {}
        for n in self.nodes:
            before = max((self.depth[o] for o in n.operands), default=0)
            self.depth[n] = before + (n in self.joined)
        self.sums = {n: SharedValue(how, i) for i, (n, how) in enumerate(self.joined.items())}
        self.items: dict[Node, list[Node]] = {}
        for n in filter(is_item, self.nodes):
            self.items.setdefault(n.operands[0], []).append(n)
        self.turned = around(graph, rows)  # which lie with their examples last, also handed on
        self.made: dict[Node, int] = {}  # rows by the round that works them out
        self.kept: dict[Node, SharedValue] = {}
        self.known: dict[Node, SharedValue] = {}

    def rounds(self) -> list[CutRound]:
        asked = {k: n for k, n in self.graph.outputs.items() if isinstance(k, Output)}
        own = {k: n for k, n in asked.items() if n in self.many}
        rest = {k: n for k, n in asked.items() if n not in self.many}
        last = max(
            (self.depth[n] + (n in self.many) for n in self.graph.outputs.values()), default=0
        )
        if not last:
            return [CutRound(None, self._extract(rest, {}, shard=False), self._reported(rest))]
        wanted = [self._wanted(turn, own if turn == last else {}) for turn in range(1, last + 1)]
        # what is read from round to round is known once all of them have been looked at
        for turn, outputs in enumerate(wanted, 1):
            self._walk(turn, outputs.values())
        found = []
        for turn, outputs in enumerate(wanted, 1):
            kept = {value(str(k)): n for n, k in self.kept.items() if self.made[n] == turn}
            left = outputs | kept
            shard = self._extract(left, self._given(turn), shard=True)
            then = {value(str(k)): n for n, k in self.known.items() if self.depth[n] == turn}
            joins = then | (rest if turn == last else {})
            before = {n: k for n, k in self.known.items() if self.depth[n] < turn}
            join = self._extract(joins, self.sums | before, shard=False)
            found.append(CutRound(shard, join, self._reported(left | joins)))
        return found

    def _reported(self, outputs: Mapping[Output, Node]) -> frozenset[Output]:
        """Of what programs leave that of which a report alone is made."""
        return frozenset(k for k, n in outputs.items() if n not in self.needed)

    def _wanted(self, turn: int, own: Mapping[Output, Node]) -> dict[Output, Node]:
        """What the shards of a round leave: its sums, and in the last one rows of states."""
        sums = {value(str(k)): n for n, k in self.sums.items() if self.depth[n] == turn}
        return {**sums, **own}

    def _walk(self, turn: int, outputs: Iterable[Node]) -> None:
        """Note what the shards of a round are given: rows of earlier ones, what joins have made."""

        def before(node: Node) -> Sequence[Node]:
            return () if self._end(node, turn) else node.operands

        for node in ancestors(outputs, before):
            if self._end(node, turn):
                if node in self.many:
                    self.kept.setdefault(node, SharedValue("rows", len(self.kept)))
                else:
                    self.known.setdefault(node, SharedValue("known", len(self.known)))
            elif node in self.many:
                for n in (node, *self.items.get(node, ())):  # a loop is run once
                    self.made.setdefault(n, turn)

    def _end(self, node: Node, turn: int) -> bool:
        """Whether a round is given a node: rows that an earlier one has worked out, but for what is
        there anyhow, or what has been made of earlier sums."""
        if node in self.many:
            there = not (node.operands or is_draw(node)) or is_scan(node) or op_of(node).is_("view")
            return self.made.get(node, turn) < turn and not there
        return self.depth[node] > 0 and not (node in self.joined and self.depth[node] == turn)

    def _given(self, turn: int) -> dict[Node, SharedValue]:
        rows = {n: k for n, k in self.kept.items() if self.made[n] < turn}
        return rows | {n: k for n, k in self.known.items() if self.depth[n] < turn}

    # ---- graphs of programs --------------------------------------------------------------------

    def _extract(
        self, outputs: Mapping[Output, Node], given: Mapping[Node, SharedValue], shard: bool
    ) -> Graph:
        """The graph of some outputs, with inputs in the place of what is given."""
        new, to, ends = Graph(), dict[Node, Node](), set(given)
        for n in ancestors(outputs.values(), lambda n: () if n in ends else n.operands):
            if n in ends and n in self.turned:
                to[n] = examples_first(Make(new), n.type, str(given[n]))
            elif n in ends:
                to[n] = new.add("input", (), n.type, name=str(given[n]), type=n.type)
            else:
                to[n] = keep(new, n, tuple(to[o] for o in n.operands))
            new.mark(to[n], *self.graph.about(n))
        new.outputs = {k: to[n] for k, n in outputs.items()}
        for n in self.turned.intersection(outputs.values(), self.kept):
            key = value(str(self.kept[n]))
            if key in outputs:
                new.outputs[key] = moved_last(Make(new), to[n])
        return inside(placed)(new, None) if shard else new


def placed(graph: Graph, log: object = None) -> Graph:
    """A graph of a shard: draws of each example are those of its place in the whole minibatch, and
    numbers of examples count that."""

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        make = Make(new, graph.spans.get(node, ()))
        if is_size(node) and _open(node["size"]):
            return counted(make, node["size"])
        if is_draw(node) and (axis := axis_of(node)) is not None:
            return make("draw", **node.attrs, rows=axis)
        return None

    return rewrite(graph, rule)[0]


def counted(m: Make, size: Size) -> Node:
    """A size as a number made of how many examples the whole minibatch has."""
    rows, total = m("clock", name=ROWS), None
    for v, c in size.terms:
        power = rows
        for _ in range(POWERS.index(v)):
            power = m.mul(power, rows)
        term = m.scale(power, float(c)) if c != 1 else power
        total = term if total is None else m.add(total, term)
    assert total is not None
    return m.add(total, m.const(float(size.constant))) if size.constant else total
