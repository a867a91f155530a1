"""The graph: a NetworkX `MultiDiGraph` of immutable nodes, unique by content.

Edges run from an operand to its user, with the operand's slot as edge key, so `x * x` has two
edges. A node is `(op, operands, attrs)`; adding an equal one returns the node that exists, so
shared work is shared by construction and equality is identity. The type of a node follows from
its operands by the rule of its operation.

What is *about* a node without being part of it lives beside it in the graph: `spans` (the places
of the spec it came from; merging joins them) and `names` (what the user calls it). Attribute
dictionaries of NetworkX are touched in this file only.

The graphs between two rewrites of a pass are many and short-lived, and a run asks none of them: the
MultiDiGraph is made when it is first asked for, and kept in step from then on. So is the table of
users, for who reads a node is asked where NetworkX would not be loaded otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.diagnostics import Span

if TYPE_CHECKING:
    import networkx

MOST = 100
"""Places of a node that are kept: a number that stands in more of them comes from none."""

K = TypeVar("K", bound=Hashable)
"""What the outputs of a graph are called."""

Spans: TypeAlias = tuple[Span, ...]
Content: TypeAlias = tuple[str, tuple[int, ...], tuple[tuple[str, Any], ...]]


def content(op: str, operands: tuple[Node, ...], attrs: Mapping[str, Any]) -> Content:
    """What makes a node the node it is. The type follows from it."""
    items = tuple(attrs.items()) if len(attrs) < 2 else tuple(sorted(attrs.items()))
    return op, tuple(map(id, operands)), items


class Node:
    """One value: `op(*operands, **attrs)` of type `type`. Immutable; compared by identity.

    `key` is its content: a node goes through many graphs, and keeps what makes it unique in each.
    """

    __slots__ = ("attrs", "key", "op", "operands", "type")
    op: str
    operands: tuple[Node, ...]
    attrs: Mapping[str, Any]
    type: TensorType
    key: Content

    def __init__(
        self, op: str, operands: tuple[Node, ...], attrs: Mapping[str, Any], type: TensorType,
        key: Content | None = None,
    ) -> None:  # fmt: skip
        _put_op(self, op)
        _put_operands(self, operands)
        _put_attrs(self, attrs)
        _put_type(self, type)
        _put_key(self, content(op, operands, attrs) if key is None else key)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a node is immutable: {name} cannot be set")

    def __getitem__(self, attr: str) -> Any:
        return self.attrs[attr]

    def __repr__(self) -> str:
        attrs = "".join(f", {k}={v}" for k, v in self.attrs.items())
        return f"{self.op}({', '.join(o.op for o in self.operands)}{attrs}){self.type}"


# A node is frozen, and made by the slots themselves: thousands are made of every spec.
_put_op, _put_operands, _put_attrs, _put_type, _put_key = (
    Node.__dict__[name].__set__ for name in ("op", "operands", "attrs", "type", "key")
)


class Graph:
    """Nodes with their spans and names, and the outputs that keep them alive.

    What outputs are called is for those who ask for them. `asked` is known of the body of a loop as
    long as derivatives outside are still to be written out: the nodes that they ask for.
    """

    def __init__(self) -> None:
        self._nx: networkx.MultiDiGraph[Node] | None = None
        self.outputs: dict[Hashable, Node] = {}
        self.asked: frozenset[Node] | None = None
        self.spans: dict[Node, Spans] = {}
        self._places: dict[Node, dict[Span, None]] = {}  # of nodes that were marked again
        self.names: dict[Node, str] = {}
        self.marks: list[tuple[Node, Spans, str | None]] | None = None  # where they are kept
        self._unique: dict[Content, Node] = {}
        self._nodes: dict[Node, None] = {}
        self._users: dict[Node, list[tuple[Node, int]]] | None = None

    @property
    def nx(self) -> networkx.MultiDiGraph[Node]:
        """The NetworkX graph itself."""
        if self._nx is None:
            import networkx  # late: NetworkX

            self._nx = networkx.MultiDiGraph()
            for node in self._nodes:
                self._join(self._nx, node)
        return self._nx

    # ---- building ------------------------------------------------------------------------------

    def add(
        self,
        op: str,
        operands: Iterable[Node],
        type: TensorType,
        spans: Spans = (),
        /,
        **attrs: Any,
    ) -> Node:
        """The node with this content: a new one, or the one that exists (its spans grow)."""
        operands = tuple(operands)
        key = content(op, operands, attrs)
        node = self._unique.get(key)
        if node is None:
            return self.insert(key, operands, type, spans)
        if spans:
            self.mark(node, spans)
        return node

    def find(self, op: str, operands: tuple[Node, ...], attrs: Mapping[str, Any]) -> Node | None:
        """The node with this content, if it is here. Its type need not be known."""
        return self._unique.get(content(op, operands, attrs))

    def known(self, key: Content) -> Node | None:
        """As `find`, by what `content` has given."""
        return self._unique.get(key)

    def insert(
        self, key: Content, operands: tuple[Node, ...], type: TensorType, spans: Spans = ()
    ) -> Node:
        """A new node with a content that is not here yet, and with these operands."""
        node = self._unique[key] = Node(key[0], operands, dict(key[2]), type, key)
        self._enter(node)
        if spans:
            self.spans[node] = spans
            if self.marks is not None:
                self.marks.append((node, spans, None))
        return node

    def include(self, node: Node, spans: Spans = (), name: str | None = None) -> Node:
        """A node of another graph whose operands are here already, as it is."""
        found = node
        if node not in self._nodes:
            found = self._unique.setdefault(node.key, node)
            if found is node:
                self._enter(node)
        if spans or name is not None:
            self.mark(found, spans, name)
        return found

    def _enter(self, node: Node) -> None:
        self._nodes[node] = None
        if self._nx is not None:
            self._join(self._nx, node)
        if self._users is not None:
            self._read(self._users, node)

    @staticmethod
    def _join(made: networkx.MultiDiGraph[Node], node: Node) -> None:
        made.add_node(node, op=node.op, type=node.type, attrs=node.attrs)
        for slot, operand in enumerate(node.operands):
            made.add_edge(operand, node, key=slot)

    @staticmethod
    def _read(users: dict[Node, list[tuple[Node, int]]], node: Node) -> None:
        users[node] = []
        for slot, operand in enumerate(node.operands):
            users[operand].append((node, slot))

    def mark(self, node: Node, spans: Spans = (), name: str | None = None) -> None:
        """Join spans to a node, and name it if it has no name yet."""
        if self.marks is not None:
            self.marks.append((node, spans, name))
        if spans:
            old = self.spans.get(node)
            if old is None:
                self.spans[node] = spans
            elif old is not spans and len(old) < MOST:
                places = self._places.get(node) or dict.fromkeys(old)
                self._places[node] = places
                if more := [s for s in spans if s not in places]:
                    places |= dict.fromkeys(more)
                    self.spans[node] = tuple(places)
        if name is not None:
            self.names.setdefault(node, name)

    # ---- asking --------------------------------------------------------------------------------

    def about(self, node: Node) -> tuple[Spans, str | None]:
        """The places of a node, and its name."""
        return self.spans.get(node, ()), self.names.get(node)

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node: object) -> bool:
        return node in self._nodes

    def users(self, node: Node) -> list[tuple[Node, int]]:
        """Who reads a node, each with the slot."""
        if self._users is None:
            self._users = {}
            for each in self._nodes:
                self._read(self._users, each)
        return self._users[node]

    def topological(self) -> Iterator[Node]:
        """Operands before users; insertion order is such an order, and stays stable."""
        return iter(self._nodes)

    def since(self, count: int) -> list[Node]:
        """The nodes that have been added to a graph that had so many, in order."""
        return [*islice(reversed(self._nodes), len(self._nodes) - count)][::-1]

    def annotated(self) -> networkx.MultiDiGraph[Node]:
        """The NetworkX graph with `spans`, `name` and `shape` among the node attributes."""
        for node, data in self.nx.nodes(data=True):
            data["spans"] = self.spans.get(node, ())
            data["name"] = self.names.get(node)
            data["shape"] = tuple(map(str, node.type.shape))
        return self.nx


def ancestors(
    outputs: Iterable[Node], before: Callable[[Node], Sequence[Node]] | None = None
) -> list[Node]:
    """Everything that the outputs need, operands before users, without recursion. What stands
    `before` a node are its operands if nothing else is said."""
    done: dict[Node, None] = {}
    for output in outputs:
        stack: list[Any] = [output]
        while stack:
            node = stack.pop()
            if node is None:  # what the next one needs has been seen
                done[stack.pop()] = None
            elif node not in done:
                first = node.operands if before is None else before(node)
                if first:
                    stack += (node, None)
                    stack.extend(first[::-1])
                else:
                    done[node] = None
    return list(done)


def up_to(outputs: Iterable[Node], ends: Callable[[Node], bool]) -> Iterator[Node]:
    """What the outputs need, users before operands, but for what stands behind a node that `ends`
    holds of."""
    seen, front = set[Node](), list(outputs)
    while front:
        node = front.pop()
        if node not in seen:
            seen.add(node)
            yield node
            if not ends(node):
                front.extend(node.operands)


Choose: TypeAlias = Callable[["Graph", Node, tuple[Node, ...]], "Node | None"]


def rewrite(graph: Graph, rule: Choose) -> tuple[Graph, dict[Node, Node]]:
    """A new graph in which `rule(new, node, operands)` chose each node; None keeps the node.

    Only what the outputs need is visited. The spans and the name of a replaced node go to its
    replacement. The mapping from old to new nodes is the way back.
    """
    new = Graph()
    to: dict[Node, Node] = {}
    spans, names = graph.spans, graph.names
    for node in ancestors(graph.outputs.values()):
        operands = tuple([to[o] for o in node.operands])
        made = rule(new, node, operands) or keep(new, node, operands)
        if node in spans or node in names:
            new.mark(made, *graph.about(node))
        to[node] = made
    new.outputs = {k: to[v] for k, v in graph.outputs.items()}
    if graph.asked is not None:
        new.asked = frozenset(to[n] for n in graph.asked)
    return new, to


def keep(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node:
    """The same operation on perhaps other operands."""
    if operands == node.operands:
        return new.include(node)
    return new.add(node.op, operands, node.type, **node.attrs)
