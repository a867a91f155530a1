"""The functions of the language itself, one row each; all others are written in `std.dln`.

A row's function gets the build, the place and the values. Numbers are worked out at once; tensors
become nodes. Rows marked `lazy` get their arguments unread.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import reduce
from typing import Any, NoReturn

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.artefacts import FORMS
from dln.compiler.frontend.context.build_context import Build, Chain, Scope, Value
from dln.compiler.frontend.context.counting import CHAINED
from dln.compiler.frontend.context.values import (
    CALLABLE,
    Builtin,
    DataValue,
    WholeGradient,
    describe,
)
from dln.compiler.frontend.data import measures
from dln.compiler.frontend.expressions import (
    emit_functions,
    gradients,
    phase_queries,
    schedules,
    weighting,
)
from dln.compiler.frontend.instances.owning import owned_by
from dln.compiler.frontend.tensors import (
    distributions,
    drawings,
    mask_tables,
    pointwise,
    reductions,
    shape_functions,
)
from dln.compiler.ir import masks
from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import OPS
from dln.compiler.ir.sizes import Size
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

# ---- mathematics -------------------------------------------------------------------------------


def _pointwise(op: str) -> Callable[..., Value]:
    """A function of the language that an operation is: its record works it out over numbers."""
    number = OPS[op].number
    assert number is not None, f"{op} has no number"

    def call(b: Build, span: Span, x: Value) -> Value:
        if isinstance(x, Size):
            x = b.resolve(x)
        if isinstance(x, int | float) and not isinstance(x, bool):
            try:
                return number(x)
            except OverflowError:  # softplus(1000) is in range once the graph is stabilised
                return pointwise.unary(b, op, x, span)
            except ValueError:
                b.fail("E308", f"{op}({x}) is not a finite number", span)
        return pointwise.unary(b, op, x, span)

    return call


def _reduction(name: str) -> Callable[..., Value]:
    def call(b: Build, span: Span, x: Value) -> Value:
        if isinstance(x, list):
            return _of_list(b, span, name, x)
        if isinstance(x, WholeGradient):
            return gradients.reduced(b, span, name, x)
        return reductions.reduce(b, name, x, None, span)

    return call


ON_NUMBERS: dict[str, Callable[[list[Any]], Any]] = {
    "sum": sum,
    "mean": lambda v: sum(v) / len(v),
    "max": max,
    "min": min,
    "norm": lambda v: math.sqrt(sum(x * x for x in v)),
    "argmax": lambda v: v.index(max(v)),
    "argmin": lambda v: v.index(min(v)),
}


def _of_list(b: Build, span: Span, name: str, items: list[Value]) -> Value:
    """A reduction over a static list: of numbers at once, of tensors element by element."""
    if not items:
        if name == "sum":
            return 0
        b.fail("E315", f"{name} of an empty list has no value", span)
    if all(isinstance(i, int | float) for i in items):
        return ON_NUMBERS[name](items)
    if name not in ("sum", "mean", "max", "min") or _is_table(items):
        return reductions.reduce(b, name, items, None, span)
    op = {"sum": "add", "mean": "add", "max": "maximum", "min": "minimum"}[name]
    total = reduce(lambda x, y: pointwise.binary(b, op, x, y, span), items)
    if name == "mean":
        return pointwise.binary(b, "div", total, len(items), span)
    return total


def _is_table(items: Value) -> bool:
    """Whether a list holds lists of numbers: a tensor that is written out."""
    number = isinstance(items, int | float)
    return number or (isinstance(items, list) and all(map(_is_table, items)))


def _extreme(name: str) -> Callable[..., Value]:
    """max and min: of one tensor or list, or of several values element by element."""
    pair = "maximum" if name == "max" else "minimum"

    def call(b: Build, span: Span, x: Value, *more: Value) -> Value:
        if not more:
            return _reduction(name)(b, span, x)
        for y in more:
            if isinstance(x, int | float) and isinstance(y, int | float):
                x = max(x, y) if name == "max" else min(x, y)
            else:
                x = pointwise.binary(b, pair, x, y, span)
        return x

    return call


def _last(b: Build, span: Span, x: Value) -> Node:
    """The last element of a sequence; of a watch of several numbers the latest report."""
    if isinstance(x, Node) and x in b.phases.latest:
        return phase_queries.latest(b, x, span)
    return reductions.last(b, span, x)


# ---- where a phase learns ----------------------------------------------------------------------


def _training(b: Build, expr: s.Call, scope: Scope) -> Value:
    """`training(a, b)`: a where a phase learns, b in watches, tasks, checks and from Python."""
    if len(expr.arguments) != 2:
        b.fail("E322", f"training takes 2 arguments, not {len(expr.arguments)}", expr.span)
    for named in (a for a in expr.arguments if not isinstance(a, s.Expr)):
        text = "training takes its two values by place: where a phase learns, and elsewhere"
        b.fail("E322", text, named.span, "is given by name")
    return b.evaluate(expr.arguments[0 if b.frame.training else 1], scope)


def _of_optimisers(code: str, text: str, remedy: str) -> Callable[..., NoReturn]:
    """A function that has a meaning in one place of an optimiser only, which `training` reads."""

    def call(b: Build, expr: s.Call, scope: Scope) -> NoReturn:
        line = expr.span.source.line(expr.span.line)
        if code == "E436" and (made := re.match(r"let\s+(\w+)\s*=\s*load\b", line)):
            fact = f"{made[1]} is made of its block, as in let {made[1]} = dense(10); in a phase"
            fact += f" stands start {made[1]} := {expr.span.text}"
            b.fail(code, text, expr.span, "stands elsewhere", facts=(fact,))
        b.fail(code, text, expr.span, "stands elsewhere", remedy=remedy)

    return call


# ---- questions about the spec ------------------------------------------------------------------


def _length(b: Build, span: Span, x: Value) -> int:
    if not isinstance(x, list):
        if isinstance(x, Node) and "time" in x.type.running:
            b.fail("E302", "length takes a list", span, "is of a sequence", remedy="time")
        facts = ("the size of a tensor is shape(x)[0]",) if isinstance(x, Node) else ()
        if isinstance(x, DataValue):
            facts = ("batch all takes all of its examples; shape(d.x)[0] is how many it has",)
        b.fail("E302", "length takes a list", b.blame(x, span), f"is {describe(x)}", facts=facts)
    return len(x)


def _counted(trainable: bool) -> Callable[..., int]:
    """How many numbers an instance has that can be trained, or that cannot; `net.h` means the
    instance that the equation h made. Dead entries do not count."""

    def call(b: Build, expr: s.Call, scope: Scope) -> int:
        if expr.only is None:
            what = broadcasting.short(expr.function.span.text)
            b.fail("E322", f"{what} takes one instance or parameter", expr.span)
        total = 0
        for path in owned_by(b, expr.only, scope):
            p = b.owned.params[path]
            if p.trainable == trainable:
                sizes = [b.sizes.resolve(x) for x in p.node.type.shape]
                if any(x.value is None for x in sizes):
                    b.fail("E336", f"the size of {path} is not known", expr.span)
                total += masks.live_count(p.joins, [x.constant for x in sizes])
        return total

    return call


def _chain(b: Build, span: Span, parts: Value) -> Chain:
    if not isinstance(parts, list):
        text, label = "chain takes a list of blocks", f"is {describe(parts)}"
        at = b.blame(parts, span)
        one = f"[{at.text}]" if isinstance(parts, CALLABLE) else ""
        b.fail("E302", text, at, label, remedy=one, facts=() if one else (CHAINED,))
    for k, part in enumerate(parts):
        if not isinstance(part, CALLABLE):
            label = f"its entry {k} is {describe(part)}"
            if isinstance(part, str) and (start := span.text.find(f'"{part}"')) >= 0:
                at = Span(span.source, span.start + start, span.start + start + len(part) + 2)
                remedy = part if part.isidentifier() else ""
                b.fail("E302", "a chain is of blocks and functions", at, "is a text", remedy=remedy)
            remedy = "chain([chain(fs), g]), of the list fs" if isinstance(part, list) else ""
            sizes = re.fullmatch(r"chain\((\[[\d, ]+\])\)", span.text)
            remedy = f"chain([for m in {sizes[1]}: dense(m)])" if sizes else remedy
            facts = ("a layer of 10 numbers is dense(10), an activation its name alone: tanh",)
            text, at = "a chain is of blocks and functions", span
            entry = None if sizes else _entry(b.blame(parts, span), k, len(parts))
            if entry is not None:
                at, label = entry, f"is {describe(part)}"
            b.fail("E302", text, at, label, remedy=remedy, facts=() if remedy else facts)
    naming = b.naming
    made = Chain(tuple(parts), naming.chain(), naming.owner, naming.space, span)
    known = b.owned.chains.setdefault(made.path, [])
    for old in known:
        if old.is_as(made):  # worked out before, in another frame
            return old
    known.append(made)
    return made


def _entry(at: Span, k: int, many: int) -> Span | None:
    """The place of an entry of a list that is written out."""
    from dln.grammar.idioms.names import arguments  # late: most chains are right

    found = arguments(at.text[1:-1]) if at.text[:1] == "[" and at.text[-1:] == "]" else []
    if len(found) != many:
        return None
    start = at.start + 1 + sum(len(a) + 1 for a in found[:k])
    start += len(found[k]) - len(found[k].lstrip())
    return Span(at.source, start, start + len(found[k].strip()))


def _of_machines(name: str) -> Callable[..., Value]:
    """A function of machines, found when it is called."""

    def call(b: Build, expr: s.Call, scope: Scope) -> Value:
        from dln.compiler.frontend.energy import exact, gibbs  # late: most specs have none

        functions: dict[str, Callable[[Build, s.Call, Scope], Value]] = {
            "gibbs": gibbs.gibbs,
            "cd": gibbs.cd,
            "log_z": exact.log_z,
            "log_likelihood": exact.log_likelihood,
        }
        return functions[name](b, expr, scope)

    return call


LAZY: dict[str, Callable[..., Value]] = {
    "training": _training,
    "curvature": _of_optimisers(
        "E363",
        "curvature is estimated for a state of an optimiser",
        "state h = curvature(500) every 1 epoch",
    ),
    "descent": _of_optimisers(
        "E368", "descent is the whole body of an optimiser", "minimize ... with lbfgs()"
    ),
    "plateau": schedules.plateau,
    "balanced": weighting.balanced,
    "load": _of_optimisers(
        "E436", "load stands alone behind start ... :=", 'start net := load("net.safetensors")'
    ),
    "params": _counted(True),
    "fixed_values": _counted(False),
    **{name: _of_machines(name) for name in ("gibbs", "cd", "log_z", "log_likelihood")},
    **{name: measures.function(name) for name in measures.MEASURES},
    "text": emit_functions.text,
    **{name: emit_functions.curves(name) for name, form in FORMS.items() if form.curves},
    **{name: emit_functions.of_examples(name) for name, form in FORMS.items() if form.example},
}
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    **{name: _pointwise(name) for name, op in OPS.items() if op.is_("function")},
    "stop": lambda b, span, x: b.at(span)("stop", broadcasting.as_tensor(b, x, span)),
    "id": lambda b, span, x: x,
}
EAGER: dict[str, Callable[..., Any]] = {
    "onehot": shape_functions.onehot,
    "zeros": shape_functions.filled(0.0),
    "ones": shape_functions.filled(1.0),
    "outer": shape_functions.outer,
    "tiles": emit_functions.tiles,
    "flatten": shape_functions.flatten,
    "concat": shape_functions.concat,
    "stack": shape_functions.stack,
    "reshape": shape_functions.reshape,
    "upsample": shape_functions.upsample,
    "pad": shape_functions.pad,
    "grad": gradients.gradient,
    "last": _last,
    "tally": reductions.tally,
    "reversed": reductions.backwards,
    "lowest": reductions.lowest,
    "uniform": distributions.uniform,
    "normal": distributions.normal,
    "bernoulli": distributions.bernoulli,
    "categorical": distributions.categorical,
    "mask": distributions.mask,
    "relaxed": distributions.relaxed,
    "noise": distributions.noise,
    "distort": distributions.distort,
    "shape": lambda b, span, x: [*map(b.resolve, broadcasting.as_tensor(b, x, span).type.example)],
    "length": _length,
    "inputs": mask_tables.inputs,
    "marks": drawings.marks,
    "glyphs": drawings.glyphs,
    "chain": _chain,
}


def builtins() -> Scope:
    """The outermost scope: every function of the language, and pi."""
    scope = Scope(None)
    for name in ON_NUMBERS:
        call = _extreme(name) if name in ("max", "min") else _reduction(name)
        scope.value(name, Builtin(name, call, reduces=True))
    for name, call in ELEMENTWISE.items():
        scope.value(name, Builtin(name, call, elementwise=True))
    for name, call in EAGER.items():
        scope.value(name, Builtin(name, call, makes=name == "chain"))
    for name, made in LAZY.items():
        scope.value(name, Builtin(name, made, lazy=True))
    scope.value("pi", math.pi)
    return scope
