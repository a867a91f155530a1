"""Which results are computed straight into the buffer of a parameter, a state or a value.

The new value of a parameter is written over the old one as soon as nobody reads that any more;
what feeds only the new value is computed there too. Where readers cannot all come first, the new
value is copied at the end.
"""

from __future__ import annotations

from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.ir.spelling import Statements
from dln.compiler.lower.materialise import Roles, base, copy, outputs, own_key
from dln.compiler.schema.keys import Output


class InPlace:
    """Which nodes are computed straight into the buffer of a parameter, a state or a value.

    `before[node]` are nodes that must run first because they read what `node` overwrites;
    `dest[node]` is the output.
    """

    def __init__(self, graph: Graph, roles: Roles) -> None:
        self.graph, self.roles = graph, roles
        self.before: dict[Node, set[Node]] = {}
        self.dest: dict[Node, Output] = {}
        self.readers: dict[Node, list[Node]] = {}
        self.reads: dict[Node, list[Node]] = {}
        self.place: dict[Node, int] = {}
        for node in ancestors(graph.outputs.values()):
            self.enter(node)

    def enter(self, node: Node) -> None:
        """Note which arrays a computed node reads, through views."""
        if self.roles.role[node] != "compute":
            return
        read = (base(self.roles, o) for o in node.operands if self.roles.role[o] != "host")
        self.reads[node] = list(dict.fromkeys(read))
        for source in self.reads[node]:
            self.readers.setdefault(source, []).append(node)
        if self.place:  # nothing needs it yet
            self.place[node] = len(self.place)

    def place_outputs(self) -> None:
        """Find a place for each output; copy at the end where it cannot be computed in place."""
        nodes = ancestors(self.graph.outputs.values())
        sources = {key: n for n in nodes if (key := own_key(n)) is not None}
        for key, node in list(outputs(self.graph).items()):
            if key.place == "value":
                self.dest[node] = key
            elif key not in sources or self.overwrite(node, sources[key]):
                self.dest[node] = key
                self.extend(node, sources.get(key), key)
            else:
                last = copy(self.graph, self.roles, node, output=key)
                self.graph.outputs[key] = last
                self.enter(last)
                self.overwrite(last, sources[key])
                self.dest[last] = key

    def overwrite(self, node: Node, source: Node) -> bool:
        """Let `node` be computed over `source`, if no reader of it has to come later."""
        readers = [r for r in self.readers.get(source, ()) if r is not node]
        if source in self.reads[node] and not may_overwrite(self.roles, node, source):
            return False
        if self.comes_before(node, readers):
            return False
        self.before.setdefault(node, set()).update(readers)
        at = self.places()
        if any(at[r] > at[node] for r in readers):
            self.place = {}  # made anew when it is asked for
        return True

    def extend(self, node: Node, source: Node | None, key: Output) -> None:
        """Compute what feeds only `node` in the same buffer, as far back as that goes."""
        while source is not None and source not in self.reads[node]:
            for feed in node.operands:
                if self.may_extend(feed, node) and self.overwrite(feed, source):
                    self.dest[feed] = key
                    node = feed
                    break
            else:
                return

    def may_extend(self, feed: Node, node: Node) -> bool:
        """Whether `node` can be computed over its operand `feed`, which nobody else reads."""
        return (
            self.roles.role[feed] == "compute"
            and feed not in self.dest
            and feed not in self.graph.outputs.values()
            and self.readers[feed] == [node]
            and may_overwrite(self.roles, node, feed)
        )

    def comes_before(self, node: Node, others: list[Node]) -> bool:
        """Whether one of `others` needs `node`, so far as the order is fixed already."""
        at = self.places()
        after = at[node]
        behind = [o for o in others if at[o] >= after]
        return bool(behind) and node in ancestors(
            behind, lambda n: [o for o in self.needs(n) if at[o] >= after]
        )

    def places(self) -> dict[Node, int]:
        """A place for each computed node in an order in which what it needs stands before it: so
        that one need not look for a node among those that stand before it."""
        if not self.place:
            self.place = {n: i for i, n in enumerate(ancestors(list(self.reads), self.needs))}
        return self.place

    def needs(self, node: Node) -> list[Node]:
        """The computed nodes that have to run before a node."""
        role = self.roles.role
        filled = (n.operands[0] if role[n] == "left" else n for n in self.reads[node])
        return [*(n for n in filled if n in self.reads), *self.before.get(node, ())]


def may_overwrite(roles: Roles, node: Node, held: Node) -> bool:
    """Whether a node may be computed into the array that holds one of its operands.

    It must work element by element, or begin with a copy of that array; it must read it as it lies,
    not through a view that moves elements; and after the first statement that writes the result it
    must not read it again.
    """
    if not (op_of(node).is_("pointwise") or op_of(node).is_("onto")):
        return False
    if held.type.shape != node.type.shape or held.type.kind != node.type.kind:
        return False
    slots = [i for i, o in enumerate(node.operands) if base(roles, o) is held]
    if any(not still(roles, node.operands[i], held) for i in slots):
        return False
    spelled = roles.spelling(node)
    return isinstance(spelled, Statements) and spelled.may_overwrite(slots)


def still(roles: Roles, operand: Node, held: Node) -> bool:
    """Whether an operand is an array itself, or that array under other names of its axes."""
    while operand is not held and roles.renames(operand):
        operand = operand.operands[0]
    return operand is held
