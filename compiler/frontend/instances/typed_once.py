"""What the equations of a block give, typed once for instances that are alike.

Instances of one block whose options are the same, and whose ports and parameters are of the same
types, differ in nothing but which nodes stand for those. What the equations of the first one gave
is kept; of the others it is that with their own ports and parameters put in. It is not done where
equations do more than give values: draw, make instances, apply others, look through what they are
given, or wait for sizes that are not known yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from dln.compiler.frontend.context import blaming, lengths, standing
from dln.compiler.frontend.context.build_context import Build, Instance, Scope, Value
from dln.compiler.frontend.context.values import Builtin, Function
from dln.compiler.ir.graph import Graph, Node, Spans, ancestors
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops.loop import copied
from dln.compiler.ir.resolving import known
from dln.compiler.ir.sizes import Size, Var
from dln.compiler.ir.structure import (
    in_step,
    is_alone,
    is_const,
    is_derivative,
    is_draw,
    is_item,
    is_param,
    is_scan,
)
from dln.compiler.ir.tensor_type import IndexAxis, TensorType
from dln.grammar.diagnostics import Span
from dln.grammar.record import Record


class TypedOnce(Record, eq=False):
    """What the equations of an instance gave: `names` are the values, `nodes` what was made for
    them, `marks` which places and names they got. `given` are its ports and parameters, `lines`
    where the user made, applied and chose it. `begun` and `left` are the states that a stream
    carries for it. Numbers were `counted` from the first of these to the other, and some sizes were
    `fixed`.
    """

    made: Instance
    given: tuple[Node, ...]
    lines: tuple[Span | None, ...]
    names: Mapping[str, Value]
    nodes: tuple[Node, ...]
    marks: tuple[tuple[Node, Spans, str | None], ...]
    begun: Mapping[str, Node]
    left: Mapping[str, Node]
    counted: tuple[int, int]
    fixed: frozenset[Var]


class Work:
    """The equations of an instance, about to be worked out: the key of all that is like it, if it
    can have any, and what there is by now."""

    def __init__(self, b: Build, made: Instance, ports: Sequence[Node], body: Scope) -> None:
        self.b, self.made, self.body = b, made, body
        self.given: tuple[Node, ...] = ()
        calls = (blaming.own_call(calls, b.source) for calls in (made.making, b.calls))
        options = [binding.span for binding in made.scope.names.values()]
        self.lines = (*(call and call.span for call in calls), *options)
        self.key = self._key(ports)
        if self.key in b.built.typed and b.built.typed[self.key] is None:
            self.key = None  # the first one was more than values
        self.before = self._counts() if self.key else ()
        self.marks: list[tuple[Node, Spans, str | None]] | None = [] if self.key else None
        self.counted, self.nodes, self.fixed = b.counter.last, len(b.graph), len(b.sizes.fixed)
        carry = b.frame.carry
        self.carried = (len(carry.before), len(carry.after)) if carry else (0, 0)

    @property
    def found(self) -> TypedOnce | None:
        """What an instance like this one gave."""
        return self.b.built.typed.get(self.key) if self.key else None

    # ---- what is alike -------------------------------------------------------------------------

    def _key(self, ports: Sequence[Node]) -> tuple[object, ...] | None:
        b, frame, time = self.b, self.b.frame, self.b.time
        if time.in_step or time.stepping or time.reading or b.outside.trace or b.built.rehearsal:
            return None
        if b.drawing is not None or b.claims is not None:
            return None
        options, params = list[object](), list[Node]()
        self.given = tuple(ports)
        for name, binding in self.made.scope.names.items():
            value = binding.cache.get(0 if binding.static else frame.version)
            if isinstance(value, Node):
                params.append(frame.params.get(value["path"], value) if is_param(value) else value)
            elif (plain := _plain(b.resolve(value) if isinstance(value, Size) else value)) is None:
                return None
            else:
                options.append((name, plain))
        nodes = (*ports, *params)
        types = [self._of(node) for node in nodes]
        sizes = [(k, b.number(Size.of(v))) for k, v in self.made.sizes.items()]
        if None in types or any(n is None for _, n in sizes):
            return None
        self.given = (*nodes, *self._ends(nodes))
        first: dict[Node, int] = {}
        same = tuple(first.setdefault(node, i) for i, node in enumerate(self.given))
        where = frame.training, frame.batched, frame.alone, frame.carry and frame.carry.rows
        state = time.mapped, frame.kept is None, len(ports)
        lines = tuple(map(self.lines.index, self.lines))
        return (self.made.definition, *where, *state, *options, *sizes, *types, same, lines)

    def _of(self, node: Node) -> tuple[object, ...] | None:
        """What equations see of a node that they are given; None where it is not all known."""
        b, type, facts = self.b, node.type, self.b.facts
        shape = tuple(map(b.sizes.resolve, type.shape))
        size = type.domain.size and b.sizes.resolve(type.domain.size)
        if any(not v.running for s in (*shape, *((size,) if size else ())) for v, _ in s.terms):
            return None
        if node in facts.single or node in facts.sequences:
            return None
        if standing.is_sequence(b, node) or standing.is_end(b, node):
            return None
        ends = [found and found.least for s in type.shape for found in [lengths.extent(b, s)]]
        value = id(node) if is_const(node) else None
        domain = type.domain.name, size, type.domain.partial
        return node.op, value, shape, *ends, type.running, type.kind, domain

    def _ends(self, nodes: Sequence[Node]) -> list[Node]:
        """How long the sequences are that end before others."""
        found = (lengths.extent(self.b, s) for n in nodes for s in n.type.shape)
        return [extent.count for extent in found if extent is not None]

    def _counts(self) -> tuple[int, ...]:
        """How much there is of what equations may add to, beside nodes."""
        b, built, frame = self.b, self.b.built, self.b.frame
        facts, owned, phases = b.facts, b.owned, b.phases
        grown = (
            built.warnings, built.notes, built.problems.found, built.drawings, built.used,
            built.missing.places, owned.instances, owned.params, owned.inits,
            facts.drawn, facts.extents, facts.extent_sizes, facts.single,
            facts.counted, facts.sequences, frame.own_updates, frame.memory, frame.asked or (),
            frame.heard or (), phases.probes, b.data.sets, b.sizes.waiting,
        )  # fmt: skip
        return (built.applied, built.failures, len(frame.masks), *map(len, grown))

    # ---- the first one -------------------------------------------------------------------------

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """What the equations give meanwhile is kept, where that is all they do."""
        graph, around = self.b.graph, self.b.graph.marks
        graph.marks = self.marks
        try:
            yield
        finally:
            graph.marks = around
        if self.key is not None:
            self.b.built.typed[self.key] = self._kept()

    def _kept(self) -> TypedOnce | None:
        b, graph = self.b, self.b.graph
        if self._counts() != self.before:
            return None
        names = dict(self._names())
        values = [v for v in names.values() if isinstance(v, Node)]
        new = dict.fromkeys(graph.since(self.nodes))
        begun, left = self._streams()
        if None in names.values() or any(v not in new for v in values) or begun is None:
            return None
        ends = {*self.given, *begun.values()}
        roots = [*values, *left.values()]
        needed = ancestors(roots, before=lambda n: () if n in ends else n.operands)
        if any(n not in ends and (_is_more(n) or self._of_open_size(n)) for n in needed):
            return None
        asked = set(needed)
        older = [n for n in needed if n not in new and n.operands]  # as of a sum of parameters
        nodes = tuple(n for n in (*older, *new) if n in asked and n not in ends)
        counted = self.counted, b.counter.last
        fixed = frozenset(islice(reversed(b.sizes.fixed), len(b.sizes.fixed) - self.fixed))
        kept = {*nodes, *(n for n in needed if is_alone(n))}
        marks = tuple(m for m in self.marks or () if m[0] in kept)
        own = self.made, self.given, self.lines
        return TypedOnce(*own, names, nodes, marks, begun, left, counted, fixed)

    def _names(self) -> Iterator[tuple[str, Value]]:
        """The values of the equations; None for one that is neither a tensor nor plain."""
        version = self.b.frame.version
        ports = {p.name for p in self.made.definition.syntax.ports}
        for name, binding in self.body.names.items():
            if name not in ports:
                value = binding.cache.get(0 if binding.static else version)
                plain = isinstance(value, Node) or _plain(value) is not None
                yield name, value if plain and not binding.given else None

    def _of_open_size(self, node: Node) -> bool:
        shape = map(self.b.sizes.resolve, node.type.shape)
        return any(not v.running for size in shape for v, _ in size.terms)

    def _streams(self) -> tuple[dict[str, Node] | None, dict[str, Node]]:
        """What a stream carries for the instance, by what stands behind its path."""
        carry = self.b.frame.carry
        if carry is None:
            return {}, {}
        head = f"{carry.site}.carried:{self.made.path}."
        begun = dict(_since(carry.before, self.carried[0]))
        left = dict(_since(carry.after, self.carried[1]))
        if any(not k.startswith(head) for k in (*begun, *left)):
            return None, {}
        rest = len(head)
        return {k[rest:]: v for k, v in begun.items()}, {k[rest:]: v for k, v in left.items()}

    # ---- those that are like it ----------------------------------------------------------------

    def again(self, first: TypedOnce) -> None:
        """Give the names of the body their values, from those of the first one."""
        copying = Copying(self, first)
        self._carry(first, copying)
        for node in first.nodes:
            copying.copy(node)
        for node, spans, named in first.marks:
            self.b.graph.mark(copying.to.get(node, node), *copying.about(spans, named))
        version, to = self.b.frame.version, copying.to
        for name, value in first.names.items():
            binding = self.body.names[name]
            found = to[value] if isinstance(value, Node) else value
            binding.cache[0 if binding.static else version] = found
        self._leave(first, to)
        self.b.counter.last += first.counted[1] - first.counted[0]

    def _carry(self, first: TypedOnce, copying: Copying) -> None:
        """What a stream carries into the window."""
        carry, graph = self.b.frame.carry, self.b.graph
        for rest, state in first.begun.items():
            assert carry is not None
            path = f"{carry.site}.carried:{self.made.path}.{rest}"
            if path not in carry.before:
                spans, _ = copying.about(*graph.about(state))
                node = Make(graph, spans)(state.op, **copying.attrs(state) | {"path": path})
                graph.mark(node, (), path)
                carry.before[path] = node
            copying.to[state] = carry.before[path]

    def _leave(self, first: TypedOnce, to: Mapping[Node, Node]) -> None:
        """What it carries out of it: the first loop over the window says it."""
        carry = self.b.frame.carry
        for rest, node in first.left.items():
            assert carry is not None
            path = f"{carry.site}.carried:{self.made.path}.{rest}"
            if path in carry.before:
                carry.after.setdefault(path, to[node])


class Copying:
    """The nodes of the first one made again for one that is like it: `to` are those that stand in
    their place. Sizes are as open as they were, so that a proof of one names the place of its own;
    numbers that tell loops and axes apart are those that would have been taken."""

    def __init__(self, work: Work, first: TypedOnce) -> None:
        self.b, self.made, self.first = work.b, work.made, first
        self.to = dict(zip(first.given, work.given, strict=True))
        self.sizes, self.types = dict[Var, Size](), dict[TensorType, TensorType]()
        for name, var in first.made.sizes.items():
            self.sizes[var] = Size.of(work.made.sizes[name])
        for old, new in self.to.items():
            for a, b in zip(old.type.shape, new.type.shape, strict=True):
                if len(a.terms) == 1 and a == Size.of(a.terms[0][0]):
                    self.sizes.setdefault(a.terms[0][0], b)
        lines = zip(first.lines, work.lines, strict=True)
        self.places = {a: b for a, b in lines if a is not None and b is not None and a != b}
        self.further = self.b.counter.last - first.counted[0]

    def copy(self, node: Node) -> None:
        """A node of the whole graph, the body of a loop with it."""
        attrs = self.attrs(node)
        if is_scan(node):
            attrs["body"], steps = copied(node["body"], self.inside)
            self.to |= steps
        elif is_item(node):
            attrs["value"] = self.to[node["value"]]
        operands = tuple([self.to.get(o, o) for o in node.operands])
        self.to[node] = self.b.graph.add(node.op, operands, self.type(node.type), **attrs)

    def inside(
        self, graph: Graph, node: Node, operands: tuple[Node, ...], about: tuple[Spans, str | None]
    ) -> Node:
        """A node of the body of a loop."""
        made = graph.add(node.op, operands, self.type(node.type), **self.attrs(node))
        graph.mark(made, *self.about(*about))
        return made

    def about(self, spans: Spans, name: str | None) -> tuple[Spans, str | None]:
        """The places and the name of a node, for those of the first one's."""
        path = self.first.made.path
        if self.places:
            spans = tuple([self.places.get(s, s) for s in spans])
        if name is not None and name.startswith(path) and name[len(path) :][:1] in (".", "["):
            name = f"{self.made.path}{name[len(path) :]}"
        return spans, name

    def attrs(self, node: Node) -> dict[str, Any]:
        return {k: self.said(k, v) for k, v in node.attrs.items()}

    def said(self, key: str, value: Any) -> Any:
        """An attribute, with the sizes and numbers of its own."""
        if isinstance(value, TensorType):
            return self.type(value)
        if key == "number":  # of a slot
            return self.number(value)
        if type(value) is tuple and any(type(part) is IndexAxis for part in value):
            return self.axes(value)
        return self._axis(value) if type(value) is IndexAxis else known(value, self)

    def type(self, old: TensorType) -> TensorType:
        """A type, with the sizes and numbers of its own."""
        if old not in self.types:
            self.types[old] = known(old, self).like(running=self.axes(old.running))
        return self.types[old]

    def axes(self, running: Sequence[str]) -> tuple[str, ...]:
        """Running axes; those of an index that the equations bind have a number of their own."""
        return tuple([self._axis(axis) if type(axis) is IndexAxis else axis for axis in running])

    def _axis(self, axis: IndexAxis) -> IndexAxis:
        return IndexAxis(axis.spoken, self.number(axis.number))

    def number(self, taken: int) -> int:
        """A number that was taken while the equations were worked out, as it is taken now."""
        before, after = self.first.counted
        return taken + self.further if before < taken <= after else taken

    def resolve(self, size: Size) -> Size:
        """A size of the first one as one of the other."""
        if not size.terms:
            return size
        out = Size(size.constant)
        for v, c in size.terms:
            found = self.sizes.get(v)
            if found is None and v in self.first.fixed:  # as what an index runs over
                value, why = self.b.sizes.fixed[v]
                own = Var(v.name, v.running, v.span)
                found = self.sizes[v] = Size.of(own)
                self.b.sizes.fixed[own] = self.resolve(value), why
            out = out + (Size(0, ((v, c),)) if found is None else found * c)
        return out


def _is_more(node: Node) -> bool:
    """Whether a node is more than a value of what is given."""
    if not node.operands:
        return not is_alone(node)
    return in_step(node) or is_draw(node) or is_derivative(node) or "stands" in node.attrs


def _since(known: dict[str, Node], count: int) -> Iterator[tuple[str, Node]]:
    """What has been added to a mapping that had so many entries."""
    latest = islice(reversed(known), len(known) - count)
    return ((k, known[k]) for k in [*latest][::-1])


def _plain(value: Value) -> object:
    """What a value is the same as, if it is a number, a text, a function, or several; else None."""
    if isinstance(value, bool | int | float | str):
        return type(value), value
    if isinstance(value, Function | Builtin):
        return value
    if isinstance(value, list | tuple):
        parts = tuple(map(_plain, value))
        return None if None in parts else parts
    return None
