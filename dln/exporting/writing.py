"""Where the nodes of a graph are written as calls: the graph of an instance, or the step of a loop.

A value of ONNX may be thinner than its node: what is repeated along an axis is held once, with 1
or nothing in the place of that axis, as operators that work element by element take it. Whoever
needs all of it asks for `full`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from dln.compiler.ir.formula import Known, formula
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import op_of, volume
from dln.compiler.ir.sizes import POWERS, Size
from dln.compiler.ir.structure import is_input, is_size, is_spread
from dln.compiler.ir.tensor_type import Kind, TensorType
from dln.exporting.listing import Array, OnnxFacts, OnnxGraph, OnnxModel, OnnxNode
from dln.grammar.record import Record

DEEP = 3  # operations that the formula of a node goes down
FOLDED = 1 << 16  # elements of a constant that is worked out


class OnnxValue(Record):
    """A value of ONNX that stands for a node: `whole` says of its axes, which are the last ones of
    the node, whether they are of full size, else 1. `home` is where it was made."""

    name: str
    whole: tuple[bool, ...]
    home: OnnxWriter


Row: TypeAlias = "Callable[[OnnxWriter, Node], OnnxValue]"
"""How an operation is written: what its node is in ONNX."""


@dataclass(eq=False)
class OnnxWriter:
    """A graph being written. `values` holds what each node has become, `uses` who reads a node."""

    made: OnnxModel
    graph: Graph
    listing: OnnxGraph
    rows: Mapping[str, Row]
    outer: OnnxWriter | None = None
    values: dict[Node, OnnxValue] = field(default_factory=dict)
    uses: dict[Node, list[Node | None]] = field(default_factory=dict)
    known: dict[tuple[Any, ...], str] = field(default_factory=dict)
    texts: Known = field(default_factory=dict)
    owners: dict[Node, str] = field(default_factory=dict)
    lasts: dict[tuple[Node, int], str] = field(default_factory=dict)
    settled: set[Node] = field(default_factory=set)
    at: Node | None = None

    def follow(self, outputs: Sequence[Node]) -> list[Node]:
        """What some outputs need, operands first; from now on it is known who reads what."""
        nodes = ancestors(outputs)
        self.uses = {n: [] for n in nodes}
        for n in nodes:
            for o in n.operands:
                self.uses[o].append(n)
        for n in outputs:
            self.uses[n].append(None)
        for n in reversed(nodes):
            owner = self.graph.names.get(n) or self.owners.get(n, "")
            for o in n.operands:
                self.owners.setdefault(o, owner)
        return nodes

    def readers(self, node: Node) -> list[Node | None]:
        """Who reads a node; None stands for an output."""
        return self.uses[node]

    def only(self, node: Node) -> bool:
        """Whether one operation alone reads a node, so that it may become a part of that."""
        return self.uses.get(node, [None]) != [None] and len(self.uses[node]) == 1

    def nameless(self, node: Node) -> bool:
        """Whether a node may become a part of its only reader, as the spec has no name for it."""
        return self.only(node) and node not in self.graph.names

    def write(self, nodes: Sequence[Node]) -> None:
        """Write nodes that are not written yet, operands first."""
        for node in nodes:
            if node not in self.values:
                self.at = node
                if self.folded(node):
                    number = self.number(value_of(node), node.type.kind)
                    self.values[node] = OnnxValue(number, (True,) * len(node.type.shape), self.root)
                    continue
                self.values[node] = self.rows[node.op](self, node)
                self.call_it(node, self.values[node])
        self.at = None

    def folded(self, node: Node) -> bool:
        """Whether a node is worked out here: what depends on constants only. What only repeats
        another is not, as it stays thin."""
        known = all(s.value is not None for s in node.type.shape)
        if not known or op_of(node).key or op_of(node).is_("loop"):
            return False
        if is_size(node) and node["size"].value is None:
            return False
        if op_of(node).is_("random") or not self.settled.issuperset(node.operands):
            return False
        self.settled.add(node)
        return not is_spread(node) and (volume(node.type.shape).value or 0) <= FOLDED

    def call_it(self, node: Node, value: OnnxValue) -> None:
        """Note what a value is called that was made for a node, and its type."""
        name, facts = self.graph.names.get(node, ""), self.made.facts.get(value.name)
        if facts is None or value.home is not self or facts.name or facts.type is not None:
            return
        if facts.owner == (name or self.owners.get(node, "")):
            type = node.type if is_full(value, node.type) else None
            self.made.facts[value.name] = facts.changed(name=name, type=type)

    # ---- making --------------------------------------------------------------------------------

    def call(self, op: str, *inputs: str, **attrs: Any) -> str:
        """The value of a call that belongs to the node being written."""
        return self.several(op, inputs, 1, **attrs)[0]

    def named(self, facts: OnnxFacts) -> str:
        return self.made.new(facts)

    def add(self, call: OnnxNode) -> None:
        """A call that belongs to the node being written."""
        call.doc = "" if self.at is None else self.said(self.at)
        self.listing.calls.append(call)

    def several(self, op: str, inputs: Sequence[str], count: int, **attrs: Any) -> list[str]:
        """The values of a call that has some."""
        node = self.at
        owner = "" if node is None else self.graph.names.get(node) or self.owners.get(node, "")
        outputs = [self.made.new(OnnxFacts("", owner, op.lower())) for _ in range(count)]
        self.add(OnnxNode(op, list(inputs), outputs, attrs))
        return outputs

    def said(self, node: Node) -> str:
        """The formula of a node, and the line of the spec that it comes from."""
        text = formula(self.graph, node, DEEP, self.texts)
        spans = self.graph.spans.get(node, ())
        name = self.graph.names.get(node)
        text = f"{name} = {text}" if name else text
        if not spans:
            return text
        path = spans[0].source.path.rsplit("/", 1)[-1]
        return f"{text}  ({path}:{spans[0].line})"

    def once(self, op: str, value: OnnxValue, *more: str, **attrs: Any) -> str:
        """What is made of one value where that was made, once for all that ask for it."""
        home = value.home
        key = (op, value.name, more, tuple(sorted(attrs.items())))
        if key not in home.known:
            about = self.made.facts[value.name]
            found = self.made.new(OnnxFacts("", about.name or about.owner, op.lower()))
            home.listing.calls.append(OnnxNode(op, [value.name, *more], [found], dict(attrs)))
            home.known[key] = found
        return home.known[key]

    def whole(self, name: str, node: Node) -> OnnxValue:
        """A value that has all axes of a node."""
        return OnnxValue(name, (True,) * len(node.type.shape), self)

    def meeting(self, name: str, values: Sequence[OnnxValue]) -> OnnxValue:
        """The result of values that met element by element: thin where all of them are."""
        whole = [False] * max(len(v.whole) for v in values)
        for v in values:
            for i, full in enumerate(reversed(v.whole)):
                whole[-1 - i] = whole[-1 - i] or full
        return OnnxValue(name, tuple(whole), self)

    def cast(self, name: str, dtype: str) -> str:
        return self.call("Cast", name, to=dtype)

    def zeros(self, shape: Sequence[Size]) -> str:
        """Zeros of a shape."""
        return self.call("Expand", self.number(0), self.shape(shape))

    @property
    def root(self) -> OnnxWriter:
        return self if self.outer is None else self.outer.root

    # ---- numbers -------------------------------------------------------------------------------

    def dtype(self, kind: Kind) -> str:
        return {"real": self.made.dtype, "index": "int64", "bool": "bool"}[kind]

    def number(self, value: Any, kind: Kind = "real") -> str:
        """A constant."""
        return self.made.number(np.asarray(value, self.dtype(kind)))

    def constant(self, value: OnnxValue) -> Array | None:
        """The array of a value that is a constant, and no parameter."""
        known = self.made.arrays.get(value.name)
        return None if self.made.facts[value.name].name else known

    def ints(self, *values: int) -> str:
        """A vector of whole numbers: axes, places, sizes."""
        return self.made.number(np.array(values, np.int64))

    # ---- sizes ---------------------------------------------------------------------------------

    def size(self, size: Size) -> str:
        """A size as a vector of one: a constant, or worked out of the number of examples."""
        root, found = self.root, ""
        if size.value is not None:
            return self.ints(size.value)
        for v, factor in size.terms:
            term = root.batch()
            for _ in range(POWERS.index(v)):
                term = root.call("Mul", term, root.batch())
            term = term if factor == 1 else root.call("Mul", term, self.ints(factor))
            found = root.call("Add", found, term) if found else term
        return root.call("Add", found, self.ints(size.constant)) if size.constant else found

    def batch(self) -> str:
        """The number of examples, as a vector of one."""
        key = ("batch",)
        if key not in self.known:
            ports = (n for n in self.values if "batch" in n.type.running and is_input(n))
            port = next(ports)
            place = port.type.running.index("batch")
            found = self.made.new(OnnxFacts("", "", "examples"))
            attrs, source = {"start": place, "end": place + 1}, self.values[port].name
            self.listing.calls.insert(0, OnnxNode("Shape", [source], [found], attrs))
            self.known[key] = found
        return self.known[key]

    def shape(self, shape: Sequence[Size]) -> str:
        """A shape as a vector."""
        if all(s.value is not None for s in shape):
            return self.ints(*(s.value or 0 for s in shape))
        root, key = self.root, ("shape", tuple(map(str, shape)))
        if key not in root.known:
            parts = [self.size(s) for s in shape]
            root.known[key] = parts[0]
            if len(parts) > 1:
                root.known[key] = self.made.new(OnnxFacts("", "", "shape"))
                call = OnnxNode("Concat", parts, [root.known[key]], {"axis": 0})
                root.listing.calls.append(call)
        return root.known[key]

    # ---- values of operands ----------------------------------------------------------------------

    def thin(self, node: Node) -> OnnxValue:
        """What a node has become, as thin as it is held."""
        return self.values[node]

    def full(self, node: Node) -> str:
        """The name of a node's value with all its axes in full size."""
        value = self.values[node]
        return value.name if is_full(value, node.type) else self.spread(value, node.type)

    def spread(self, value: OnnxValue, type: TensorType) -> str:
        """A thin value over all of a shape."""
        shape = self.shape(type.shape)
        key = ("Expand", value.name, shape)
        if key not in value.home.known:
            about = self.made.facts[value.name]
            found = self.made.new(OnnxFacts("", about.name or about.owner, "expand"))
            value.home.listing.calls.append(OnnxNode("Expand", [value.name, shape], [found]))
            value.home.known[key] = found
        return value.home.known[key]

    def aligned(self, value: OnnxValue, rank: int, axes: Sequence[int], to: int) -> OnnxValue:
        """A value of `rank` axes as one of `to`, axis i having become `axes[i]`: those between are
        1, those before the first are left out."""
        mine = axes[rank - len(value.whole) :]
        if not mine:
            return value
        low = mine[0]
        gaps = [i - low for i in range(low, to) if i not in mine]
        whole = [False] * (to - low)
        for axis, full in zip(mine, value.whole, strict=True):
            whole[axis - low] = full
        name = value.name
        if gaps and (known := self.constant(value)) is not None:
            name = self.made.number(np.expand_dims(known, gaps))
        elif gaps:
            name = self.once("Unsqueeze", value, self.ints(*gaps))
        return OnnxValue(name, tuple(whole), value.home)

    def turned(self, node: Node, perm: Sequence[int]) -> OnnxValue:
        """A node's value with its axes in another order, turned where it was made."""
        value = self.values[node]
        if tuple(perm) == tuple(range(len(perm))):
            return value
        if not is_full(value, node.type):
            value = OnnxValue(self.spread(value, node.type), (True,) * len(perm), value.home)
        if (known := self.constant(value)) is not None:
            name = self.made.number(known.transpose(perm))
        else:
            name = self.once("Transpose", value, perm=tuple(perm))
        return OnnxValue(name, (True,) * len(perm), value.home)


def is_full(value: OnnxValue, type: TensorType) -> bool:
    """Whether a value has all axes of a type; where one is of size 1 there is nothing to repeat."""
    same = len(value.whole) == len(type.shape)
    return same and all(f or s.value == 1 for f, s in zip(value.whole, type.shape, strict=True))


def value_of(node: Node) -> Array:
    """The array of a source that needs nothing to be known."""
    from dln.compiler.ir.evaluate import evaluate  # late: NumPy

    return np.asarray(evaluate({"": node})[""])
