"""Makes explicit what a program must copy, and says what part each node plays in it.

After `prepare`, every output is a computed node of its own, and no operation meets a view that it
cannot read where it lies.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, cast

from dln.compiler.ir import structure
from dln.compiler.ir.graph import Graph, Node, rewrite
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.ops.loop import body_of, sequence_type
from dln.compiler.ir.spelling import Lies, Spelling, View, lies_after
from dln.compiler.lower.forms.lookups import products_looked_up
from dln.compiler.lower.forms.matrices import matrices_turned
from dln.compiler.lower.forms.scatters import products_added_up
from dln.compiler.lower.forms.stacks import products_stacked
from dln.compiler.lower.forms.turned import products_turned
from dln.compiler.lower.im2col import gathered, unwound
from dln.compiler.lower.layout import examples_last
from dln.compiler.lower.targets import Target, spelling
from dln.compiler.lower.tiles import tiles_reshaped
from dln.compiler.schema.keys import Output
from dln.grammar.diagnostics import Fault

Role: TypeAlias = Literal["source", "const", "host", "view", "compute", "left"]


class Roles:
    """The part each node of a graph plays, worked out operands first, and how it is spelled.

    source: an input, a whole field, a parameter, a state or a slot. const: a constant tensor. host:
    one number known without looking at a tensor, a Python number in the program. view: another look
    at its first operand. compute: an array that the program fills; a loop is one too. left: an
    array that a loop fills row by row. `forms` says which products are computed in
    another form.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.role: dict[Node, Role] = {}
        self.layout: dict[Node, Lies] = {}
        self._spelled: dict[Node, Spelling] = {}
        self.forms: tuple[str, ...] = ()

    def of(self, node: Node) -> Role:
        """The role of a node; those of its operands are settled before it."""
        if node not in self.role:
            for operand in node.operands:
                self.of(operand)
            self.role[node] = self._role(node)
            self.layout[node] = "rows"
            if self.role[node] == "view":
                self.layout[node] = lies_after(self.layout[node.operands[0]], self.view(node).moves)
        return self.role[node]

    def spelling(self, node: Node) -> Spelling:
        """How a node is spelled for the target."""
        if node not in self._spelled:
            self._spelled[node] = spelling(self.target, node)
        return self._spelled[node]

    def view(self, node: Node) -> View:
        """What a node whose role it is to be a view looks at."""
        found = self.spelling(node)
        assert isinstance(found, View)
        return found

    def renames(self, node: Node) -> bool:
        """Whether a node is the array of its operand: elements, axes and all."""
        return self.role[node] == "view" and not self.view(node).moves

    def _role(self, node: Node) -> Role:
        record = op_of(node)
        if record.host and not node.type.shape:
            if all(self.role[o] == "host" for o in node.operands):
                return "host"
        if structure.is_const(node):
            return "const"
        if record.key or structure.is_slot(node):
            return "source"
        if structure.is_scan(node):
            return "compute"
        if structure.is_left(node):
            return "left"
        return "view" if isinstance(self.spelling(node), View) else "compute"

    def accepts(self, node: Node, operand: Node) -> bool:
        """Whether an operation can read an operand where it lies.

        A product reads rows, or rows turned where that is still a matrix product: anything else
        would make the array module copy it in every step.
        """
        self.of(operand)
        if self.layout[operand] == "rows" or not op_of(node).spell:
            return True
        spelled = self.spelling(node)
        if isinstance(spelled, View):
            return True
        wants = {spelled.lies(i) for i, o in enumerate(node.operands) if o is operand}
        return wants <= {"anyhow", self.layout[operand]}


def scattered(roles: Roles, loop: Node) -> frozenset[int]:
    """The slots of a loop that stand for what does not lie in C order. What is carried does."""
    slots = zip(body_of(loop).slots, loop.operands, strict=True)
    return frozenset(
        s["number"] for s, o in slots if s["role"] != "carried" and roles.layout[o] != "rows"
    )


def base(roles: Roles, node: Node) -> Node:
    """The node whose buffer a view looks into; any other node itself."""
    while roles.role[node] == "view":
        node = node.operands[0]
    return node


