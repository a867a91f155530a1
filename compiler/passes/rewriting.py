"""How rules are written, applied and reported.

A rule is a small function from a node to a better node, or None. It says for which operations it
is asked and whether the result is the same to the last bit (`exact`). `apply` asks the rules at
every node, operands first, until none fires.

Before `differentiate`, a node that some `grad(s, x)` asks the derivative for must stay where it
is: rules neither replace it nor look through it, or s would no longer depend on it. Rules ask
`m.has(node, "exp")` instead of reading `node.op`, and get no for such a node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from dln.compiler.ir.formula import formula
from dln.compiler.ir.graph import Graph, Node, Spans, ancestors, keep, rewrite
from dln.compiler.ir.op import Make, volume
from dln.compiler.ir.sizes import coefficients
from dln.compiler.ir.structure import is_derivative
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.diagnostics import Fault
from dln.grammar.record import Record

ROUNDS = 20  # sweeps over a graph; a chain of rules that is longer is a loop
AT_ONE_NODE = 12  # firings in a row at one node, for the same reason
SHARED = 30  # places of a node that are still told one by one
BATCH_GUESS = 16  # what an open size counts as where work is compared


class Firing(Record):
    """One use of a rule: which, whether exact, the formula before and after, and its places."""

    rule: str
    exact: bool
    before: str
    after: str
    spans: Spans = ()


Log: TypeAlias = list[Firing]


class Ration(list[Firing]):
    """A log with room for so many firings: what would come after them does not fire."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most


def spent(log: Log | None) -> bool:
    """Whether nothing may fire any more."""
    return isinstance(log, Ration) and len(log) >= log.most


Pass: TypeAlias = "Callable[[Graph, Log | None], Graph]"
"""A pure function from a graph to a better one, which notes in a log what it did."""


