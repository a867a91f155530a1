"""Products with one-hot rows as rows of a table.

A row of `onehot(c)` is 1 at the class c and 0 elsewhere, by its type: whatever it is multiplied
with is looked up, and the other numbers are not read.

    W[o, k] onehot(c)[n, k]            ->  gather(W', c)
    W[o, k] onehot(c)[n, k] + b[o]     ->  gather(W' + b, c)

The table W' is W with its classes first, copied so where they are not: its rows are looked up by
enough examples, or the product stays.
"""

from __future__ import annotations

from math import prod

from dln.compiler.ir.graph import Graph, Node, rewrite
from dln.compiler.ir.op import Make, op_of
from dln.compiler.ir.structure import is_contraction, is_spread
from dln.compiler.lower.forms.turned import nodes_of
from dln.compiler.lower.im2col import number
from dln.grammar.record import Record

ENOUGH = 32
"""Rows that are looked up from which on a table is copied for them."""


class Lookup(Record):
    """A table with its classes first, the classes that are looked up in it, in how many axes these
    stand, and how often the result is read."""

    table: Node
    classes: Node
    lead: int
    readers: int


def products_looked_up(graph: Graph, capacity: int) -> tuple[Graph, tuple[str, ...]]:
    """The graph with such products as rows of tables, for `capacity` examples; and what is said of
    each."""
    said, made = list[str](), dict[Node, Lookup]()

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        make = Make(new, graph.spans.get(node, ()))
        if node.op == "add":
            return with_bias(make, node, operands, made)
        slot = one_hot(node, capacity)
        if slot is None:
            return None
        sides = (node["left"], node["right"])
        (classes,), (*lead, k) = operands[slot].operands, sides[slot]
        table, labels = operands[1 - slot], sides[1 - slot]
        rest = [label for label in labels if label != k]
        if labels[0] != k:
            perm = tuple(map(labels.index, (k, *rest)))
            table = make("copy", make("transpose", table, perm=perm))
        size, rows = table.type.shape[0], prod(number(s, capacity) for s in classes.type.shape)
        said.append(f"{rows} rows of a table of {size}, for a product")
        found = make("gather", table, classes)
        perm = tuple(map([*lead, *rest].index, node["out"]))
        if perm != tuple(range(len(perm))):
            return make.running(make("transpose", found, perm=perm), node.type)
        result = make.running(found, node.type)
        made[result] = Lookup(table, classes, len(lead), len(graph.users(node)))
        return result

    there = any(one_hot(n, capacity) is not None for n in nodes_of(graph))
    return (rewrite(graph, rule)[0] if there else graph), tuple(said)


def one_hot(node: Node, capacity: int) -> int | None:
    """Which operand of a product is one-hot rows that look up the other one; None where none is."""
    if not is_contraction(node):
        return None
    for slot, hot in enumerate(node.operands):
        labels, others = (node["left"], node["right"])[:: 1 if slot == 0 else -1]
        *lead, k = labels or (None,)
        if not op_of(hot).is_("one_hot") or hot.operands[0].type.domain.partial:
            continue
        if k in node["out"] or k not in others or set(lead) & set(others):
            continue
        if set(lead) <= set(node["out"]):
            rows = prod(number(s, capacity) for s in hot.operands[0].type.shape)
            return slot if rows >= ENOUGH else None
    return None


def with_bias(
    m: Make, node: Node, operands: tuple[Node, ...], made: dict[Node, Lookup]
) -> Node | None:
    """A sum of what is looked up, and read here alone, with what is the same for all rows: it is
    added to the table."""
    for found, other in (operands, operands[::-1]):
        lookup = made.get(found)
        if lookup is None or lookup.readers != 1 or not is_spread(other):
            continue
        if any(axis < lookup.lead for axis in other["axes"]):
            continue
        like, axes = lookup.table.type, (axis - lookup.lead + 1 for axis in other["axes"])
        table = m.add(lookup.table, m.broadcast(other.operands[0], like, tuple(axes)))
        return m.running(m("gather", table, lookup.classes), node.type)
    return None