def prepare(graph: Graph, target: Target, capacity: int = 1) -> tuple[Graph, Roles]:
    """The graph with `copy` nodes where a program needs them, and the roles of its nodes.

    `capacity` is the usual number of examples, by which forms of products are compared.
    """
    roles = Roles(target)
    if target.examples_last:
        graph = examples_last(graph, capacity)
    graph = tiles_reshaped(graph, capacity)
    if target.chooses_forms:
        for choose in FORMS:
            graph, said = choose(graph, capacity)
            roles.forms += said

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node:
        made = None
        if structure.is_item(node):
            made = left_by(new, node, operands[0])
        elif (rearranged := REARRANGED.get(node.op)) is not None:
            made = rearranged(new, node, operands, capacity, graph.spans.get(node, ()))
        if made is None:
            read = tuple(o if roles.accepts(node, o) else copy(new, roles, o) for o in operands)
            same = read == node.operands
            made = new.include(node) if same else new.add(node.op, read, node.type, **node.attrs)
        roles.of(made)
        return made

    new, _ = rewrite(graph, rule)
    _own_outputs(new, roles)
    return new, roles


FORMS = (
    products_looked_up,
    products_added_up,
    matrices_turned,
    products_turned,
    products_stacked,
)
"""The forms of products, in the order in which they are looked for."""

REARRANGED = {"contract": gathered, "unwindow": unwound}
"""The rules of `im2col`, by the operation that they rewrite."""


def left_by(graph: Graph, item: Node, loop: Node) -> Node:
    """An item as a view of what its loop leaves: the values carried, with the first one beside
    them, or the rows of any other value.

    There is one array for each value that a loop carries and for each that is asked of it, with
    the type that it has in the body. What an item calls its axes is a matter of the view.
    """
    make, body, value = Make(graph, graph.spans.get(loop, ())), body_of(loop), item["value"]
    if structure.is_slot(value) and value["role"] != "carried":
        operand = body.operand(loop, value)
        if value["role"] == "rows":
            return make.running(operand, item.type)
        axes = tuple(range(1, len(item.type.shape)))
        like = item.type
        return make("broadcast", operand, axes=axes, shape=like.shape, running=like.running)
    if value not in body.carried and value not in body.nexts:
        return make.running(left(make, loop, value), item.type)
    before = value in body.carried
    whole = left(make, loop, (body.carried if before else body.nexts).index(value))
    start = 0 if before != body.reverse else 1
    stop = start + body.length.constant
    return make.running(make("slice", whole, axis=0, start=start, stop=stop), item.type)


def left(make: Make, loop: Node, of: int | Node) -> Node:
    """The array that a loop fills with a value of its body: the same node whoever reads it."""
    body = body_of(loop)
    steps, value = (
        (body.length, of) if isinstance(of, Node) else (body.length + 1, body.carried[of])
    )
    return make("left", loop, of=of, type=sequence_type(value.type, steps))


def copy(graph: Graph, roles: Roles, node: Node, **attrs: object) -> Node:
    """A node with the same values in an array of its own."""
    made = graph.add("copy", (node,), node.type, graph.spans.get(node, ()), **attrs)
    roles.of(made)
    return made


def _own_outputs(graph: Graph, roles: Roles) -> None:
    """Give each output a computed node of its own; drop parameters that keep their value."""
    taken: set[Node] = set()
    for key, node in sorted(outputs(graph).items(), key=lambda o: o[0].place == "value"):
        if key == own_key(node):
            del graph.outputs[key]
            continue
        if roles.role[node] != "compute" or node in taken:
            graph.outputs[key] = node = copy(graph, roles, node, output=key)
        taken.add(node)


def outputs(graph: Graph) -> dict[Output, Node]:
    """The outputs of a program. Raises `Fault` for what is called otherwise."""
    odd = [key for key in graph.outputs if not isinstance(key, Output)]
    if odd:
        raise Fault(f"{odd[0]} is no output of a program")
    return cast("dict[Output, Node]", graph.outputs)


def own_key(node: Node) -> Output | None:
    """The output that would be the new value of a source."""
    return (
        Output(node.op, node["path"])
        if structure.is_param(node) or structure.is_state(node)
        else None
    )
