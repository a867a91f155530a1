"""Values that must be known when the spec is read: numbers, sizes, domains, names.

These helpers stand below blocks and expressions; they reach expressions through `b.evaluate`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import UnionType
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting, counting, missing, size_places
from dln.compiler.frontend.context.build_context import Build, Chain, Scope, Value
from dln.compiler.frontend.context.place import Poisoned
from dln.compiler.frontend.context.values import (
    INDEX,
    LIST,
    WHOLE,
    PhaseGroup,
    StepIndex,
    describe,
    shown,
    unfit,
    unquoted,
    whole_number,
)
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.sizes import Size, Var
from dln.compiler.ir.structure import is_param, is_size
from dln.compiler.ir.tensor_type import DOMAINS, Domain
from dln.grammar import syntax as s
from dln.grammar.diagnostics import CHOICES, Note, Span, nearest

MOST_EVEN = 8  # divisors that are listed


def static(b: Build, expr: s.Syntax, scope: Scope, what: str) -> Value:
    """A value that must be known when the spec is read."""
    value = b.evaluate(expr, scope)
    if isinstance(value, Size):
        value = b.resolve(value)
    _leave_unsaid(b, value)
    if isinstance(value, Node):
        _refuse_list(b, expr)
        made = b.graph.spans.get(value, ())[:1]
        notes = tuple(Note(m, "is made here") for m in made if not overlap(m, expr.span))
        text = f"{what} must be known when the spec is read"
        if re.search(r"\bscan\s+\w+\s+in\s*$", expr.span.source.text[: expr.span.start]):
            if "time" in value.type.running:
                text = "a scan goes along all sequences in it, step by step"
                b.fail("E304", text, expr.span, "is one of them", (), "time")
        label = f"{broadcasting.short(expr.span.text)} is a tensor"
        b.fail("E304", text, expr.span, label, notes, "use a const, a number or a size here")
    return value


def _refuse_list(b: Build, expr: s.Syntax) -> None:
    """A list that was given where the body of a block wants one number: `max_pool([2, 2])`."""
    for name in dict.fromkeys(re.findall(r"[A-Za-z_]\w*", expr.span.text)):
        given = b.calls[-1].argument(expr.span, name) if b.calls else None
        if given is not None and isinstance(given.value, list):
            same = len(set(map(str, given.value))) == 1
            text = f"{name} of {given.call} is one number"
            remedy = str(given.value[0]) if same else ""
            b.fail("E304", text, given.span, "is a list", remedy=remedy)


def _leave_unsaid(b: Build, value: Value) -> None:
    """In a rehearsal, leave what depends on a size of which nobody has said how large it is."""
    nodes = ancestors([value]) if b.built.rehearsal and isinstance(value, Node) else ()
    if b.built.rehearsal and (isinstance(value, Size) or any(map(is_size, nodes))):
        raise Poisoned


def whole(b: Build, expr: s.Syntax, scope: Scope, what: str) -> int:
    """A static whole number."""
    value = static(b, expr, scope, what)
    if (number := whole_number(value)) is None:
        remedy = unquoted(value)
        if isinstance(value, list | range) and what == "the number of steps":
            remedy = str(len(value))
        several = isinstance(value, list) and what == "an index"
        facts = (f"several entries are a list: [for k in {expr.span.text}: x[k]]",) * several
        if isinstance(value, StepIndex):  # `x[:, t]`
            facts = (f"the step stands first: x[{expr.span.text}] is all of one step",)
        text = f"{what} must be a whole number"
        unfit(b, "E305", text, expr.span, value, WHOLE, "", remedy, facts)
    return number


def positive(
    b: Build, expr: s.Syntax, scope: Scope, what: str, text: str = "", most: int | None = None
) -> int:
    """A static whole number of at least 1, which the `text` says, and of at most so much."""
    number = whole(b, expr, scope, what)
    if most is not None and number > most:
        fact = f"{most:,} is the most"
        b.fail("E305", f"{what} is too much", expr.span, f"is {number:,}", facts=(fact,))
    if number < 1:
        unfit(b, "E305", text or f"{what} is at least 1", expr.span, number, WHOLE)
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
        case s.Binary(op="/", left=left, right=right):
            _refuse_rest(b, left, right, scope, at)
        case s.Binary(op="+" | "-" | "*" as op, left=left, right=right):
            x, y = size(b, left, scope, declare), size(b, right, scope, declare)
            if op != "*":
                return x + y if op == "+" else x - y
            for one, other in ((x, y), (y, x)):
                if (number := b.number(one)) is not None:
                    return b.sizes.resolve(other) * number
            b.fail("E211", "a size may be multiplied by a number only", expr.span)
    return _size_of(b, b.evaluate(expr, scope), at)


def _refuse_rest(b: Build, left: s.Expr, right: s.Expr, scope: Scope, span: Span) -> None:
    """A size that is a quotient of two whole numbers, and is none itself."""
    whole, parts = (whole_number(static(b, e, scope, "a size")) for e in (left, right))
    if whole is None or parts is None or parts < 1 or whole < 1 or whole % parts == 0:
        return
    even = [str(k) for k in range(1, whole + 1) if whole % k == 0]
    known = f"{whole} / {parts} is no whole number"
    said = f"{right.span.text} may be {', '.join(even[:-1])} or {even[-1]}" if even[1:] else ""
    facts = (f"{known}: {said}" if said and len(even) <= MOST_EVEN else known,)
    text = "a size must be a whole number"
    b.fail("E212", text, span, f"is {whole / parts:.4g}", facts=facts)


def whole_size(b: Build, value: Value, span: Span) -> Size:
    """A value as a size: of what a function is given."""
    return value if isinstance(value, Size) else _size_of(b, value, b.blame(value, span))


def _size_of(b: Build, value: Value, at: Span) -> Size:
    if isinstance(value, Size):
        return value
    _leave_unsaid(b, value)
    if (number := whole_number(value)) is None:
        remedy = unquoted(value)
        facts = (counting.CHAINED,) * isinstance(value, list)
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], int):
            remedy, facts = str(value[0]), ()
        if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:  # a window
            remedy, facts = str(value[0]), ("windows are square, and their size is one number",)
        unfit(b, "E212", "a size must be a whole number", at, value, WHOLE, "", remedy, facts)
    if number < 0:
        unfit(b, "E212", "a size cannot be negative", at, number, WHOLE)
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
        begun = [k for k in DOMAINS if domain.name.startswith(k[:4])]
        hint = nearest(domain.name, DOMAINS) or "".join(begun[:1]) or "one of " + ", ".join(DOMAINS)
        sizes = domain.span.text.removeprefix(domain.name) if " " not in hint else ""
        hint += sizes if hint == "class" and sizes.startswith("(") else ""
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


def overlap(a: Span, b: Span) -> bool:
    """Whether two places have a character in common."""
    return a.source is b.source and a.start < b.stop and b.start < a.stop


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
    if number is not None and re.search(r"\bparams\(", expr.span.text):
        said = "params(...) says how many numbers; of weights a penalty has each by its name"
        b.fail("E307", text, expr.span, label, facts=(f"{said}: sum(net.h.W^2)",))
    if isinstance(value, Chain):
        at = broadcasting.whole_text(expr.span.text)
        remedy = f"[{', '.join(f'{at}[{k}]' for k in range(len(value.parts)))}]"
    unfit(b, "E307", text, expr.span, value, LIST, label, remedy)


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
        size_places.refuse_early(b, name, span, scope)
        hint = partial(missing.suggested, b, name, span, scope)
        unknown(b, "name", name, span, (), hint=hint, scope=scope)
    version = 0 if binding.static else b.frame.version
    if version not in binding.cache:
        if binding.busy:
            notes = (Note(binding.span, "defined here"),) if binding.span else ()
            counting.refuse_unscanned(b, name, span)
            counting.refuse_stepless(b, name, span, binding.span)
            text, fact = f"{name} is defined by itself", "an equation may not lead back to itself"
            facts = (fact, f"a value does not change: another has a name of its own, as {name}2")
            if re.fullmatch(r"\w+\[-\d+\]", name):
                facts = (fact, "a stream carries on by itself what the window before has left")
            if step := re.fullmatch(r"(\w+)\[(\w+)\]", name):
                facts = (fact, f"what it was in the step before is {step[1]}[{step[2]}-1]")
            if line := counting.as_recurrence(name, span):
                facts = (fact, line)
            if missing.is_learnt(b, name, scope):
                text = f"no equation changes {name}: minimize or update moves its parameters"
                facts = (fact, f"as in minimize loss over {name} with sgd(lr = 0.1)")
                if "+" in (line_ := span.source.line(span.line)) and re.match(
                    rf"\s*{name}\s*=", line_
                ):
                    facts = (fact, f"averaged weights are update {name} += 0.01 * (net - {name})")
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
        from dln.grammar.idioms import names  # late: most arguments are right

        facts = (f"{of} takes {', '.join(known)}", *filter(None, [names.ARGUMENTS.get(name)]))
    elif len(known) == 1 and not remedy:
        facts = (f"{known[0]} is the only {kind}" + f" of {of}" * bool(of),)
    ways = size_places.of_step(at) if open_ else ()
    b.fail("E301", message, at, "unknown", remedy=remedy, facts=facts, ways=ways)


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
    made = re.match(r"\s*(\w+)\[(\w+)\]\s*=\s*1\s*$", span.source.line(span.line))
    if made is not None and isinstance(value, Node) and value.type.domain.name == "class":
        start = span.source.starts[span.line - 1]
        whole = Span(span.source, start + made.start(1), start + len(made[0].rstrip()))
        text = f"a vector with 1 at {name} is onehot({name})"
        b.fail("E334", text, whole, f"{name} is no index", (), f"{made[1]} = onehot({name})")
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