class Terms(Make):
    """What a rule sees: makes nodes, and answers questions about them.

    `sealed` are the nodes that a `grad` asks for; `uses` counts the readers of a node; `padded` has
    the axis of sums of pads, and how wide their terms are together, `adding` which sums hold a
    product; `final` says that no `grad` is left.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.sealed: set[Node] = set()
        self.uses: dict[Node, int] = {}
        self.padded: dict[Node, tuple[int, int]] = {}
        self.adding: dict[Node, bool] = {}
        self.final = True

    def has(self, node: Node, op: str) -> bool:
        """Whether a node is this operation and may be looked into."""
        return node.op == op and node not in self.sealed

    def number(self, node: Node) -> float | None:
        """The value of a node that is one constant, spread over a shape or not."""
        if self.has(node, "broadcast") and not node["axes"]:
            node = node.operands[0]
        if not self.has(node, "const") or node.type.shape or node.type.kind != "real":
            return None
        return float(node["value"])

    def is_(self, node: Node, value: float) -> bool:
        """Whether a node is this constant."""
        return self.number(node) == value

    def shared(self, node: Node) -> bool:
        """Whether others read this node too, so that it is computed anyhow."""
        return self.uses.get(node, 1) > 1

    def before(self, node: Node, value: float) -> Node | None:
        """The first operand, where the second is this constant."""
        a, b = node.operands
        return self.shaped(a, node) if self.is_(b, value) else None

    def beside(self, node: Node, value: float) -> Node | None:
        """The other operand, where one of two is this constant."""
        a, b = node.operands
        return self.shaped(b, node) if self.is_(a, value) else self.before(node, value)

    def under(self, node: Node, op: str) -> Node | None:
        """x of a node that reads f(op(x))."""
        (a,) = node.operands
        return a.operands[0] if self.has(a, op) else None

    def maybe(self, op: str, a: Node | None, **attrs: object) -> Node | None:
        """An operation on a node, where there is one."""
        return None if a is None else self(op, a, **attrs)

    def shaped(self, node: Node, like: Node) -> Node:
        """A number spread over the shape of another node; a tensor of that shape as it is."""
        if node.type.shape == like.type.shape:
            return node
        return self.broadcast(node, like.type, ())

    def filled(self, value: float, like: Node) -> Node:
        """A constant over the shape of another node."""
        return self.shaped(self.const(value), like)

    def negated(self, node: Node) -> Node:
        """`-node`, without a second sign."""
        return node.operands[0] if self.has(node, "neg") else self.neg(node)

    def scaled(self, node: Node) -> tuple[Node, Node] | None:
        """(s, x) of a tensor that is a single number times a tensor."""
        if not self.has(node, "mul") or node.type.shape == ():
            return None
        a, b = node.operands
        if a.type.shape == () != b.type.shape:
            return a, b
        return (b, a) if b.type.shape == () != a.type.shape else None

    def times(self, a: Node, b: Node) -> Node:
        """The product of two numbers; constants are multiplied at once."""
        x, y = self.number(a), self.number(b)
        return self.mul(a, b) if x is None or y is None else self.const(x * y)


Apply: TypeAlias = "Callable[[Terms, Node], Node | None]"


class Rule(Record):
    """A rewrite: its name, the operations it is asked for, and what it does."""

    name: str
    ops: tuple[str, ...]
    exact: bool
    apply: Apply
    doc: str = ""


def row(name: str, ops: str, doc: str, apply: Apply, exact: bool = True) -> Rule:
    """A rule that is a line of a table: before -> after, and what does it."""
    return Rule(name, tuple(ops.split()), exact, apply, doc)


def rule(*ops: str, exact: bool = True) -> Callable[[Apply], Rule]:
    """Make a rule of a function; its first line of documentation shows before -> after."""

    def made(apply: Apply) -> Rule:
        name = getattr(apply, "__name__", "rule").replace("_", " ")
        return Rule(name, ops, exact, apply, (apply.__doc__ or "").strip())

    return made


def rules_of(module: Mapping[str, object]) -> list[Rule]:
    """The rules among the names of a module, in the order in which they are written."""
    return [r for r in module.values() if isinstance(r, Rule)]


def by_operation(rules: Iterable[Rule]) -> Mapping[str, tuple[Rule, ...]]:
    """The rules to ask for each operation, in order."""
    table: dict[str, tuple[Rule, ...]] = {}
    for r in rules:
        for op in r.ops:
            table[op] = (*table.get(op, ()), r)
    return table


def apply(graph: Graph, table: Mapping[str, tuple[Rule, ...]], log: Log | None = None) -> Graph:
    """The graph after the rules have been asked at every node until none fires."""
    for _ in range(ROUNDS):
        graph, fired = sweep(graph, table, log)
        if not fired:
            return graph
    give_up(log, fired)
    return clean(graph)


ENDLESS = "does not end"


def give_up(log: Log | None, rules: Iterable[str]) -> None:
    """Note that some rules would fire for ever: the graph is right, but not what it could be."""
    if log is not None:
        log.append(Firing(ENDLESS, True, ", ".join(sorted(set(rules))), "more of the same"))


def must_end(log: Log) -> None:
    """Raise Fault where a log says that a rewriting was given up."""
    for f in log:
        if f.rule == ENDLESS:
            raise Fault(f"a rewriting {ENDLESS}: {f.before} fired to the last")


def clean(graph: Graph) -> Graph:
    """The graph without what no output needs."""
    return rewrite(graph, keep)[0]


def sweep(
    graph: Graph, table: Mapping[str, tuple[Rule, ...]], log: Log | None = None
) -> tuple[Graph, list[str]]:
    """One walk, operands first; the new graph and the rules that fired."""
    nodes = ancestors(graph.outputs.values())
    sealed = {n.operands[1] for n in nodes if is_derivative(n)} | (graph.asked or set())
    counts = readers(graph, nodes)
    final = graph.asked is None and not any(is_derivative(n) for n in nodes)
    terms, fired = Terms(Graph()), list[str]()

    def choose(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node:
        terms.graph, terms.final, terms.spans = new, final, graph.spans.get(node, ())
        made = rebuild(terms, node, operands)
        if node in sealed:
            terms.sealed.add(made)
        elif made.op in table:
            made = improve(terms, made, table, log, fired)
            if not final:
                made = terms.running(made, node.type)
        before = terms.uses.get(made, 0)
        terms.uses[made] = before + counts[node]
        if made in terms.adding and (before > 1) != terms.shared(made):
            terms.adding.clear()  # what is read twice is looked into no more
        return made

    return rewrite(graph, choose)[0], fired


def readers(graph: Graph, nodes: Iterable[Node]) -> dict[Node, int]:
    """How many slots and outputs read each node."""
    counts = dict.fromkeys(nodes, 0)
    for node in counts:
        for operand in node.operands:
            counts[operand] += 1
    for output in graph.outputs.values():
        counts[output] += 1
    return counts


def rebuild(terms: Terms, node: Node, operands: tuple[Node, ...]) -> Node:
    """The same operation over the new operands, its type inferred again where they changed."""
    if operands == node.operands:
        return terms.graph.include(node)
    return terms(node.op, *operands, **node.attrs)


def improve(
    terms: Terms,
    node: Node,
    table: Mapping[str, tuple[Rule, ...]],
    log: Log | None,
    fired: list[str],
) -> Node:
    """The node after all rules that fire at it; `fired` is told which."""
    for _ in range(AT_ONE_NODE):
        if spent(log):
            return node
        for rule in table.get(node.op, ()):
            better = rule.apply(terms, node)
            if better is not None and better is not node:
                break
        else:
            return node
        fired.append(rule.name)
        assert better.type.shape == node.type.shape, f"{rule.name}: {node!r} became {better!r}"
        terms.graph.mark(better, consumed(terms.graph, node, better))
        if log is not None:
            log.append(firing(terms.graph, rule, node, better))
        node = better
        if node in terms.sealed:
            return node
    give_up(log, fired[-AT_ONE_NODE:])
    return node


def consumed(graph: Graph, before: Node, after: Node) -> Spans:
    """The places of what a rule used up: in the pattern, and not in the result. What stands in many
    places is a number that all of them share: none of them has used it up."""
    kept = {after, *within(after, 3)}
    spans = [graph.spans.get(n, ()) for n in (before, *within(before, 3)) if n not in kept]
    return tuple(dict.fromkeys(s for places in spans if len(places) <= SHARED for s in places))


def within(node: Node, depth: int) -> Iterable[Node]:
    """The operands of a node, their operands, and so on."""
    front = [node]
    for _ in range(depth):
        front = [o for n in front for o in n.operands]
        yield from front


def firing(graph: Graph, rule: Rule, before: Node, after: Node) -> Firing:
    """A firing in the user's words. What only moves elements reads the same before and after,
    so there the operations are named."""
    spans = graph.spans.get(after, ()) or graph.spans.get(before, ())
    texts = [formula(graph, node, 6) for node in (before, after)]
    if texts[0] == texts[1]:
        texts = [skeleton(graph, node, 2) for node in (before, after)]
    return Firing(rule.name, rule.exact, texts[0], texts[1], spans)


def skeleton(graph: Graph, node: Node, depth: int) -> str:
    """The operations of a node and, some way down, of its operands; formulas below."""
    if depth == 0 or not node.operands:
        return formula(graph, node, 2)
    return f"{node.op}({', '.join(skeleton(graph, o, depth - 1) for o in node.operands)})"


def work(type: TensorType) -> int:
    """The number of elements, open sizes guessed: enough to compare."""
    count = volume(type.shape)
    found = coefficients(count)
    if found is None:
        return count.constant + sum(c * BATCH_GUESS for _, c in count.terms)
    return sum(c * BATCH_GUESS**k for k, c in enumerate(found))
