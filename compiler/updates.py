"""Optimisers: the equations of an `optimiser` block applied to a parameter and its gradient.

The result is graph like everything else: the parameter's new value, and the new values of the
optimiser's states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dln.compiler import tensors
from dln.compiler.graph import Node
from dln.compiler.sizes import Conflict, Reason
from dln.compiler.state import Build
from dln.compiler.statics import lookup
from dln.compiler.tensor import TensorType
from dln.compiler.values import OptimiserUse, Scope
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span


@dataclass
class Updated:
    """What an optimiser does to one parameter: its new value; states with first and new values."""

    value: Node
    states: dict[str, Node]
    first: dict[str, Node]


def optimise(b: Build, use: OptimiserUse, param: Node, grad: Node, site: str) -> Updated:
    """One parameter under an optimiser. `n` counts the updates from 1."""
    syntax = use.definition.syntax
    scope = use.definition.scope.child()
    target, gradient = syntax.names[0], syntax.names[1]
    scope.value(target, param, use.span)
    scope.value(gradient, grad, use.span)
    n = b.at(use.span).add(b.make("clock", name="update"), b.make.const(1.0))
    scope.value("n", n, use.span)
    for name, value in use.options.items():
        scope.value(name, value, use.span)
    out = Updated(param, {}, {})
    with b.call(use.span, syntax.name):
        for option in syntax.options:
            if option.name not in use.options and option.default is not None:
                scope.value(option.name, b.evaluate(option.default, scope), option.span)
        paths = _states(b, syntax, scope, param, site, out)
        for st in syntax.body:
            if isinstance(st, s.SetTo | s.Define):
                _assign(b, st, scope, param.type)
    out.value = lookup(b, target, use.span, scope)
    out.states = {path: lookup(b, name, use.span, scope) for name, path in paths.items()}
    return out


def _states(
    b: Build, syntax: s.Optimiser, scope: Scope, param: Node, site: str, out: Updated
) -> dict[str, str]:
    """The states of an optimiser for one parameter, of the parameter's shape."""
    paths = {}
    for st in syntax.body:
        if isinstance(st, s.State):
            path = f"{site}.{syntax.name}.{st.name}:{param['path']}"
            first = tensors.as_tensor(b, b.evaluate(st.value, scope), st.span)
            out.first[path] = tensors.spread(b, first, param.type, st.span)
            if not first.type.shape and param.type.shape:
                shape = param.type.shape
                out.first[path] = b.make("broadcast", first, axes=(), shape=shape, running=())
            scope.value(st.name, b.at(st.span)("state", path=path, type=param.type), st.span)
            paths[st.name] = path
    return paths


def _assign(b: Build, st: s.SetTo | s.Define, scope: Scope, like: TensorType) -> None:
    """`p := e` gives the name a new value for the lines that follow; the shape stays."""
    name = st.name if isinstance(st, s.SetTo) else st.target.name
    node = tensors.as_tensor(b, b.evaluate(st.value, scope), st.value.span, name)
    node = tensors.quantity(b, node, st.value.span)
    if isinstance(st, s.SetTo):
        node = shaped(b, node, like, st.value.span)
    scope.value(name, node, st.span)


def shaped(b: Build, node: Node, like: TensorType, span: Span, what: str = "it") -> Node:
    """A new value in the shape of what it replaces; a single number fills it."""
    if not node.type.shape and like.shape:
        return b.at(span)("broadcast", node, axes=(), shape=like.shape, running=like.running)

    def complain(c: Conflict | None = None) -> Any:
        b.fail(
            "E202",
            "the new value has another shape",
            span,
            f"is {b.shown(node.type)}",
            facts=(f"{what} is {b.shown(like)}",),
        )

    if len(node.type.example) != len(like.example):
        complain()
    for old, new in zip(like.example, node.type.example, strict=True):
        b.equate(old, new, Reason(span, "the new value of a parameter"), complain)
    return node
