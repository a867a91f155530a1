"""How many axes a value has at least, from what a piece of syntax does with it.

A product with `@` takes a vector, a port as many axes as it declares, a function of numbers takes
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from dln.compiler.frontend.context.build_context import (
    BlockDef,
    Build,
    Chain,
    Instance,
    Scope,
    Value,
)
from dln.compiler.frontend.context.static_values import lookup
from dln.compiler.frontend.context.values import Builtin, Function
from dln.grammar import syntax as s

Stands: TypeAlias = Callable[[s.Syntax], bool]
"""Whether a piece of syntax is the value that is asked about."""


def axes_taken(b: Build, part: s.Syntax, stands: Stands, scope: Scope) -> int:
    """How many axes a piece of syntax takes of a value that stands in it, 0 where any will do."""
    here = 0
    if isinstance(part, s.Binary) and part.op == "@":
        here = int(stands(part.left) or stands(part.right))
    elif isinstance(part, s.Index) and stands(part.body):
        here = len(part.indices)
    elif isinstance(part, s.Flow) and stands(part.source):
        here = _port(b, _known(b, part.target, scope), 0, 1)
    elif isinstance(part, s.Call):
        found = None
        for place, argument in enumerate(part.arguments):
            if stands(argument):
                found = found or _known(b, part.function, scope)
                here = max(here, _port(b, found, place, len(part.arguments)))
    return max([here, *(axes_taken(b, p, stands, scope) for p in parts(part))])


def _known(b: Build, expr: s.Expr, scope: Scope) -> Value:
    """What a name stands for; nothing where it is being worked out."""
    binding = scope.lookup(expr.id) if isinstance(expr, s.Name) else None
    if binding is None or binding.busy or not isinstance(expr, s.Name):
        return None
    return lookup(b, expr.id, expr.span, scope)


def _port(b: Build, taker: Value, place: int, given: int) -> int:
    """How many axes a block or function takes at a place; a vector's where it is not known."""
    if isinstance(taker, Builtin):
        return int(not taker.elementwise and not (taker.reduces and given > 1))
    if isinstance(taker, Chain):
        return _port(b, taker.parts[0], place, given) if taker.parts else 0
    found = taker.definition if isinstance(taker, Instance) else taker
    if not isinstance(found, BlockDef | Function) or place >= len(found.syntax.ports):
        return 1
    port = found.syntax.ports[place]
    if port.dims is not None or isinstance(found, BlockDef):
        return len(port.dims or ())

    def stands(expr: s.Syntax) -> bool:
        return isinstance(expr, s.Name) and expr.id == port.name

    return axes_taken(b, found.syntax.value, stands, found.scope)


def parts(part: s.Syntax) -> Iterator[s.Syntax]:
    """What a piece of syntax is made of."""
    for field in part._fields:
        value = getattr(part, field)
        if isinstance(value, tuple):
            yield from (v for v in value if isinstance(v, s.Syntax))
        elif isinstance(value, s.Syntax):
            yield value
