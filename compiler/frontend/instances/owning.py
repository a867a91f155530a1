"""Of which parameters something is made: what `over net` and `params(net)` mean.

An instance is made of the parameters that it and the instances made in it declare, of the instances
that it was given, however deep in lists and chains, and of whatever else its equations take part
of: an instance or a parameter that stands outside, weights that are tied. A chain is made of its
parts and of what they use. The last is read off the graph: the parameters between what was put in
and what came out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dln.compiler.frontend.context.build_context import Build, Chain, Instance, Scope, Value
from dln.compiler.frontend.context.place import Poisoned
from dln.compiler.frontend.context.static_values import lookup
from dln.compiler.frontend.context.values import Builtin, Function, InstanceVerb, describe
from dln.compiler.frontend.instances.instances import made_in
from dln.compiler.ir.graph import Node, up_to
from dln.compiler.ir.structure import is_input, is_param, is_stop
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span


def owned_by(b: Build, expr: s.Expr, scope: Scope) -> list[str]:
    """The paths of the parameters that an expression stands for; `net.h` means the instance that
    the equation h made."""
    if isinstance(expr, s.ListOf) and expr.items and isinstance(expr.items[0], s.Attr):
        return _joined([owned_by(b, item, scope) for item in expr.items])
    _refuse_result(b, expr, scope)
    if isinstance(expr, s.Binary) and expr.op == "-":
        whole, less = (set(owned_by(b, e, scope)) for e in (expr.left, expr.right))
        left = ", ".join(p for p in b.owned.params if p in whole - less)
        text = "what is learnt is named behind over, and all that is left out is not"
        b.fail("E337", text, expr.span, "takes some away", remedy=left)
    if isinstance(expr, s.Binary):
        text, remedy = "several stand behind over with commas", expr.span.text
        for part in (f" {expr.op} ", f"{expr.op} ", f" {expr.op}", expr.op):
            remedy = remedy.replace(part, ", ")
        b.fail("E337", text, expr.span, f"are joined by {expr.op}", remedy=remedy)
    value = b.evaluate(expr, scope)
    made = made_in(b, expr, scope) if isinstance(value, Node) and not is_param(value) else None
    return owned(b, made or value, expr.span)


def _refuse_result(b: Build, expr: s.Expr, scope: Scope) -> None:
    """`over params(net)`, or `over net(x)`, where the net itself is meant."""
    if not (isinstance(expr, s.Call) and isinstance(expr.function, s.Name) and expr.arguments):
        return
    function, first = expr.function.id, expr.arguments[0]
    if function in ("params", "parameters"):
        meant, what = first.span.text, "is how many there are"
    elif scope.lookup(function) is not None and isinstance(
        b.evaluate(expr.function, scope), Instance
    ):
        meant, what = function, "is what it gives"
    else:
        return
    text = "parameters are meant here: an instance, or one of its parameters"
    b.fail("E337", text, expr.span, what, remedy=meant)


def owned(b: Build, value: Value, span: Span) -> list[str]:
    """The paths of the parameters that an instance, chain, list or parameter stands for."""
    match value:
        case Instance():
            _refuse_unknown(b, value, span)
            return _part(b, value)
        case Chain():
            return _part(b, value)
        case list() if made := [p for p in value if not isinstance(p, Function | Builtin)]:
            return _joined([owned(b, p, span) for p in made])
        case Node() if (path := _path_of(b, value)) is not None:
            return [path]
    text = "parameters are meant here: an instance, or one of its parameters"
    remedy = value if isinstance(value, str) else "net, or net.W, net.b"
    if isinstance(value, Node) and is_input(value):
        fact = f"the slope by what comes from data is a value: grad(e, {span.text})"
        b.fail("E337", text, span, "comes from data", facts=(fact,))
    b.fail("E337", text, span, f"is {describe(value)}", remedy=remedy)


def _refuse_unknown(b: Build, made: Instance, span: Span) -> None:
    """An instance that is never applied has no sizes, unless it takes nothing. One of which only
    parameters are used is a part like any other, as one that another was given."""
    if made.last is not None:
        return
    if not made.definition.syntax.ports:
        for name, binding in list(made.scope.names.items()):
            lookup(b, name, binding.span or span, made.scope)
        return
    if _declared(b, made):
        return
    if b.problems.found:
        raise Poisoned
    used = "asked for anything" if made.groups else "applied"
    first = made.definition.syntax.ports[0].name
    fact = f"a phase applies it, as in {made.path}({first}), or its ports say all sizes in numbers"
    text = f"the sizes of {made.path} are not known: it is never {used}"
    b.fail("E336", text, span, "is asked here", facts=() if made.groups else (fact,))


def _part(b: Build, value: Value) -> list[str]:
    """What a part is made of; what is no part, such as a number among the options, of nothing."""
    match value:
        case Instance():
            names = (o.name for o in value.definition.syntax.options)  # what it was made with
            made = (lookup(b, n, value.span, value.scope) for n in names if n in value.scope.names)
            given = [_part(b, v) for v in made]
            ports = [p.name for p in value.definition.syntax.ports]
            scopes = [value.scope, *value.bodies.values()]  # wherever it was applied
            known = (v for sc in scopes for n in sc.names.values() for v in n.cache.values())
            taken = (sc.names[p].find(b) for sc in scopes for p in ports if p in sc.names)
            return _joined([_declared(b, value), *given, _used(b, known, taken)])
        case Chain():
            outputs = [made for _, made in value.applied]
            used = _used(b, outputs, [x for given, _ in value.applied for x in given])
            return _joined([*(_part(b, v) for v in value.parts), used])
        case InstanceVerb():
            return _part(b, value.instance)
        case list():
            return _joined([_part(b, v) for v in value])
    return []


def _declared(b: Build, made: Instance) -> list[str]:
    """The parameters of an instance, and of the instances made in it."""
    return [p for p in b.owned.params if b.owned.owners[p].within(made)]


def _used(b: Build, outputs: Iterable[Value], inputs: Iterable[Value]) -> list[str]:
    """The parameters from which outputs are worked out, but for those behind the inputs. What a
    `stop` keeps from learning is none of them."""
    given = {v for v in inputs if isinstance(v, Node)}

    def ends(node: Node) -> bool:
        return node in given or is_stop(node) or _path_of(b, node) is not None

    needed = up_to((v for v in outputs if isinstance(v, Node)), ends)
    found = {_path_of(b, node) for node in needed if node not in given}
    return [path for path in b.owned.params if path in found]


def _path_of(b: Build, node: Node) -> str | None:
    """The path of the parameter that a node is, as it was or as a step has left it."""
    path = node.attrs.get("path")
    return path if path in b.owned.params and (is_param(node) or is_stop(node)) else None


def _joined(parts: Sequence[list[str]]) -> list[str]:
    return list(dict.fromkeys(p for part in parts for p in part))
