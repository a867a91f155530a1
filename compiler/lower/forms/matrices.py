"""Matrices that the steps of a loop multiply a few rows by, turned once before it.

What a loop reads in each step, as the matrix of a recurrence, is the same in all of them:

    scan(U): ... h[n, k] U[o, k] ...   ->   scan(copy(U')): ... h[n, k] U'[k, o] ...

Such a product is the one that `turned` computes turned; here the copy is made once, and the product
can be added to what is there (`accumulate`) as it lies.
"""

from __future__ import annotations

from dataclasses import replace

from dln.compiler.ir.graph import Graph, Node, ancestors, rewrite
from dln.compiler.ir.op import Make
from dln.compiler.ir.ops import loop as loops
from dln.compiler.ir.structure import is_contraction, is_item, is_product_added, is_scan
from dln.compiler.lower.forms.turned import few_by_large, groups_of, rows_first

ENOUGH = 350
"""Rows, of all steps together, from which on they are worth the copy of a matrix."""


def matrices_turned(graph: Graph, capacity: int) -> tuple[Graph, tuple[str, ...]]:
    """The graph with such matrices turned, for `capacity` examples; and what is said of each."""
    asked = loops.requested(ancestors(graph.outputs.values()))
    said, moved = list[str](), dict[Node, dict[Node, Node]]()

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        make = Make(new, graph.spans.get(node, ()))
        if is_scan(node):
            body = loops.body_of(node)
            inner = loops.with_outputs(body, loops.outputs_of(body, asked[node]))
            chosen = {s: perm for s in body.fixed if (perm := turning(inner, body, s, capacity))}
            if not chosen:
                return None
            said.extend(f"{s.type} turned once for {body.length} steps" for s in chosen)
            better, made = with_slots(inner, body, chosen)
            moved[node] = loops.items_of(better, asked[node])
            given = [
                make("copy", make("transpose", o, perm=chosen[s])) if s in chosen else o
                for s, o in zip(body.slots, operands, strict=True)
            ]
            return make("scan", *given, body=made)
        if is_item(node) and node.operands[0] in moved:
            value = moved[node.operands[0]][node["value"]]
            return make.running(loops.item(make, operands[0], value), node.type)
        return None

    return (rewrite(graph, rule)[0], tuple(said)) if asked else (graph, ())


def turning(inner: Graph, body: loops.Body, slot: Node, capacity: int) -> tuple[int, ...] | None:
    """The order of axes in which a matrix is better read by the products of a step, which alone
    read it; None where it is as good as it lies."""
    perms = set[tuple[int, ...]]()
    if slot.type.running:
        return None
    for user, place in inner.users(slot):
        if not is_contraction(user) and not is_product_added(user):
            return None
        sizes = few_by_large(user, capacity)
        if sizes is None or place != (1 if rows_first(user) else 0):
            return None
        if sizes[0] * body.length.constant < ENOUGH:
            return None
        labels, summed = (user["left"], user["right"])[place], groups_of(user).inner
        kept = tuple(label for label in labels if label not in summed)
        perms.add(tuple(map(labels.index, (*summed, *kept))))
    return perms.pop() if len(perms) == 1 else None


def with_slots(
    inner: Graph, body: loops.Body, chosen: dict[Node, tuple[int, ...]]
) -> tuple[Graph, loops.Body]:
    """The graph of a body, and the body, with slots of turned matrices."""
    numbers, made = body.numbers(), dict[Node, Node]()

    def rule(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        make = Make(new, inner.spans.get(node, ()))
        if node in chosen:
            shape = tuple(node.type.shape[i] for i in chosen[node])
            type = node.type.like(shape=shape)
            made[node] = loops.slot(new, type, next(numbers), "fixed")
            return made[node]
        place = next((i for i, o in enumerate(node.operands) if o in chosen), None)
        if place is None:
            return None
        side = ("left", "right")[place]
        labels = tuple(node[side][i] for i in chosen[node.operands[place]])
        return make(node.op, *operands, **{**node.attrs, side: labels})

    better, _ = rewrite(inner, rule)
    rest = loops.rebuilt(body, better)
    fixed = tuple(made.get(s, s) for s in rest.fixed)
    return better, replace(rest, fixed=fixed)
