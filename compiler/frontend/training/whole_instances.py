"""`update slow += 0.01 * (net - slow)`: a line of a phase for each parameter of an instance.

Where the target is an instance or a chain, the line is done for each parameter made in it, and
other instances in its value stand for the parameter that has the same name there.
"""

from __future__ import annotations

from collections.abc import Iterator

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Chain, Instance, Scope
from dln.compiler.frontend.context.static_values import lookup
from dln.compiler.frontend.instances.owning import owned_by
from dln.grammar import syntax as s


def parts(b: Build, target: s.Expr, value: s.Expr, scope: Scope) -> list[tuple[str, Scope]]:
    """The parameters of an instance with the names of the line for each; none of anything else, nor
    where no instance stands in the value."""
    made, others = b.evaluate(target, scope), dict[str, tuple[Instance | Chain, s.Name]]()
    for name in _all_names(value):
        if scope.lookup(name.id) is not None:
            other = lookup(b, name.id, name.span, scope)
            if isinstance(other, Instance | Chain):
                others[name.id] = other, name
    if not isinstance(made, Instance | Chain) or not others:
        return []
    own = [path for path in owned_by(b, target, scope) if path.startswith(made.path)]
    if not own:
        text = f"{broadcasting.short(target.span.text)} has no parameters where it is changed"
        fact = "what a chain makes is known once it is applied: a watch of it does"
        b.fail("E358", text, target.span, "is applied nowhere", facts=(fact,))
    return [(path, _names(b, others, scope, path.removeprefix(made.path))) for path in own]


def _names(
    b: Build, others: dict[str, tuple[Instance | Chain, s.Name]], scope: Scope, part: str
) -> Scope:
    """The names of a line in which instances stand for a part of theirs."""
    inner = scope.child()
    for other, name in others.values():
        path = f"{other.path}{part}"
        if path not in b.owned.params:
            text = f"{name.id} has no {part.removeprefix('.')}, which stands for it here"
            b.fail("E358", text, name.span, "is an instance of another kind")
        inner.value(name.id, b.owned.params[path].node, name.span)
    return inner


def _all_names(part: s.Syntax) -> Iterator[s.Name]:
    if isinstance(part, s.Name):
        yield part
    for child in part.children() if not isinstance(part, s.Call | s.Attr) else ():
        yield from _all_names(child)
