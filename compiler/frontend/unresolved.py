"""Names that stand for nothing, and options that there are not, where values are not known."""

from __future__ import annotations

from dln.compiler.frontend.context.build_context import BlockDef, Build, Scope
from dln.compiler.frontend.context.missing import known
from dln.compiler.frontend.context.place import Poisoned
from dln.compiler.frontend.context.static_values import lookup
from dln.compiler.frontend.context.values import Builtin, OptimiserDef
from dln.compiler.frontend.instances.options import option_values
from dln.grammar import syntax as s

AXES = ("batch", "time")


def look_in(b: Build, block: s.Block, body: Scope) -> None:
    """The expressions of a block; the names that it binds anywhere stand for something there."""
    inner = body.child()
    parts: list[s.Syntax] = [block]
    while parts:
        part = parts.pop()
        parts += part.children()
        name = getattr(part, "name", None)
        places: list[s.Syntax] = [*(getattr(part, "dims", None) or ())]
        if isinstance(part, s.Define) and part.adds:  # an index on the left may be a sum of several
            places = [x for d in part.target.dims or () for x in _all_of(d)]
        dims = (d.id for d in places if isinstance(d, s.Name))
        for bound in (name, *dims) if not isinstance(part, s.Named | s.Attr) else ():
            if isinstance(bound, str) and inner.lookup(bound) is None:
                inner.value(bound, Poisoned)
    for st in block.body:
        look(b, st, inner)


def _all_of(part: s.Syntax) -> list[s.Syntax]:
    return [part, *(x for child in part.children() for x in _all_of(child))]


def look(b: Build, part: s.Syntax, scope: Scope) -> None:
    """Collect a problem for every name that nothing is called by."""
    match part:
        case s.Name(id=name):
            if name not in AXES and scope.lookup(name) is None:
                with b.collecting():
                    lookup(b, name, part.span, scope)
        case s.Reduce(function=function, indices=indices, body=body):
            look(b, function, scope)
            inner = scope.child()
            for arg in indices:
                if isinstance(arg, s.Ranged):
                    look(b, arg.range, scope)
                name = arg.name if isinstance(arg, s.Ranged) else getattr(arg, "id", "")
                inner.value(name, Poisoned)
            look(b, body, inner)
        case s.Comprehension(name=name, range=range_, body=body):
            look(b, range_, scope)
            inner = scope.child()
            inner.value(name, Poisoned)
            look(b, body, inner)
        case s.Domain():
            return
        case s.Call():
            _call(b, part, scope)
        case _:
            for child in part.children():
                look(b, child, scope)


def _call(b: Build, call: s.Call, scope: Scope) -> None:
    """A call, with the options of the block or optimiser that it makes."""
    look(b, call.function, scope)
    binding = scope.lookup(call.function.id) if isinstance(call.function, s.Name) else None
    target = known(b, binding) if binding is not None and binding.static else None
    if isinstance(target, Builtin) and target.lazy:
        return  # it gives names to what it is given
    if isinstance(target, BlockDef | OptimiserDef):
        with b.collecting():
            if not call.options:
                option_values(b, target.syntax, call.arguments, scope, call.span)
    for arg in (*call.arguments, *call.options):
        look(b, arg.value if isinstance(arg, s.Named) else arg, scope)
