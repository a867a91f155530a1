"""Names, attributes and indices: the parts of instances, modules, lists and tensors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from dln.compiler.frontend.context import broadcasting, standing, time_axis, values
from dln.compiler.frontend.context.build_context import Build, Chain, Instance, Scope, Value
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.static_values import lookup, unknown, whole
from dln.compiler.frontend.data import columns, datasets, raw_tables
from dln.compiler.frontend.expressions import phase_queries
from dln.compiler.frontend.instances import instances, unnamed
from dln.compiler.frontend.tensors import affine_index, axes, others
from dln.compiler.ir.graph import Node
from dln.compiler.ir.structure import is_clock
from dln.compiler.ir.tensor_type import TIME
from dln.grammar import syntax as s
from dln.grammar.diagnostics import CHOICES, Span

# ---- attributes --------------------------------------------------------------------------------


def _attr(b: Build, expr: s.Attr, scope: Scope) -> Value:
    body = b.evaluate(expr.body, scope)
    match body:
        case Instance():
            return instances.attribute(b, body, expr.name, expr.name_span)
        case values.Results():
            if expr.name not in body.values:
                of = broadcasting.short(expr.body.span.text)
                kind = "field" if of == "raw" else "result"
                _refuse_label(b, expr, body, of)
                unknown(b, kind, expr.name, expr.name_span, list(body.values), of)
            return body.values[expr.name]
        case values.Module():
            if body.scope.lookup(expr.name) is None:
                known = list(body.scope.names)
                unknown(b, "name", expr.name, expr.name_span, known, body.name)
            return lookup(b, expr.name, expr.name_span, body.scope)
        case values.DataValue():
            return datasets.of_data(b, body, expr.name, expr.name_span)
        case Node() if (table := raw_tables.table_of(b, body)) is not None:
            at = columns.named(b, table, expr.name, expr.name_span)
            part = s.Number(at, span=expr.name_span)
            return _tensor_index(b, body, s.Index(expr.body, (part,), span=expr.span), scope)
        case Node() if (made := instances.made_in(b, expr.body, scope)) is not None:
            return instances.attribute(b, made, expr.name, expr.name_span)
        case values.PhaseBest():
            return phase_queries.best_attribute(b, body.phase, expr.name, expr.name_span)
        case values.PhaseValue():
            return phase_queries.phase_attribute(b, body.name, expr.name, expr.name_span)
    text = f"{values.describe(body)} has no parts"
    _refuse_phase(b, expr, body)
    fact = "a function is written before what it is of, f(x); one that there is not is a line of fn"
    facts = (unnamed.own_name(b, expr) or fact,) if isinstance(body, Node) else ()
    if isinstance(body, Node) and re.search(r"\s\.\s", expr.span.text):  # `W . x`, by hand
        facts = ("a point between two values is * for each with each, @ for the sum of products",)
    if expr.body.span.text == "raw" and isinstance(body, Node):
        text, facts = (
            "raw has columns here, which are counted from 0",
            ("as in raw[0], or raw[:2]",),
        )
    if expr.name == "T" and isinstance(body, Node) and len(body.type.example) == 1:
        axes.transpose(b, body, expr.span)  # which is refused, and says what to write
    if isinstance(body, values.PhaseGroup):
        remedy = CHOICES + ", ".join(f"{p.name}.{expr.name}" for p in body.phases.values())
        text = f"{body.name} is several phases, each with a number"
        b.fail("E327", text, expr.span, "", (), remedy)
    if isinstance(body, Chain):
        of = broadcasting.whole_text(expr.body.span.text)
        text = f"{of} is a chain, whose parts have numbers"
        having = [
            f"{of}[{k}].{expr.name}"
            for k, part in enumerate(body.parts)
            if isinstance(part, Instance) and expr.name in part.scope.names
        ]
        over = expr.span.source.text[: expr.span.start].rstrip().endswith("over")
        several = CHOICES * (len(having) > 1) + ", ".join(having[:12])
        facts = (several,) if over and several else ()
        b.fail("E327", text, expr.span, "", (), of if over else several, facts)
    b.fail("E327", text, expr.name_span, "nothing is called so here", facts=facts)


def _refuse_phase(b: Build, expr: s.Attr, body: Value) -> None:
    """`training.error`, of a watch that a phase of another name has."""
    asked = [p.name for p in b.phases.made.values() if expr.name in (w.name for w in p.watches)]
    if asked and isinstance(expr.body, s.Name) and not isinstance(body, Node):
        text = f"{expr.name} is watched in {', '.join(asked)}"
        remedy = CHOICES * (len(asked) > 1) + ", ".join(f"{name}.{expr.name}" for name in asked)
        b.fail("E327", text, expr.span, f"is of {values.describe(body)}", (), remedy)


def _refuse_label(b: Build, expr: s.Attr, body: values.Results, of: str) -> None:
    """`raw.label` of a file of images alone."""
    if of == "raw" and [*body.values] == ["image"] and "label" in expr.name:
        fact = 'labels stand in a second file: idx("images", "labels")'
        text = f"raw has no field {expr.name}"
        b.fail("E301", text, expr.name_span, "unknown", facts=(fact,))


# ---- indices -----------------------------------------------------------------------------------


def _index(b: Build, expr: s.Index, scope: Scope) -> Value:
    body = b.evaluate(expr.body, scope)
    if (table := raw_tables.table_of(b, body)) is not None:
        expr = columns.by_number(b, table, expr)
    step = _place(b, expr.indices[0], expr, scope) if _may_be_step(expr) else None
    if isinstance(step, values.StepIndex) and isinstance(body, Node | values.Recurrence):
        node = step.scan.element(b, body, step, expr.span)  # `x[t]`, `h[t-1]`
        if len(expr.indices) == 1:
            return b.mark(node, expr.span, broadcasting.short(expr.span.text))
        return _tensor_index(b, node, _rest(expr), scope)  # `x[t, 2]`
    if others.is_other(step) and isinstance(body, Node | values.Recurrence):
        later = _place(b, expr.indices[1], expr, scope) if len(expr.indices) > 1 else None
        if isinstance(later, values.StepIndex):  # `x[k, t]`: in its step as in any other
            body = later.scan.element(b, body, later, expr.span)
            expr = s.Index(expr.body, (expr.indices[0], *expr.indices[2:]), span=expr.span)
        node = others.of(b, broadcasting.as_tensor(b, body, expr.body.span), step, expr)
        if len(expr.indices) == 1:
            return b.mark(node, expr.span, broadcasting.short(expr.span.text))
        return _tensor_index(b, node, _rest(expr), scope)
    if expr.indices:
        others.refuse_shifted(b, step, expr.indices[0].span)
    if isinstance(body, list):
        picks = (b.evaluate(i, scope) for i in expr.indices if not isinstance(i, s.Slice))
        if any(isinstance(value, Node | values.IndexVar | values.IndexForm) for value in picks):
            return _tensor_index(b, broadcasting.as_tensor(b, body, expr.body.span), expr, scope)
        return _list_index(b, body, expr.indices, expr, scope)
    if isinstance(body, Chain):
        return _part_of(b, body, expr, scope)
    if isinstance(body, values.PhaseGroup):
        return _phase_of(b, body, expr, scope)
    if isinstance(body, values.PhaseValue | str):
        b.fail("E328", f"{values.describe(body)} is not indexed", expr.span)
    if isinstance(body, values.DataValue) and body.part is not None:
        fact = f"folds have numbers, where they are declared with brackets: split {body.part}[5]"
        text = f"{body.part} is one part of {body.name}"
        b.fail("E328", text, expr.span, "has no number", facts=(fact,))
    if isinstance(body, values.Recurrence):
        _refuse_order(b, body, expr)
    if isinstance(body, values.Function | values.Builtin) and isinstance(expr.body, s.Name):
        inside = ", ".join(i.span.text for i in expr.indices)
        text = "what a function is given stands in ( )"
        b.fail("E328", text, expr.span, "", (), f"{expr.body.id}({inside})")
    if not isinstance(body, Node):
        facts = unnamed.parts_of(body)
        if isinstance(body, Instance) and not facts and isinstance(expr.body, s.Name):
            given = ", ".join(p.name for p in body.definition.syntax.ports)
            inside = ", ".join(i.span.text for i in expr.indices)
            facts = (f"an entry of what it gives is {expr.body.id}({given})[{inside}]",)
        b.fail("E328", f"{values.describe(body)} cannot be indexed", expr.span, facts=facts)
    if is_clock(body) and len(expr.indices) == 1:
        return _report(b, body, expr, scope)
    if expr.indices and body in b.phases.latest:
        node = _report(b, body, expr, scope)
        return node if len(expr.indices) == 1 else _tensor_index(b, node, _rest(expr), scope)
    return _tensor_index(b, body, expr, scope)


def _refuse_order(b: Build, body: values.Recurrence, expr: s.Index) -> None:
    """`h[k, t-1]` for `h[t-1, k]`, of a sequence that is being defined."""
    texts, t = [i.span.text for i in expr.indices], body.scan.index
    steps = [text for text in texts if re.search(rf"\b{t}\b", text)]
    if len(steps) == 1:
        remedy = f"{body.name}[{', '.join([*steps, *(x for x in texts if x not in steps)])}]"
        text = f"the first index of {body.name}, which runs over time, is its step"
        b.fail("E328", text, expr.span, "", (), remedy)
    fact = f"{body.name}[{t}-1] is what it was in the step before"
    text = f"the first index of {body.name} is a step of its scan: {t}, or {t}-1"
    b.fail("E328", text, expr.span, facts=(fact,))


def _report(b: Build, clock: Node, expr: s.Index, scope: Scope) -> Node:
    """`valid[-1]`: a report by its number. Counting back to 0 would come to the first one."""
    part, name = expr.indices[0], expr.body.span.text
    if isinstance(part, s.Slice):
        b.fail("E305", f"{name} has one number, of a report", expr.span, "is several",
               remedy=f"[for k in 1..3: {name}[-k]]")  # fmt: skip
    if isinstance(part, s.Name) and part.id in ("last", "end"):
        text, watch = (
            f"{name} alone is its last report",
            broadcasting.whole_text(expr.body.span.text),
        )
        b.fail("E305", text, expr.span, "", (), watch)
    at = whole(b, part, scope, "the number of a report")
    if at == 0 and isinstance(part, s.Unary):
        b.fail("E305", f"{name}[0] is the first report, and has no other number", part.span,
               "counts back 0 reports", remedy=f"{name}, for the latest report")  # fmt: skip
    return phase_queries.history(b, clock, at, expr.span)


def _phase_of(b: Build, group: values.PhaseGroup, expr: s.Index, scope: Scope) -> values.PhaseValue:
    """`pre[1]`: the phase of that number, wherever in the file it stands."""
    part = expr.indices[0] if len(expr.indices) == 1 else None
    if part is None or isinstance(part, s.Slice):
        b.fail("E328", f"{group.name} has one number, of a phase", expr.span)
    at = whole(b, part, scope, "the index of a phase")
    if at not in group.phases:
        known = [p.name for p in group.phases.values()]
        b.fail("E301", f"there is no phase {group.name}[{at}]", part.span, "unknown",
               remedy=("one of " if len(known) > 1 else "") + ", ".join(known[:12]))  # fmt: skip
    return group.phases[at]


def _part_of(b: Build, chain: Chain, expr: s.Index, scope: Scope) -> Value:
    """`net[0]`: a part of a chain, by the number that messages give it; what a function in it has
    made, where that is one instance."""
    made = (b.owned.instances.get(f"{chain.path}[{k}]") for k in range(len(chain.parts)))
    parts = [part if m is None or isinstance(part, Instance | Chain) else m
             for part, m in zip(chain.parts, made, strict=True)]  # fmt: skip
    return _list_index(b, parts, expr.indices, expr, scope)


def _place(b: Build, part: s.Expr | s.Slice, expr: s.Index, scope: Scope) -> Value:
    """What stands in the brackets of an index; what is wrong there is told as such."""
    if isinstance(part, s.Name | s.Number):
        return b.evaluate(part, scope)
    return replace(b, bracket=expr).evaluate(part, scope)


def _may_be_step(expr: s.Index) -> bool:
    """Whether the first index may be a step of a scan: `t`, `t-1`, `t+2`."""
    first = expr.indices[0] if expr.indices else None
    while isinstance(first, s.Group):
        first = first.body
    return isinstance(first, s.Name) or (isinstance(first, s.Binary) and first.op in "+-")


def _rest(expr: s.Index) -> s.Index:
    """The same index without what stands first in the brackets."""
    return s.Index(expr.body, expr.indices[1:], span=expr.span)


def _in_time(b: Build, node: Node, expr: s.Index, scope: Scope) -> Node:
    """`h[0]`, `h[1:]` of a sequence: the first index is the step."""
    part = expr.indices[0]
    node = time_axis.time_first(b, node, part.span)
    if isinstance(part, s.Slice):
        plain = b.at(part.span)("running", node, running=())
        made = axes.cut(b, plain, 0, *_bounds(b, part, scope), part.span)
        return b.at(part.span)("running", made, running=node.type.running)
    value = _place(b, part, expr, scope)
    if isinstance(value, values.IndexVar | values.IndexForm):
        return _over_time(b, node, value, part.span)
    at = whole(b, part, scope, "a step")
    length = b.number(node.type.shape[0])
    if at < 0 or (length is not None and at >= length):
        text, whole_of = f"the step {at} is outside of the sequence", expr.body.span
        if at == -1 and len(expr.indices) == 1:
            remedy = f"last({broadcasting.whole_text(whole_of.text)})"
            b.fail("E208", text, expr.span, "the last element is last(...)", (), remedy)
        facts = ("last(...) is the last element" if at < 0 else "steps count from 0",)
        b.fail("E208", text, part.span, facts=facts)
    return time_axis.element(b, node, at, part.span)


def _over_time(b: Build, node: Node, index: values.IndexVar | values.IndexForm, span: Span) -> Node:
    """`h[i]`, `h[2*i + 1]` of a sequence: its time runs under an index."""
    steps = node.type.shape[0]
    if isinstance(index, values.IndexVar) and (not index.ranged or index.size == steps):
        names = tuple(index.axis if a == TIME else a for a in node.type.running)
        broadcasting.equal(b, index.size, steps, span, f"{index.name} runs over time")
        return b.at(span)("running", node, running=names)
    plain = _by_steps(b, node, span)
    if isinstance(index, values.IndexVar):
        return axes.axes_run(b, plain, 0, index, span)
    return affine_index.look(b, plain, 0, index, span)


def _by_steps(b: Build, node: Node, span: Span) -> Node:
    """A sequence with time first as a tensor of which the steps are the first axis."""
    rest = node.type.running[1:]
    last = (*range(1, len(rest) + 1), 0, *range(len(rest) + 1, len(node.type.shape)))
    turned = b.at(span)("transpose", node, perm=last) if rest else node
    return b.at(span)("running", turned, running=rest)


def _list_index(
    b: Build, body: Value, indices: tuple[s.Expr | s.Slice, ...], expr: s.Index, scope: Scope
) -> Value:
    """`M[1, 0]`, `M[:, 0]` of a list of lists, or of a list of tensors."""
    if not indices:
        return body
    if isinstance(body, Node):
        return _tensor_index(b, body, s.Index(expr.body, indices, span=expr.span), scope)
    part, rest = indices[0], indices[1:]
    if not isinstance(body, list):
        b.fail("E328", f"{values.describe(body)} cannot be indexed", part.span)
    if isinstance(part, s.Slice):
        start, stop = _bounds(b, part, scope)
        return [_list_index(b, entry, rest, expr, scope) for entry in body[start:stop]]
    i = whole(b, part, scope, "the index of a list")
    if not 0 <= i < len(body):
        text, label = f"the index {i} is outside 0..{len(body) - 1}", f"the list has {len(body)}"
        last = f"{len(body) - 1} is the last"
        line = expr.span.source.line(expr.span.line)
        ends = re.search(r"\b0\s*\.\.\s*length\(\w+\)", line)
        if i == len(body) and ends is not None:
            start = expr.span.source.starts[expr.span.line - 1]
            at = Span(expr.span.source, start + ends.start(), start + ends.end())
            fact = "both ends of a range are included"
            b.fail("E208", text, at, "goes one too far", (), f"{ends.group()}-1", (fact,))
        remedy = last if i == -1 and body else "indices count from 0"
        b.fail("E208", text, part.span, label, remedy=remedy)
    return _list_index(b, body[i], rest, expr, scope)


def _bounds(b: Build, part: s.Slice, scope: Scope) -> tuple[int | None, int | None]:
    start = None if part.start is None else whole(b, part.start, scope, "the start of a slice")
    stop = None if part.stop is None else whole(b, part.stop, scope, "the end of a slice")
    return start, stop


def _too_many(b: Build, node: Node, expr: s.Index) -> NoReturn:
    """More indices than axes; those of a batch, which nobody writes, are left out."""
    axes, kept = len(node.type.example), list(expr.indices)
    text = f"{len(expr.indices)} indices on a tensor with {axes} axes"
    label = f"{broadcasting.short(expr.body.span.text)} is {b.shown(node.type)}"
    while kept and isinstance(last := kept[-1], s.Slice) and last.span.text.strip() == ":":
        kept.pop()
    if kept and len(kept) == axes + 1 and kept[0].span.text.strip() == ":":
        kept.pop(0)
    fewer = f"{expr.body.span.text}[{', '.join(i.span.text for i in kept)}]"
    remedy = fewer if kept and len(kept) == axes else ""
    b.fail("E213", text, expr.span, label, remedy=remedy)


def _tensor_index(b: Build, node: Node, expr: s.Index, scope: Scope) -> Value:
    """`x[i, 2, label, :5]`: bound indices run, numbers take, classes pick, slices cut."""
    if not b.time.mapped and expr.indices and standing.is_sequence(b, node):
        name = broadcasting.short(expr.body.span.text)
        standing.refuse(b, expr.span, f"{name} is a sequence, of which it has one step")
    if TIME in node.type.running and not b.time.mapped and expr.indices:
        first = expr.indices[0]
        at = None if isinstance(first, s.Slice) else _place(b, first, expr, scope)
        if isinstance(at, Node) and at.type.kind == "index":  # it picks as from any axis
            node = _by_steps(b, time_axis.time_first(b, node, expr.span), expr.span)
        else:
            node = _in_time(b, node, expr, scope)
            if len(expr.indices) == 1:
                return b.mark(node, expr.span)
            expr = _rest(expr)
    if len(expr.indices) > len(node.type.example):
        _too_many(b, node, expr)
    axis = 0
    for part in expr.indices:
        if isinstance(part, s.Slice):
            node = axes.cut(b, node, axis, *_bounds(b, part, scope), part.span)
            axis += 1
            continue
        value = _place(b, part, expr, scope)
        if others.is_other(value):
            others.refuse_later(b, value, part.span)
        elif isinstance(value, values.IndexVar):
            node = axes.axes_run(b, node, axis, value, part.span)
        elif isinstance(value, values.IndexForm):
            node = affine_index.look(b, node, axis, value, part.span)
        elif isinstance(value, Node):
            node = axes.pick(b, node, axis, value, part.span)
            axis += len(value.type.example)
        else:
            node = axes.take(b, node, axis, whole(b, part, scope, "an index"), part.span)
    return b.mark(node, expr.span)


RULES: dict[type, Callable[..., Value]] = {
    s.Name: lambda b, expr, scope: lookup(b, expr.id, expr.span, scope),
    s.Attr: _attr,
    s.Index: _index,
}
