"""Values where a domain is asked for: probabilities, classes, logits; what to do with others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from dln.compiler.frontend.context import absences, broadcasting
from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.context.size_places import instead, size_place
from dln.compiler.frontend.context.static_values import overlap
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Conflict
from dln.compiler.ir.structure import bare, is_input
from dln.compiler.ir.tensor_type import Domain, fits
from dln.grammar.diagnostics import Note, Span


def want_domain(
    b: Build,
    node: Node,
    wanted: Domain,
    span: Span,
    who: str,
    verb: str = "takes",
    absent: bool = False,
    beside: Sequence[Node] = (),
) -> Node:
    """A tensor where a domain is asked for; the error says what would mend it. Of classes perhaps
    none, where that may be `absent`; as many as have entries what stands `beside` it."""
    found = node.type.domain
    if wanted.name == "class" and found.name == "class":
        if not absent:
            absences.refuse(b, node, span, who)
        _same_classes(b, node, wanted, span, who, beside)
        return node
    if fits(found, wanted):
        return node
    if wanted.name == "logit" and found.name in ("prob", "binary"):
        _squashed_twice(b, node, span, who)
    _wrong_domain(b, node, wanted, span, f"{who} {verb}")


def _same_classes(
    b: Build, node: Node, wanted: Domain, span: Span, who: str, beside: Sequence[Node]
) -> None:
    """A class of as many values as are asked for, where both say how many."""
    left, right = wanted.size, node.type.domain.size
    if left is None or right is None:
        return

    def fail(c: Conflict) -> NoReturn:
        asked, found = (broadcasting.domain_text(b, d) for d in (wanted, node.type.domain))
        text = f"{who} takes a {asked}, not a {found}"
        notes = b.proof_notes(c.left, c.right, skip=span)
        many = b.resolve(left)
        axes = [
            (n, i) for n in beside for i, k in enumerate(n.type.example) if b.resolve(k) == many
        ]
        if (at := size_place(b, *axes[0]) if axes else None) is not None:
            notes = (Note(span, f"is a {found}"), *notes)
            remedy, label = instead(b, at, right), f"makes it {many}"
            b.fail("E217", text, at.span, label, notes, remedy, about=(node,))
        b.fail("E217", text, span, f"is a {found}", notes, about=(node,))

    why = f"{broadcasting.short(span.text)} is a {node.type.domain}"
    b.equate(left, right, span, why, fail)


# What a loss squashes itself, and the loss that takes what is squashed already.
SQUASHED = {"cross_entropy": ("softmax", "nll")}
LIKELIHOODS = ("cross_entropy", "nll")
SQUASHING = {"nll": "softmax", "categorical": "softmax", "bernoulli": "sigmoid",
             "binary_cross_entropy": "sigmoid"}  # fmt: skip


def _wrong_domain(b: Build, node: Node, wanted: Domain, span: Span, who: str) -> NoReturn:
    found = node.type.domain
    remedy = {
        "prob": "apply sigmoid or softmax, or assert it with `as prob`",
        "binary": "assert it with `as binary`",
        "positive": "apply exp or softplus, or assert it with `as positive`",
        "class": "a class comes from data, argmax or categorical",
        "real": "onehot(...) turns a class into numbers",
        "logit": "onehot(...) turns a class into numbers",
    }[wanted.name]
    if found.name in ("logit", "real") and wanted.name == "prob":
        squash, text = SQUASHING.get(who.split()[0]), broadcasting.whole_text(span.text)
        remedy = f"{squash}({text})" if squash is not None else remedy
    if wanted.name == "class" and found.name != "class" and len(node.type.example) == 1:
        remedy = f"argmax({broadcasting.whole_text(span.text)})"
    if found.name == "class" and wanted.name in ("prob", "binary"):
        pick = "[1]" if b.number(found.size) == 2 and not node.type.example else ""
        remedy = f"onehot({broadcasting.whole_text(span.text)}){pick}"
    if is_input(bare(node)) and node.type.example and b.number(found.size) == 2:
        name = bare(node)["name"]
        remedy = f"declare the field: {name}: binary, which is 0 or 1 as a number"
    facts: tuple[str, ...] = ()
    if is_input(bare(node)) and found.name == "real":
        scale = ", scaled to 0..1" if wanted.name == "prob" else ""
        node = bare(node)
        asked, name = broadcasting.domain_text(b, wanted), node["name"]
        remedy = f"declare the field: {name}: {asked}{scale}"
        at = next(iter(b.graph.spans.get(node, ())), span)
        line = at.source.line(at.line)
        units = "a machine of real units has sum((v - a)^2) / 2 in its energy"
        if wanted.name in ("binary", "prob") and "standardised(" in line:
            fact = f"standardised numbers are none; scaled(...), and {name}: prob, lie in 0..1"
            remedy, facts = "", (fact, units)[: 1 + (wanted.name == "binary")]
        elif wanted.name == "binary":
            fact = f"what lies between 0 and 1 may stand for bits, declared so: {at.text}: prob"
            remedy, facts = "", (fact, units)
        if wanted.name == "class" and who.split()[0] in LIKELIHOODS:
            facts = (f"of numbers the loss is squared_error(y, {name})",)
            if b.number(wanted.size) == 1:
                remedy, facts = (
                    "",
                    (*facts, f"of classes the field says how many: {name}: class(10)"),
                )
    text, label = f"{who} a {wanted.name}, not a {found.name}", broadcasting.domain_text(b, found)
    if wanted.name == "class" and (field := _class_field(b, node, wanted)):
        remedy = field
    b.fail("E310", text, span, f"is a {label}", _made(b, node, span), remedy, facts)


def _class_field(b: Build, node: Node, wanted: Domain) -> str:
    """The one field of the data set of another that holds such a class."""
    sets = [d for d in b.data.sets.values() if any(f.node is node for f in d.fields.values())]
    fields = [(f.name, f.node.type.domain) for d in sets for f in d.fields.values()]
    many = b.number(wanted.size)
    found = [name for name, of in fields if of.name == "class" and b.number(of.size) == many]
    return found[0] if len(found) == 1 else ""


def _made(b: Build, node: Node, span: Span) -> tuple[Note, ...]:
    """The place that gave a tensor its domain."""
    found = b.graph.spans.get(node, ())[:1]
    text = "is declared here" if is_input(node) else f"makes it a {node.type.domain.name}"
    said = is_input(node) or node.type.domain.name != "real"
    return tuple(Note(p, text) for p in found if said and not overlap(p, span))


def _squashed_twice(b: Build, node: Node, span: Span, who: str) -> NoReturn:
    """A probability where a logit is taken: the activation stands twice."""
    found, made = node.type.domain.name, _made(b, node, span)
    maker = broadcasting.short(made[0].span.text) if made else "the activation"
    line = f" on line {made[0].span.line}" if made else ""
    inside, other = SQUASHED.get(who, ("", ""))
    does = f"{who} takes a logit"
    message = f"{inside} is applied twice" if maker == inside else f"a {found} where {does}"
    does += f" and applies {inside} itself" if inside else ""
    own = re.fullmatch(r"(softmax|sigmoid)\((.*)\)", span.text)
    if own is not None and inside == own[1]:
        b.fail("E310", message, span, does, made, own[2])
    beside = re.match(r"\s*,\s*(\w+)\s*\)", span.source.text[span.stop :])
    held = (d.fields[beside[1]] for d in b.data.sets.values() if beside and beside[1] in d.fields)
    if (
        beside is not None
        and who == "cross_entropy"
        and any(f.node.type.kind == "real" for f in held)
    ):
        start = span.source.text.rindex(who, 0, span.start)
        whole = Span(span.source, start, span.stop + beside.end())
        text = "cross_entropy is of a class: of a probability for each number it is another"
        remedy = f"sum(binary_cross_entropy({broadcasting.whole_text(span.text)}, {beside[1]}))"
        b.fail("E310", text, whole, "", made, remedy)
    instead = f", or use {other}, which takes a prob" if other and found == "prob" else ""
    b.fail("E310", message, span, does, made, f"drop {maker}{line}{instead}")
