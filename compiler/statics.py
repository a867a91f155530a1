"""Values that must be known when the spec is read: numbers, sizes, domains, names.

These helpers stand below blocks and expressions; they reach expressions through `b.evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dln.compiler import tensors
from dln.compiler.graph import Node
from dln.compiler.sizes import Size, Var
from dln.compiler.state import Build, Poisoned
from dln.compiler.tensor import DOMAINS, fits
from dln.compiler.tensor import Domain as DomainType
from dln.compiler.values import Scope, Value, describe
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span, nearest

def static(b: Build, expr: s.Expr, scope: Scope, what: str) -> Value:
    """A value that must be known when the spec is read."""
    value = b.evaluate(expr, scope)
    if isinstance(value, Size):
        value = b.resolve(value)
    if isinstance(value, Node):
        name = b.graph.names.get(value)
        label = f"{name} is a tensor" if name else "is a tensor"
        b.fail("E304", f"{what} must be known when the spec is read", expr.span, label,
               remedy="use a const, a number or a size here")  # fmt: skip
    return value


def whole(b: Build, expr: s.Expr, scope: Scope, what: str) -> int:
    """A static whole number."""
    value = static(b, expr, scope, what)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        shown = value if isinstance(value, int | float) else describe(value)
        b.fail("E305", f"{what} must be a whole number", expr.span, f"is {shown}")
    return int(value)


def tensor(b: Build, expr: s.Expr, scope: Scope, what: str = "this") -> Node:
    """An expression as a tensor."""
    return tensors.as_tensor(b, b.evaluate(expr, scope), expr.span, what)


def size(b: Build, expr: s.Expr, scope: Scope, declare: dict[str, Var] | None = None) -> Size:
    """An expression in a size: a linear form. Unknown names are declared where that is allowed."""
    match expr:
        case s.Name(id=name) if declare is not None and _is_variable(name, scope):
            var = Var(name, span=expr.span)
            declare[name] = var
            scope.value(name, Size.of(var), expr.span)
            return Size.of(var)
        case s.Group(body=body):
            return size(b, body, scope, declare)
        case s.Binary(op="+" | "-" | "*" as op, left=left, right=right):
            x, y = size(b, left, scope, declare), size(b, right, scope, declare)
            if op != "*":
                return x + y if op == "+" else x - y
            x, y = b.sizes.resolve(x), b.sizes.resolve(y)
            if x.value is not None:
                return y * x.value
            if y.value is not None:
                return x * y.value
            b.fail("E211", "a size may be multiplied by a number only", expr.span)
    value = b.evaluate(expr, scope)
    if isinstance(value, Size):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        if value < 0:
            b.fail("E212", "a size cannot be negative", expr.span, f"is {int(value)}")
        return Size(int(value))
    label = f"is {value}" if isinstance(value, int | float) else f"is {describe(value)}"
    b.fail("E212", "a size must be a whole number", expr.span, label)


def _is_variable(name: str, scope: Scope) -> bool:
    """Whether a name in a port is a dimension variable: no option, constant or number is called
    so. What else the file defines under that name does not matter here."""
    binding = scope.lookup(name)
    return binding is None or not (binding.constant or name in scope.names)


def domain_of(
    b: Build, domain: s.Domain | None, scope: Scope, declare: dict[str, Var] | None = None
) -> DomainType | None:
    """A domain as it is written, its size worked out."""
    if domain is None:
        return None
    if domain.name not in DOMAINS:
        hint = nearest(domain.name, DOMAINS)
        b.fail("E312", f"there is no domain {domain.name}", domain.span, "unknown",
               remedy=hint or "one of " + ", ".join(DOMAINS))  # fmt: skip
    if (domain.name == "class") != (domain.size is not None):
        text = "class needs its number of classes" if domain.name == "class" else (
            f"{domain.name} takes no number")  # fmt: skip
        b.fail("E313", text, domain.span, remedy="class(10)" if domain.name == "class" else "")
    n = size(b, domain.size, scope, declare) if domain.size is not None else None
    return DomainType(domain.name, n)


def want_domain(b: Build, node: Node, wanted: DomainType, span: Span, who: str) -> Node:
    """A tensor where a domain is asked for; the error says what would mend it."""
    found = node.type.domain
    if wanted.name == "class" and found.name == "class":
        if wanted.size is not None and found.size is not None:
            tensors.equal(b, wanted.size, found.size, span, f"{who} takes {wanted.name}es of a set")
        return node
    if fits(found, wanted):
        return node
    return _wrong_domain(b, node, wanted, span, who)


def _wrong_domain(b: Build, node: Node, wanted: DomainType, span: Span, who: str) -> Node:
    found = node.type.domain
    made = tuple(
        Note(p, f"makes it a {found.name}") for p in b.graph.spans.get(node, ())[:1] if p != span
    )
    if wanted.name == "logit" and found.name in ("prob", "binary"):
        b.fail("E310", f"a {found.name} where {who} takes a logit", span,
               f"{who} squashes it itself: it would be squashed twice", made,
               remedy="drop the activation, or use the function that takes a prob")  # fmt: skip
    remedy = {
        "prob": "apply sigmoid or softmax, or assert it with `as prob`",
        "binary": "assert it with `as binary`",
        "positive": "apply exp or softplus, or assert it with `as positive`",
        "class": "a class comes from data, argmax or categorical",
        "real": "onehot(...) turns a class into numbers",
        "logit": "onehot(...) turns a class into numbers",
    }[wanted.name]
    b.fail("E310", f"{who} takes a {wanted.name}, not a {found.name}", span,
           f"is {'' if found.name == 'real' else 'a '}{tensors.domain_text(b, found)}", made,
           remedy=remedy)  # fmt: skip


def listed(b: Build, expr: s.Expr, scope: Scope) -> list[Value]:
    """A static list, for `for` and comprehensions."""
    value = static(b, expr, scope, "the list of a for")
    if not isinstance(value, list):
        b.fail("E307", "for runs over a list or a range", expr.span, f"is {describe(value)}",
               remedy="for l in 0..2")  # fmt: skip
    return value


# ---- names -------------------------------------------------------------------------------------


def lookup(b: Build, name: str, span: Span, scope: Scope) -> Value:
    """What a name stands for, found on first use for the current frame."""
    binding = scope.lookup(name)
    if binding is None:
        unknown(b, "name", name, span, list(scope.visible()))
    version = 0 if binding.static else b.frame.version
    if version in binding.cache:
        value = binding.cache[version]
        if value is Poisoned:
            raise Poisoned
    else:
        if binding.busy:
            notes = (Note(binding.span, "defined here"),) if binding.span else ()
            b.fail("E331", f"{name} is defined by itself", span, "needs its own value", notes,
                   remedy="a sequence looks back with [t-1] inside scan")  # fmt: skip
        binding.busy = True
        try:
            value = binding.find()
            binding.cache[version] = value
        except Exception:
            binding.cache[version] = Poisoned
            raise
        finally:
            binding.busy = False
    if isinstance(value, Node) and value.op == "param":
        return b.frame.params.get(value["path"], value)
    return value


def unknown(b: Build, kind: str, name: str, span: Span, known: Sequence[str]) -> Any:
    """Nothing is called so; the nearest name that exists is the remedy."""
    hint = nearest(name, [k for k in known if not k.startswith("_")])
    b.fail("E301", f"there is no {kind} {name}", span, "unknown", remedy=hint or "")
