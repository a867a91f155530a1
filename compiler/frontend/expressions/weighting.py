"""`balanced(label)` in a phase: for each example how much its class counts, so that all classes
count alike.

A class with m of the n examples of the phase's part, of which k classes occur, weighs n / (k m), as
`class_weight="balanced"` of scikit-learn has it. The weights are a state of the phase that nothing
changes: the runtime counts, when the phase begins, what it is given to learn from.
"""

from __future__ import annotations

from dln.compiler.frontend.context.build_context import Build, Scope, Value
from dln.compiler.frontend.context.values import describe
from dln.compiler.ir.graph import Node
from dln.compiler.ir.structure import is_input
from dln.compiler.ir.tensor_type import POSITIVE, TensorType
from dln.grammar import syntax as s


def balanced(b: Build, expr: s.Call, scope: Scope) -> Value:
    """The weight of each example's class: a number for each example."""
    if expr.only is None:
        b.fail("E322", "balanced takes the field that holds the class", expr.span)
    held = b.frame.kept
    if held is None or (b.frame.carry is not None and b.frame.carry.site != held.phase):
        text = "how often each class occurs is counted for the minibatches of a phase"
        b.fail("E435", text, expr.span, "stands elsewhere")
    value = b.evaluate(expr.only, scope)
    field = value["name"] if isinstance(value, Node) and is_input(value) else None
    known = [k for k in held.classes if k not in held.timed]
    if not isinstance(value, Node) or field not in known:
        label = "runs over time" if field in held.timed else f"is {describe(value)}"
        remedy = f"balanced({known[0]})" if known else ""
        text = "balanced takes a field of the phase that holds one class for each example"
        b.fail("E435", text, expr.only.span, label, remedy=remedy)
    size = value.type.domain.size
    assert size is not None
    path, like = f"{held.phase}.balanced({field})", TensorType((size,), domain=POSITIVE)
    make = b.at(expr.span)
    state = b.mark(make("state", path=path, type=like, asked=True), expr.span, f"balanced({field})")
    held.weighed[path] = field, make.broadcast(make.const(1.0), like, ())
    inner = scope.child()
    inner.value("weights ", state, expr.span)
    weights = s.Name("weights ", span=expr.span)
    return b.evaluate(s.Index(weights, (expr.only,), span=expr.span), inner)
