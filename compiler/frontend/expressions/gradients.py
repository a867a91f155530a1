"""Gradients as values: `grad(e, x)` by a tensor, and by all the parameters of something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting, counting, lengths, standing, time_axis
from dln.compiler.frontend.context.build_context import Build, Chain, Instance, Value
from dln.compiler.frontend.context.values import WholeGradient, describe
from dln.compiler.frontend.instances.instances import live_only
from dln.compiler.frontend.instances.owning import owned
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.ir.structure import is_item, is_param, is_stop
from dln.compiler.ir.tensor_type import spoken
from dln.grammar.diagnostics import CHOICES, Span

# ---- by a tensor -------------------------------------------------------------------------------


def gradient(b: Build, span: Span, s: Value, x: Value) -> Node | WholeGradient:
    """The gradient of a scalar (for each example) with respect to a tensor, or to all parameters
    of an instance, a chain or a list."""
    loss = broadcasting.as_tensor(b, s, span)
    if of_parts(b, x):
        return _whole(b, span, loss, s, x)
    if counting.is_index(x):
        text = "only real numbers have a gradient"
        b.fail("E342", text, b.blame(x, span), f"is {describe(x)}")
    at = broadcasting.as_tensor(b, x, span)
    _check(b, span, (loss, s), (at, x))
    found = _by(b, span, loss, at, set(ancestors([loss])))
    if found is None:
        _independent(b, s, x, span)
    return live_only(b, found, at, span)


def _check(b: Build, span: Span, of: tuple[Node, Value], by: tuple[Node, Value]) -> None:
    """Refuse a gradient that there is not: each as its node, and the value that was written."""
    (loss, s), (at, x) = of, by
    if loss.type.example:
        blamed, text = b.blame(s, span), "grad differentiates a single number for each example"
        whole = broadcasting.whole_text(blamed.text)
        remedy = f"{CHOICES}sum({whole}), mean({whole})"
        b.fail("E340", text, blamed, f"is {b.shown(loss.type)}", remedy=remedy)
    known = b.facts.sequences[at][0] if at in b.facts.sequences else at
    extra = [a for a in loss.type.running if a not in known.type.running]
    if extra:
        _not_by_each(b, spoken(extra[0]), s, x, span)
    for node, value in ((loss, s), (at, x)):
        if node.type.kind != "real":
            domain = broadcasting.domain_text(b, node.type.domain)
            label = f"is a {'truth value' if node.type.kind == 'bool' else domain}"
            b.fail("E342", "only real numbers have a gradient", b.blame(value, span), label)
    if standing.is_end(b, loss) and not (standing.runs(b, at) or standing.is_end(b, at)):
        standing.refuse(b, span, "is taken over all steps")
    if b.time.stepping:
        standing.refuse_beyond(b, loss, at, span)


def _independent(b: Build, s: Value, x: Value, span: Span) -> NoReturn:
    of, by = (broadcasting.short(b.blame(v, span).text) for v in (s, x))
    b.fail("E345", f"{of} does not depend on {by}", b.blame(x, span), "takes no part in it")


def _not_by_each(b: Build, axis: str, s: Value, x: Value, span: Span) -> NoReturn:
    """Slopes of single examples by what all of them share: there is their mean, or their sum."""
    of, by = (broadcasting.whole_text(b.blame(v, span).text) for v in (s, x))
    each = "example of the batch" if axis == "batch" else f"value of {axis}"
    text = f"{broadcasting.short(of)} has a value for each {each}, {broadcasting.short(by)} has not"
    fact = f"what each slope is multiplied by goes inside: mean({axis}: stop(c) * {of})"
    remedy = f"grad(mean({axis}: {of}), {by}) is the mean of the slopes"
    b.fail("E341", text, b.blame(s, span), remedy=remedy, facts=(fact,))


def _by(b: Build, span: Span, loss: Node, at: Node, needed: set[Node]) -> Node | None:
    """The gradient by a node, or by a part of one that the loss depends on: `grad(e, o[0])`; by a
    sequence where the loss depends on the scan that defines it."""
    if at in b.facts.sequences:  # what its scan gives, through all that comes after it
        item, turned = b.facts.sequences[at]
        inner = _by(b, span, loss, item, needed)
        return time_axis.backwards(b, inner, span) if inner is not None and turned else inner
    if at in needed or (is_item(at) and at.operands[0] in needed):
        return b.at(span)("grad", loss, at)
    if lengths.is_element(b, at):
        inner = _by(b, span, loss, at.operands[1], needed)
        zero = b.at(span).const(0.0)
        return None if inner is None else b.at(span)("where", at.operands[0], inner, zero)
    record = op_of(at)
    if not record.is_("view") or record.is_("copies") or is_stop(at):
        return None
    whole = _by(b, span, loss, at.operands[0], needed)
    return None if whole is None else b.at(span)(at.op, whole, **at.attrs)


# ---- by all parameters of something ------------------------------------------------------------


def of_parts(b: Build, x: Value) -> bool:
    """Whether something stands for its parameters: an instance, a chain, a list of such or of
    parameters."""
    if isinstance(x, list):
        return bool(x) and all(of_parts(b, v) or _is_parameter(b, v) for v in x)
    return isinstance(x, Instance | Chain)


def _is_parameter(b: Build, x: Value) -> bool:
    moved = isinstance(x, Node) and is_stop(x) and x.attrs.get("path") in b.owned.params
    return isinstance(x, Node) and (is_param(x) or moved)


def _whole(b: Build, span: Span, loss: Node, s: Value, x: Value) -> WholeGradient:
    """The gradient by every parameter that something is made of, each once; those on which the
    loss does not depend are 0 in it and stay out."""
    paths = [p for p in owned(b, x, b.blame(x, span)) if b.owned.params[p].trainable]
    held = [b.frame.params.get(p, b.owned.params[p].node) for p in paths]
    needed, found = set(ancestors([loss])), list[Node]()
    for at in held:
        _check(b, span, (loss, s), (at, x))
        made = _by(b, span, loss, at, needed)
        found += [] if made is None else [live_only(b, made, at, span)]
    if not found:
        _independent(b, s, x, span)
    return WholeGradient(tuple(found), broadcasting.whole_text(b.blame(x, span).text))


def reduced(b: Build, span: Span, name: str, whole: WholeGradient) -> Node:
    """`norm(grad(e, net))`, the root of the sum of all squares; nothing else is made of it."""
    if name != "norm":
        text, label = f"{name} takes one tensor", f"is by everything in {whole.of}"
        fact = f"by one of its parameters, as grad(e, {whole.of}.W), it is a tensor"
        remedy = f"norm({broadcasting.whole_text(b.blame(whole, span).text)})"
        b.fail("E420", text, b.blame(whole, span), label, remedy=remedy, facts=(fact,))
    return norm(b, whole.parts, span)


def norm(b: Build, parts: Sequence[Node], span: Span) -> Node:
    """The root of the sum of the squares of all entries of some tensors."""
    make = b.at(span)
    squares = [make.sum(make("square", p), range(len(p.type.shape))) for p in parts]
    total = squares[0]
    for more in squares[1:]:
        total = make.add(total, more)
    return make("distance", total)
