"""Values that must be known when the spec is read: numbers, sizes, domains, names.

These helpers stand below blocks and expressions; they reach expressions through `b.evaluate`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import UnionType
from typing import NoReturn

from dln.compiler.frontend.context import absences, broadcasting, missing
from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.place import Poisoned
from dln.compiler.frontend.context.size_places import instead, size_place
from dln.compiler.frontend.context.values import (
    INDEX,
    PhaseGroup,
    StepIndex,
    describe,
    shown,
    unquoted,
    whole_number,
)
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.sizes import Conflict, Size, Var
from dln.compiler.ir.structure import is_input, is_param, is_size
from dln.compiler.ir.tensor_type import DOMAINS, Domain, fits
from dln.grammar import syntax as s
from dln.grammar.diagnostics import CHOICES, Note, Span, nearest


def static(b: Build, expr: s.Syntax, scope: Scope, what: str) -> Value:
    """A value that must be known when the spec is read."""
    value = b.evaluate(expr, scope)
    if isinstance(value, Size):
        value = b.resolve(value)
    _leave_unsaid(b, value)
    if isinstance(value, Node):
        made = b.graph.spans.get(value, ())[:1]
        notes = tuple(Note(m, "is made here") for m in made if not _overlap(m, expr.span))
        text = f"{what} must be known when the spec is read"
        label = f"{broadcasting.short(expr.span.text)} is a tensor"
        b.fail("E304", text, expr.span, label, notes, "use a const, a number or a size here")
    return value


def _leave_unsaid(b: Build, value: Value) -> None:
    """In a rehearsal, leave what depends on a size of which nobody has said how large it is."""
    nodes = ancestors([value]) if b.built.rehearsal and isinstance(value, Node) else ()
    if b.built.rehearsal and (isinstance(value, Size) or any(map(is_size, nodes))):
        raise Poisoned


def whole(b: Build, expr: s.Syntax, scope: Scope, what: str) -> int:
    """A static whole number."""
    value = static(b, expr, scope, what)
    if (number := whole_number(value)) is None:
        label, remedy = f"is {shown(value)}", unquoted(value)
        if isinstance(value, list | range) and what == "the number of steps":
            remedy = str(len(value))
        several = isinstance(value, list) and what == "an index"
        facts = (f"several entries are a list: [for k in {expr.span.text}: x[k]]",) * several
        if isinstance(value, StepIndex):  # `x[:, t]`
            facts = (f"the step stands first: x[{expr.span.text}] is all of one step",)
        b.fail("E305", f"{what} must be a whole number", expr.span, label, (), remedy, facts)
    return number


def positive(b: Build, expr: s.Syntax, scope: Scope, what: str, text: str = "") -> int:
    """A static whole number of at least 1, which the `text` says."""
    number = whole(b, expr, scope, what)
    if number < 1:
        b.fail("E305", text or f"{what} is at least 1", expr.span, f"is {number}")
    return number


def tensor(b: Build, expr: s.Expr, scope: Scope, what: str = "this") -> Node:
    """An expression as a tensor."""
    return broadcasting.as_tensor(b, b.evaluate(expr, scope), expr.span, what)


def size(b: Build, expr: s.Expr, scope: Scope, declare: dict[str, Var] | None = None) -> Size:
    """An expression in a size: a linear form. Unknown names are declared where that is allowed."""
    at = expr.span
    match expr:
        case s.Name(id=name) if declare is not None and _is_variable(name, scope):
            declare[name] = Var(name, span=at)
            scope.value(name, Size.of(declare[name]), at)
            return Size.of(declare[name])
        case s.Name(id=name):
            if scope.lookup(name) is None:
                known = [n for n in scope.visible() if (to := scope.lookup(n)) and to.constant]
                hint = nearest(name, known) or f"name it in a port or an option: ...; {name})"
                unknown(b, "size", name, at, (), hint=lambda: hint)
        case s.Group(body=body):
            return size(b, body, scope, declare)
        case s.Binary(op="+" | "-" | "*" as op, left=left, right=right):
            x, y = size(b, left, scope, declare), size(b, right, scope, declare)
            if op != "*":
                return x + y if op == "+" else x - y
            for one, other in ((x, y), (y, x)):
                if (number := b.number(one)) is not None:
                    return b.sizes.resolve(other) * number
            b.fail("E211", "a size may be multiplied by a number only", expr.span)
    return _size_of(b, b.evaluate(expr, scope), at)


def whole_size(b: Build, value: Value, span: Span) -> Size:
    """A value as a size: of what a function is given."""
    return value if isinstance(value, Size) else _size_of(b, value, b.blame(value, span))


def _size_of(b: Build, value: Value, at: Span) -> Size:
    if isinstance(value, Size):
        return value
    _leave_unsaid(b, value)
    if (number := whole_number(value)) is None:
        label, remedy = f"is {shown(value)}", unquoted(value)
        facts = (missing.CHAINED,) * isinstance(value, list)
        b.fail("E212", "a size must be a whole number", at, label, remedy=remedy, facts=facts)
    if number < 0:
        b.fail("E212", "a size cannot be negative", at, f"is {number}")
    return Size(number)


def _is_variable(name: str, scope: Scope) -> bool:
    """Whether a name in a port is a dimension variable: no option, constant or number is called
    so. What else the file defines under that name does not matter here."""
    binding = scope.lookup(name)
    return binding is None or not (binding.constant or name in scope.names)


def domain_of(
    b: Build, domain: s.Domain | None, scope: Scope, declare: dict[str, Var] | None = None
) -> Domain | None:
    """A domain as it is written, its size worked out."""
    if domain is None:
        return None
    if domain.name not in DOMAINS:
        hint = nearest(domain.name, DOMAINS) or "one of " + ", ".join(DOMAINS)
        b.fail("E312", f"there is no domain {domain.name}", domain.span, "unknown", remedy=hint)
    if domain.words:
        return Domain(domain.name, Size(len(domain.words)))
    if domain.name == "class" and domain.size is None:
        remedy, fact = ("", ("as in class(10)",)) if scope.lookup("V") is None else ("class(V)", ())
        b.fail("E313", "class needs its number of classes", domain.span, "", (), remedy, fact)
    if domain.size is None:
        return Domain(domain.name)
    if domain.name != "class":
        b.fail("E313", f"{domain.name} takes no number", domain.span)
    return Domain(domain.name, size(b, domain.size, scope, declare))


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
            b.fail("E217", text, at.span, f"makes it {many}", notes, instead(b, at, right))
        b.fail("E217", text, span, f"is a {found}", notes)

    why = f"{broadcasting.short(span.text)} is a {node.type.domain}"
    b.equate(left, right, span, why, fail)


def _overlap(a: Span, b: Span) -> bool:
    return a.source is b.source and a.start < b.stop and b.start < a.stop


# What a loss squashes itself, and the loss that takes what is squashed already.
SQUASHED = {"cross_entropy": ("softmax", "nll")}
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
    if found.name == "class" and wanted.name in ("prob", "binary"):
        pick = "[1]" if b.number(found.size) == 2 else ""
        remedy = f"onehot({broadcasting.whole_text(span.text)}){pick}"
    if is_input(node) and found.name == "real":
        scale = ", scaled to 0..1" if wanted.name == "prob" else ""
        asked = broadcasting.domain_text(b, wanted)
        remedy = f"declare the field: {node['name']}: {asked}{scale}"
    text, label = f"{who} a {wanted.name}, not a {found.name}", broadcasting.domain_text(b, found)
    b.fail("E310", text, span, f"is a {label}", _made(b, node, span), remedy)


def _made(b: Build, node: Node, span: Span) -> tuple[Note, ...]:
    """The place that gave a tensor its domain."""
    found = b.graph.spans.get(node, ())[:1]
    text = "is declared here" if is_input(node) else f"makes it a {node.type.domain.name}"
    said = is_input(node) or node.type.domain.name != "real"
    return tuple(Note(p, text) for p in found if said and not _overlap(p, span))


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
    instead = f", or use {other}, which takes a prob" if other and found == "prob" else ""
    b.fail("E310", message, span, does, made, f"drop {maker}{line}{instead}")


def listed(b: Build, expr: s.Expr, scope: Scope, who: str = "for") -> list[Value]:
    """A static list, for `for`, comprehensions and `vary`."""
    value = static(b, expr, scope, f"the list of {who}")
    if isinstance(value, PhaseGroup):
        return [value.phases[number] for number in sorted(value.phases)]
    if isinstance(value, list):
        return value
    text, label, remedy = f"{who} runs over a list or a range", f"is {shown(value)}", ""
    if (number := whole_number(value)) is not None:
        remedy = f"[{number}] of one number, 1..{number} of so many"
    b.fail("E307", text, expr.span, label, remedy=remedy or f"{who} k in 0..2")


def rounds(b: Build, st: s.For, scope: Scope) -> Iterator[Scope]:
    """The scope of each round of a `for`, in which its variable has a value."""
    for i, value in enumerate(listed(b, st.range, scope)):
        b.spend(1 + len(st.body), st.span)
        inner = scope.child(f"{scope.path}[{i}]")
        inner.value(st.name, value, st.span)
        yield inner


# ---- names -------------------------------------------------------------------------------------


def lookup(b: Build, name: str, span: Span, scope: Scope) -> Value:
    """What a name stands for, found on first use for the current frame."""
    binding = scope.lookup(name)
    if binding is None:
        missing.refuse_early(b, name, span, scope)
        hint = partial(missing.suggested, b, name, span, scope)
        unknown(b, "name", name, span, (), hint=hint, scope=scope)
    version = 0 if binding.static else b.frame.version
    if version not in binding.cache:
        if binding.busy:
            notes = (Note(binding.span, "defined here"),) if binding.span else ()
            missing.refuse_unscanned(b, name, span)
            text, fact = f"{name} is defined by itself", "an equation may not lead back to itself"
            facts = (fact, f"a value does not change: another has a name of its own, as {name}2")
            if step := re.fullmatch(r"(\w+)\[(\w+)\]", name):
                facts = (fact, f"what it was in the step before is {step[1]}[{step[2]}-1]")
            if line := missing.as_recurrence(name, span):
                facts = (fact, line)
            if span.source.text.startswith("(", span.stop) and missing.hides(b, name, scope):
                text = f"{name} is what this defines, and no longer the function {name}"
                facts = (fact, f"another name mends it where it is defined: {name}_of_x = ...")
            b.fail("E331", text, span, "needs its own value", notes, facts=facts)
        binding.busy = True
        try:
            binding.cache[version] = binding.find(b)
        except Exception:
            binding.cache[version] = Poisoned
            raise
        finally:
            binding.busy = False
    value = binding.cache[version]
    if value is Poisoned:
        raise Poisoned
    if isinstance(value, Node) and is_param(value):
        return b.frame.params.get(value["path"], value)
    return value


def unknown(
    b: Build,
    kind: str,
    name: str,
    span: Span,
    known: Sequence[str],
    of: str = "",
    hint: Callable[[], str] | None = None,
    scope: Scope | None = None,
) -> NoReturn:
    """Nothing is called so; the nearest name that exists is the remedy, or the few there are. It is
    said once, however often it is asked for."""
    message = f"{of} has no {kind} {name}" if of else f"there is no {kind} {name}"
    at, told, plain = word(span, name), b.built.missing, kind == "name" and not of
    if told.asked(message if of else name, message, at) or (told.lost and plain):
        raise Poisoned
    remedy = ""
    if len(told.places) <= missing.MOST_HINTS:
        known = [k for k in dict.fromkeys(known) if not k.startswith("_")]
        remedy = (hint() if hint is not None else nearest(name, known)) or ""
        if not plain and kind != "argument" and not remedy and 1 < len(known) <= 12:
            remedy = CHOICES + ", ".join(known)
    open_ = plain and (not remedy or remedy.startswith(CHOICES))
    facts = missing.ways(b, name, span, scope, not remedy) if open_ and scope else ()
    if kind == "argument" and known and not remedy:  # which is meant, if any, nobody knows
        facts = (f"{of} takes {', '.join(known)}",)
    elif len(known) == 1 and not remedy:
        facts = (f"{known[0]} is the only {kind}" + f" of {of}" * bool(of),)
    b.fail("E301", message, at, "unknown", remedy=remedy, facts=facts)


def refuse_idle(
    b: Build, st: s.Check | s.Task | s.Sweep | s.Train, kinds: type | UnionType, remedy: str
) -> None:
    """What has no line that does anything: it would run, or pass, as nothing."""

    def stands(body: Sequence[s.Syntax]) -> bool:
        return any(isinstance(x, kinds) or (isinstance(x, s.For) and stands(x.body)) for x in body)

    if not stands(st.body):
        what, needed = type(st).__name__.lower(), remedy.split()[0]
        text = f"this {'phase' if what == 'train' else what} does nothing"
        b.fail("E389", text, word(st.span, what), f"has no {needed}", remedy=remedy)


def refuse_shadow(
    b: Build, name: str, span: Span, scope: Scope, kinds: type | UnionType = INDEX
) -> None:
    """An index of the name of another index, or, where an equation binds it, of a tensor: which of
    the two `x[k]` means would be anybody's guess. Sizes and numbers are none: `y[m] = x[m]`."""
    own = next((x for x in scope.outwards() if name in x.names), None)
    value = None if own is None else missing.known(b, own.names[name])
    if own is None or not isinstance(value, kinds):
        return
    what = "an index" if isinstance(value, INDEX) else describe(value)
    first, free = own.names[name].span, (x for x in "ijkpqruvw" if scope.lookup(x) is None)
    notes = () if first is None else (Note(word(first, name), "is bound here"),)
    at, remedy = word(span, name), f"another name, as {next(free, 'index')}"
    b.fail("E334", f"{name} is {what} here already", at, "bound again", notes, remedy)


def word(span: Span, name: str, after: str = "") -> Span:
    """The place of a name inside a longer span."""
    if span.text == name:
        return span
    found = re.search(rf"{after}(?<!\w){re.escape(name)}(?!\w)", span.text)
    if found is None:
        return span
    stop = span.start + found.end()
    return Span(span.source, stop - len(name), stop)
