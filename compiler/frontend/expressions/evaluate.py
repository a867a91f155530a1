"""Expressions to values: `evaluate(b, expr, scope)`.

Constants, lists, instances and functions are worked out here and now; tensors become nodes. The
stage of every expression is known, so a dynamic value where a static one is needed is an error
that names the tensor. What is done for a kind of expression stands in the `RULES` of `operators`,
`calls` and `indexing`, which come back here through `b.evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.context.values import Scope, Value
from dln.compiler.frontend.expressions import calls, indexing, operators
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Fault

WORK = 500_000  # expressions worked out in one build
RULES: dict[type, Callable[..., Value]] = {**operators.RULES, **calls.RULES, **indexing.RULES}


def evaluate(b: Build, expr: s.Expr, scope: Scope) -> Value:
    """The value of an expression in a scope. What an operation refuses is said with its place."""
    b.work += 1
    if b.work > WORK:
        b.fail(
            "E316",
            f"this spec takes more than {WORK:,} steps to read",
            expr.span,
            "was worked out too often",
        )
    try:
        return RULES[type(expr)](b, expr, scope)
    except Fault as fault:
        b.fail("E299", fault.message, expr.span, remedy=fault.remedy)
