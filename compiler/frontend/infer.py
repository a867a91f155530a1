"""Sizes into the graph: every axis that the equations fix becomes a number.

Building works with open sizes; here each node is made again with what the solver found, by the
type rule of its own operation, so two nodes that turn out to be the same become one.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_
from typing import NoReturn

from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import Attrs, Make
from dln.compiler.ir.ops.loop import Body
from dln.compiler.ir.resolving import known
from dln.compiler.ir.sizes import Sizes
from dln.compiler.ir.structure import in_step, is_item, is_scan
from dln.compiler.model import Functions, Model, remap
from dln.grammar.diagnostics import DlnError, Fault


def infer(model: Model) -> Model:
    """The same model over a graph whose sizes are numbers, batch apart.

    Nodes of blocks that are never applied keep open sizes; nothing refers to them, and they go.
    """
    new, to = Graph(), dict[Node, Node]()
    make, steps = Make(new), dict[Node, Node]()
    broken: dict[Node, DlnError] = {}
    for node in model.graph.topological():
        if any(o not in to for o in node.operands) or in_step(node):
            continue
        attrs = {k: known(v, model.sizes) for k, v in node.attrs.items()}
        if is_scan(node):
            attrs["body"] = known_body(node["body"], model.sizes, steps)
        elif is_item(node):
            attrs["value"] = steps[node["value"]]
        try:
            made = again(make, node, tuple(to[o] for o in node.operands), attrs)
        except Fault as fault:
            place = model.graph.spans.get(node, (None,))[0]
            problem = Fault(fault.message, fault.remedy, "E299").at(place)
            if node not in model.functions.own:
                raise problem from None
            broken[node] = problem
            continue
        if any(not v.running for s in made.type.shape for v, _ in s.terms):  # a size is open
            continue
        new.mark(made, model.graph.spans.get(node, ()), model.graph.names.get(node))
        to[node] = made
    params = {k: p for k, p in model.params.items() if p.node in to}

    def moved(node: Node) -> Node:
        return to[node] if node in to else never_fixed(model, node, broken)

    found = model.changed(graph=new, params=params, functions=model.functions.each(moved))
    kept: Model = remap(found.changed(functions=Functions()), moved)
    return kept.changed(functions=found.functions)


def again(make: Make, node: Node, operands: tuple[Node, ...], attrs: Attrs) -> Node:
    """The node on these operands, typed anew. Where everything is as it was, so is its type, and
    it is taken over as it is: most nodes of a large spec had their sizes from the start."""
    old = node.attrs
    if all(map(is_, operands, node.operands)) and all(attrs[k] is old[k] for k in attrs):
        return make.graph.include(node)
    return make(node.op, *operands, **attrs)


def known_body(body: Body, sizes: Sizes, to: dict[Node, Node]) -> Body:
    """The body of a loop with its sizes resolved; `to` learns which node became which."""
    graph = Graph()
    make = Make(graph)
    for node in body.graph.topological():
        attrs = {k: known(v, sizes) for k, v in node.attrs.items()}
        made = again(make, node, tuple(to[o] for o in node.operands), attrs)
        graph.mark(made, body.graph.spans.get(node, ()), body.graph.names.get(node))
        to[node] = made
    rows, fixed, carried, nexts = (
        tuple(to[n] for n in part) for part in (body.rows, body.fixed, body.carried, body.nexts)
    )
    length = sizes.resolve(body.length)
    if length is body.length and all(to[n] is n for n in body.graph.topological()):
        return body
    return Body(graph, rows, fixed, carried, nexts, length, body.reverse)


def never_fixed(model: Model, node: Node, broken: Mapping[Node, DlnError]) -> NoReturn:
    """A value is asked for whose size no equation fixes, or of which an operation has refused a
    part. Raises DlnError at the open size."""
    for n in ancestors([node]):
        if n in broken:
            raise broken[n]
        terms = (v for s in n.type.shape for v, _ in model.sizes.resolve(s).terms)
        for v in (v for v in terms if not v.running):
            text = f"the size of {v} is never fixed"
            at = v.span or model.graph.spans.get(n, (None,))[0]
            raise Fault(text, code="E336").at(at, "no tensor says how large it is")
    raise AssertionError(f"{node!r} has no place in the inferred graph")
