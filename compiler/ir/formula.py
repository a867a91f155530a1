"""The formula of a node in the user's words, as one line of infix text."""

from __future__ import annotations

import re
from typing import TypeAlias

from dln.compiler.ir import structure
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.op import Tight, op_of
from dln.compiler.ir.ops.loop import Body, body_of
from dln.compiler.schema.keys import WholeField

Written: TypeAlias = tuple[str, int]
"""Text with the tightness of its outermost sign, so that brackets stand where needed."""

Known: TypeAlias = dict[tuple[Graph, Node, int, bool], Written]
"""Texts of nodes by how deep they go, for as long as no graph gives a name."""


def formula(graph: Graph, node: Node, depth: int = 4, known: Known | None = None) -> str:
    """`node` as text, `depth` operations deep, stopping at nodes that have a name.

    A named node itself is spelled out; deeper ones stand by name. What is cut off reads `...`.
    Who asks for many hands in what is `known` of them already.
    """
    return written(graph, node, depth, {} if known is None else known, root=True)[0]


def label(graph: Graph, node: Node) -> str:
    """What a node is called: its name in the spec, else its operation."""
    return graph.names.get(node) or _source(node) or node.op


def _source(node: Node) -> str | None:
    """The name that a source carries itself."""
    if structure.is_const(node):
        return number(node["value"])
    if structure.is_size(node):
        return str(node["size"])
    key = op_of(node).key
    name = node[key] if key else None
    if isinstance(name, WholeField):
        return name.spoken
    return None if name is None else str(name)


def transparent(node: Node) -> bool:
    """Whether an equation for one example does not mention an operation: layout, and what is only
    said."""
    return op_of(node).formula == "{0}"


def number(value: object) -> str:
    """A constant, short: a tensor is an ellipsis in brackets.

    >>> number(2.0), number(0.1), number(((1.0, 2.0),))
    ('2', '0.1', '[...]')
    """
    if isinstance(value, tuple):
        return "[...]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def written(graph: Graph, node: Node, depth: int, known: Known, root: bool = False) -> Written:
    """What a node reads, from what is known or worked out."""
    key = (graph, node, depth, root)
    found = known.get(key)
    if found is None:
        found = known[key] = _worked_out(graph, node, depth, known, root)
    return found


def _worked_out(graph: Graph, node: Node, depth: int, known: Known, root: bool) -> Written:
    name = None if root else graph.names.get(node)
    name = name or _source(node)
    if name is not None:
        return name, binding(name)
    if transparent(node):
        return written(graph, node.operands[0], depth, known, root)
    if (step := of_step(node)) is not None:  # a sequence reads like the value of a step
        return written(step[0].graph, step[1], depth, known)
    if depth <= 0:
        return "...", Tight.CALL
    parts, tight = [written(graph, o, depth - 1, known) for o in node.operands], op_of(node).tight
    texts = [text for text, _ in parts]
    if structure.is_contraction(node):
        return contract_text(node, texts, [bracketed(p, tight, 1) for p in parts])
    if structure.is_product_added(node):
        return accumulated_text(node, texts, [bracketed(p, Tight.PRODUCT, 1) for p in parts]), tight
    if structure.is_sum_of_multiples(node):
        return multiples_text(node, parts), tight
    if tight < Tight.CALL:
        texts = [bracketed(p, tight, i) for i, p in enumerate(parts)]
    return fill(node, texts), tight


def bracketed(part: Written, tight: int, slot: int) -> str:
    """An operand of a sign; behind it also what binds as tightly stands in brackets."""
    text, own = part
    return f"({text})" if own < tight + (slot > 0) else text


def of_step(node: Node) -> tuple[Body, Node] | None:
    """The value of a loop's step that a node holds for all steps: an item, or the array that a
    program leaves it in, which has a place more for the value before the first step."""
    if structure.is_item(node):
        return body_of(node), node["value"]
    held = node.operands[0] if structure.is_slice(node) else node
    if not structure.is_left(held):
        return None
    body, of = body_of(held.operands[0]), held["of"]
    if isinstance(of, Node):
        return (body, of) if held is node else None
    before = held is not node and (node["start"] == 0) != body.reverse
    return body, (body.carried if before else body.nexts)[of]


def binding(name: str) -> int:
    """How tightly a name binds: what stands in a loop for a formula outside is called by it."""
    if re.search(r" [-+] ", name):
        return Tight.SUM
    if re.search(r" [*/@] ", name):
        return Tight.PRODUCT
    return Tight.SIGN if name.startswith("-") else Tight.CALL


def fill(node: Node, texts: list[str]) -> str:
    """The formula of an operation's record with its operands and attributes put in."""
    form = op_of(node).formula
    if not form:
        return f"{node.op}({', '.join(texts)})"

    def value(match: re.Match[str]) -> str:
        key = match[1]
        return texts[int(key)] if key.isdigit() else str(node.attrs.get(key, key))

    return re.sub(r"\{(\w+)\}", value, form)


def contract_text(node: Node, bare: list[str], texts: list[str]) -> tuple[str, int]:
    """A contraction as it would be written for one example: `W @ x`, `outer(a, b)`, `dot(a, b)`.

    `bare` are the operands as arguments of a call, `texts` as operands of a sign.
    """
    left, right, out = node["left"], node["right"], node["out"]
    lead = out[: len(node.type.running)]
    summed = [k for k in left if k in right and k not in out]
    mine = [k for k in left if k not in lead and k not in summed]
    theirs = [k for k in right if k not in lead and k not in summed]
    if not mine and not theirs:
        return f"dot({', '.join(bare)})", Tight.CALL
    sides = zip((left, right), node.operands, strict=False)
    running = {k for labels, of in sides for k in labels[: len(of.type.running)]}
    if mine and theirs and running.issuperset(summed):
        bare = bare if out.index(mine[0]) < out.index(theirs[0]) else bare[::-1]
        return f"outer({', '.join(bare)})", Tight.CALL
    if not mine:
        turned = right.index(theirs[0]) > min(map(right.index, summed), default=-1)
        texts = [f"{texts[1]}.T" if turned else texts[1], texts[0]]
    return " @ ".join(texts), Tight.PRODUCT


def multiples_text(node: Node, parts: list[Written]) -> str:
    """`k * c + s * a`, a sign in the place of 1 and -1."""
    signs: list[str] = []
    for (of, by), plus in (((1, 3), ""), ((0, 2), "+ ")):
        value = structure.number(node.operands[by])
        if value in (1.0, -1.0):
            sign = plus if value == 1.0 else "- " if plus else "-"
            signs.append(sign + bracketed(parts[of], Tight.SUM, of == 0))
        else:
            number = bracketed(parts[by], Tight.PRODUCT, 0)
            signs.append(f"{plus}{number} * {bracketed(parts[of], Tight.PRODUCT, 1)}")
    return " ".join(signs)


def accumulated_text(node: Node, bare: list[str], texts: list[str]) -> str:
    """`c + s * W @ x`: what is there, and a contraction that is scaled and added."""
    product, scale = contract_text(node, bare[:2], texts[:2])[0], structure.number(node.operands[3])
    by = {1.0: "+ ", -1.0: "- "}.get(scale or 0.0, f"+ {texts[3]} * ")
    return f"{bare[2]} {by}{product}"
