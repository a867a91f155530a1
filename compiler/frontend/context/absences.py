"""No class: what stands before the first step of a sequence of classes, and past its end.

A number is 0 there. Class 0 is a class like the others, so what stands there is none of them: its
row of a table is 0 and learns nothing, `onehot` of it is 0, and it equals no class. It is held as
-1, and its type says that it may be so (`Domain.partial`).
"""

from __future__ import annotations

import re
from dataclasses import replace

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.ir.graph import Node
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar.diagnostics import Span

NONE = -1


def held(type: TensorType) -> TensorType:
    """The type of what a sequence holds before its first step, where nobody says what."""
    return type.like(domain=replace(type.domain, partial=True)) if type.kind == "index" else type


def nothing(b: Build, node: Node, test: Node, span: Span) -> Node:
    """A tensor where a test of its shape holds; elsewhere nothing: 0, or no class."""
    make, index = b.at(span), node.type.kind == "index"
    made = make("where", test, node, make.const(NONE, "index") if index else make.const(0.0))
    domain = replace(node.type.domain, partial=True) if index else node.type.domain
    return make("asserted", made, domain=domain)


def split(b: Build, index: Node, span: Span) -> tuple[Node, Node | None]:
    """A class in any case, and whether there is one; None where there always is."""
    domain = index.type.domain
    if not domain.partial:
        return index, None
    make, none = b.at(span), b.at(span).const(0, "index")
    there = make("ge", index, none)
    sure = make("where", there, index, none)
    return make("asserted", sure, domain=replace(domain, partial=False)), there


def refuse(b: Build, node: Node, span: Span, who: str) -> None:
    """What needs a class in any case does not take what may be none."""
    if node.type.kind != "index" or not node.type.domain.partial:
        return
    size = node.type.domain.size
    classes = "n" if size is None else b.sizes.resolve(size)
    remedy = f"p[-1] = 0 as class({classes}) above the scan and p[t] = c[t] in it, for p[t-1]"
    remedy += "; or sum(i in 0..8: ...) over the steps that have one"
    if re.search(r"\[\s*\w+\s*\+\s*\d+\s*\]$", span.text):
        text = f"{who} takes a class, and past the end there is none"
        fact = "what comes next is a field of the data: next[time]: class(V) = raw[1:]"
        b.fail("E385", text, span, "is no class past the end", facts=(fact,))
    text = f"{who} takes a class, and there may be none here"
    label = "is no class before the first step, or past the end"
    facts = ("a row of a table is 0 there, and so is onehot(...)",)
    b.fail("E385", text, span, label, (), remedy, facts)
