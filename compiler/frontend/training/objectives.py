"""Steps: what is minimised over what, and what is updated.

Several steps run in order on the same minibatch; each sees the parameters left by the one before.
In the graph this is substitution: after a step, a parameter's name means its new value. It is a
value as any other parameter is: no gradient runs into the update that it came from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from typing import TypeAlias

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Naming, Scope, Value
from dln.compiler.frontend.context.missing import known
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.ports import shaped
from dln.compiler.frontend.context.static_values import lookup, tensor, whole
from dln.compiler.frontend.context.values import OptimiserDef, OptimiserUse, describe
from dln.compiler.frontend.instances.instances import live_only
from dln.compiler.frontend.instances.options import option_values
from dln.compiler.frontend.instances.owning import owned_by
from dln.compiler.frontend.tensors import pointwise, reductions
from dln.compiler.frontend.training import (
    clipping,
    gathering,
    line_search,
    persistent_state,
    rounds,
    slopes,
    whole_instances,
)
from dln.compiler.frontend.training.optimisers import Updated, optimise, remembers
from dln.compiler.frontend.training.phase_scope import PhaseBody, bind, flat, in_stretch
from dln.compiler.frontend.training.rounds import LinePlace, LineRun
from dln.compiler.ir import masks
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.model import Minimizing
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span

Moved: TypeAlias = "dict[str, tuple[Node, Span]]"
"""The new value of each parameter that a step moves, and the line that does."""

# ---- steps -------------------------------------------------------------------------------------


def body(b: Build, got: PhaseBody) -> None:
    """Minimise and update lines, in runs; each `step` is a run of its own."""
    runs = [LineRun(got.name)]
    for st, scope in got.statements:
        if isinstance(st, s.Minimize | s.Update | s.SetTo):
            runs[-1].lines.append((st, scope))
        elif isinstance(st, s.Step):
            inner = in_step(b, st, scope)
            times = 1
            with b.collecting():
                times = rounds.times(b, st, scope, got)
            own = LineRun(inner.path, list(flat(b, st.body, inner)), times, st)
            runs += [own, LineRun(got.name)]
        else:
            with b.collecting():
                _look(b, st, scope)
    length = rounds.placed(b, runs)
    if (more := gathering.begin(b, got, runs[0])) > 1:
        for run in runs:
            if run.step is not None:
                gathering.refuse_step(b, run.step)
        length = more
    for run in runs:
        with rounds.noted(run, b.frame, got):
            _step(b, run, length, got)
    if got.gathered > 1 and got.descent is None:
        gathering.turns(b, got, got.own)
    elif length > 1:
        got.turns, got.rounds = rounds.turns(b, got, runs, length)


def in_step(b: Build, st: s.Step, scope: Scope) -> Scope:
    """The names of a step: its equations draw and make instances of their own."""
    index = st.name.index
    number = "" if index is None else f"[{whole(b, index, scope, 'the index of a step')}]"
    inner = scope.child(f"{scope.path}.{st.name.name}{number}")
    bind(in_stretch(b, inner), st.body, inner)
    return inner


def _look(b: Build, st: s.Item | s.Stmt, scope: Scope) -> None:
    """Work out what nobody may ask for, so that what is wrong with it is found."""
    if isinstance(st, s.Define | s.Draw | s.Kept):
        lookup(b, st.target.name, st.span, scope)


def _step(b: Build, run: LineRun, length: int, got: PhaseBody) -> None:
    """All updates of a step are worked out from the old parameters, then made together. A round
    has so many updates."""
    new: Moved = {}
    first = len(got.lines)
    for i, (st, scope) in enumerate(run.lines):
        at = in_stretch(b, scope)
        with b.collecting():
            if isinstance(st, s.Minimize):
                alone = sum(isinstance(x, s.Minimize) for x, _ in run.lines) == 1
                site = run.site if alone else f"{run.site}#{i}"
                _minimize(at, st, scope, LinePlace(site, run, length), new, got)
            elif isinstance(st, s.Update):
                _update(at, st, scope, new, got)
            elif isinstance(st, s.SetTo):
                persistent_state.assign(at, st, scope)
            elif isinstance(st, s.Let | s.Define | s.Draw | s.Kept):
                _look(at, st, scope)
            else:
                word = st.span.text.split()[0]
                b.fail("E406", f"{word} stands in the phase, not in one of its steps", st.span)
    if b.frame.own_updates:
        said = set(new)
        with b.collecting():
            _own_updates(b, run, got, first, new)
        got.own |= {path: node for path, (node, _) in new.items() if path not in said}
    for path, (node, span) in new.items():
        got.updates[path] = node
        # To the steps to come it is one node for each parameter, so that two with equal values
        # stay two, and gradients end there.
        b.frame.params[path] = b.mark(b.at(span)("stop", node, path=path), span, path)
    b.frame.version = next(b.counter)


def _named(b: Build, text: Value, scope: Scope) -> str:
    """`with "adam"`: an optimiser of that name."""
    binding = scope.lookup(text.casefold()) if isinstance(text, str) else None
    found = binding.find(b) if binding is not None and binding.static else None
    if not isinstance(found, OptimiserDef):
        return ""
    needs = any(o.name == "lr" and o.default is None for o in found.syntax.options)
    return f"{found.syntax.name}({'lr = 0.1' * needs})"


def _optimiser(b: Build, st: s.Minimize, scope: Scope) -> OptimiserUse:
    """What stands after `with`, with its options or without any."""
    use = b.evaluate(st.optimiser, scope)
    if isinstance(use, OptimiserDef):
        option_values(b, use.syntax, (), scope, st.optimiser.span)
        return OptimiserUse(use, {}, {}, st.optimiser.span)
    if not isinstance(use, OptimiserUse):
        text, listed = "with takes an optimiser", isinstance(use, list)
        facts = ("a line of minimize has one: another part has a line of its own",) * listed
        remedy = "" if listed else _named(b, use, scope) or "sgd(lr = 0.1)"
        b.fail("E354", text, st.optimiser.span, f"is {describe(use)}", (), remedy, facts)
    return use


def _learnt(b: Build, st: s.Minimize, scope: Scope, named: Span) -> list[str]:
    """The paths of the parameters that a line moves: those after `over` that are not fixed."""
    parts = [(e, owned_by(b, e, scope)) for e in st.over]
    for e, own_paths in parts:  # said by its name, and not as a part of what is learnt
        if len(own_paths) == 1 and not b.owned.params[own_paths[0]].trainable and len(parts) > 1:
            b.fail("E355", f"{own_paths[0]} is fixed: it is not learnt", e.span, "is fixed")
    over = (path for _, own_paths in parts for path in own_paths)
    paths = [p for p in dict.fromkeys(over) if b.owned.params[p].trainable]
    if not paths:
        b.fail("E355", "there is nothing to learn here", named, "has no parameters")
    return paths


def _minimize(
    b: Build, st: s.Minimize, scope: Scope, place: LinePlace, new: Moved, got: PhaseBody
) -> None:
    loss, use = _loss(b, st, scope), _optimiser(b, st, scope)
    named = st.over[0].span.to(st.over[-1].span)
    paths = _learnt(b, st, scope, named)
    held = {path: b.frame.params.get(path, b.owned.params[path].node) for path in paths}
    slopes.check(b, st, loss, held, named)
    slopes.warn_of_free(b, st, scope)
    slopes.warn_of_rising(b, use)
    rules = line_search.asked(b, use)
    if rules is not None:
        clipping.refuse(b, st, use)
        # The runtime searches, then moves the parameters that the loss depends on: they stay here.
        nodes, needed = {p: b.owned.params[p].node for p in paths}, set(ancestors([loss]))
        moved = {path: node for path, node in nodes.items() if node in needed}
        grads = {path: b.at(st.span)("grad", loss, node) for path, node in moved.items()}
        got.updates |= moved
        got.lines.append(Minimizing(loss, grads, {}, named))
        got.descent = rules
        return
    still, grads = _still(b, st, loss, got), dict[str, Node]()
    for path, param in held.items():
        grads[path] = live_only(b, b.at(st.span)("grad", loss, param), param, st.span)
    summed = st.total and "batch" in _each(loss).type.running
    whole = gathering.gathered(b, got, place.site, grads, summed, st.span)
    given = clipping.clipped(b, st, scope, whole)
    site, count = place.site, place.count(b, use.span)
    for path, param in held.items():
        own, grad = b.owned.params[path].node, given[path]
        done = optimise(b, use, own, held=param, grad=grad, count=count, site=site, loss=still)
        slopes.warn_of_still(b, use, done, grad, named)
        _one_memory(b, use, path, done, got)
        _set(b, path, done.value, st.span, new)
        got.states.update(done.states)
        got.state_init.update(done.first)
        got.estimates += done.estimates
    got.lines.append(Minimizing(loss, grads, dict(b.frame.params), named))


def _still(b: Build, st: s.Minimize, loss: Node, got: PhaseBody) -> Node:
    """The loss that states are estimated on: no parameter moved by an earlier step, and the mean
    over the examples also where `total` adds them up."""
    if len(got.objectives) > len(got.lines):
        loss = got.objectives[len(got.lines)]
    summed = st.total and "batch" in _each(loss).type.running
    return batch_reduced(b, _each(loss), False, st.loss.span) if summed else loss


def _each(loss: Node) -> Node:
    """What a loss is of each example, where it is a sum or a mean of that."""
    return loss.operands[0] if op_of(loss).is_("moves") else loss


def _one_memory(b: Build, use: OptimiserUse, path: str, done: Updated, got: PhaseBody) -> None:
    """What an optimiser remembers of a parameter is of all its moves: of two optimisers with memory
    none would know what the other does."""
    before = got.optimised.setdefault(path, [])
    if any(map(remembers, before)) and remembers(done):
        text = f"{path} is moved twice by optimisers with memory"
        remedy = "minimise the sum of the losses in one step"
        b.fail("E356", text, use.span, "an earlier step moves it already", remedy=remedy)
    before.append(done)


def _update(b: Build, st: s.Update, scope: Scope, new: Moved, got: PhaseBody) -> None:
    """`update p += e`: e averaged over the batch (added up with `total`) is added to p."""
    lines = whole_instances.parts(b, st.target, st.value, scope)
    for path, where in lines or [(one_parameter(b, st.target, scope, "update changes"), scope)]:
        step = _mean(b, st, b.evaluate(st.value, where))
        gathering.refuse_batched(b, got, st, step)
        _add(b, st, path, [step], new)


def _own_updates(b: Build, run: LineRun, got: PhaseBody, first: int, new: Moved) -> None:
    """The lines of `update` of the blocks that a loss of this run is made of, where what they
    change belongs to what is moved. One that is applied several times is moved by the mean; a line
    of the phase takes its place."""
    lines = [(st, scope) for st, scope in run.lines if isinstance(st, s.Minimize)]
    said = set(new)
    for (st, scope), minimizing in zip(lines, got.lines[first:], strict=False):
        over = {path for e in st.over for path in owned_by(in_stretch(b, scope), e, scope)} - said
        needed = set(ancestors([minimizing.loss]))
        found: dict[str, tuple[Build, s.Update, list[Node]]] = {}
        for own in b.frame.own_updates:
            if own.version == b.frame.version and not needed.isdisjoint(own.results):
                there = replace(b, calls=own.calls)
                target = own.line.target
                path = _parameter(there, own.look(target), target.span, "update changes")
                if path in over:
                    value = _mean(there, own.line, own.look(own.line.value))
                    found.setdefault(path, (there, own.line, []))[2].append(value)
        for path, (there, line, values) in found.items():
            if got.descent is not None:
                text = f"{got.descent.name} moves parameters alone in its phase"
                notes = (Note(line.span, f"changes {path} as well"),)
                b.fail("E366", text, st.optimiser.span, "searches here", notes, "adam(lr = 1e-3)")
            _add(there, line, path, values, new)
        said |= set(found)


def _mean(b: Build, st: s.Update, value: Value) -> Node:
    node = broadcasting.quantity(b, value, st.value.span)
    return batch_reduced(b, node, st.total, st.value.span)


def _add(b: Build, st: s.Update, path: str, steps: Sequence[Node], new: Moved) -> None:
    """The new value of a parameter: what is added to it is the mean of some steps."""
    param = b.frame.params.get(path, b.owned.params[path].node)
    name = broadcasting.short(st.target.span.text)
    parts = [shaped(b, step, param.type, st.value.span, name) for step in steps]
    step = reduce(b.at(st.span).add, parts)
    if len(parts) > 1:
        step = b.at(st.span).scale(step, 1 / len(parts))
    spans = (st.target.span, st.value.span)
    _set(b, path, pointwise.binary(b, "add", param, step, st.span, spans), st.span, new)


def one_parameter(b: Build, expr: s.Expr, scope: Scope, who: str) -> str:
    """The path of the one parameter that an expression names."""
    if isinstance(expr, s.Index):
        whole, value = expr.body.span.text, b.evaluate(expr.body, scope)
        if any(p.node is value for p in b.owned.params.values()):
            fact = f"a row alone changes where the others add 0: {whole} += outer(onehot(c), ...)"
            text = f"{who} one parameter, and all of it"
            b.fail("E358", text, expr.span, f"is a part of {whole}", facts=(fact,))
    return _parameter(b, b.evaluate(expr, scope), expr.span, who)


def _parameter(b: Build, value: Value, span: Span, who: str) -> str:
    """The path of the one parameter that a value is."""
    paths = [
        k for k, p in b.owned.params.items() if p.node is value or b.frame.params.get(k) is value
    ]
    if len(paths) != 1:
        remedy = "a parameter by its name: net.W"
        b.fail("E358", f"{who} one parameter", span, f"is {describe(value)}", remedy=remedy)
    return paths[0]


def _set(b: Build, path: str, node: Node, span: Span, new: Moved) -> None:
    if path in new:
        text, notes = f"{path} is changed twice in one step", (Note(new[path][1], "first here"),)
        remedy = "put the lines into two steps; of two losses, minimise the sum in one line"
        if span == new[path][1]:  # by a for around it
            remedy = "take the line out of the for: a phase repeats its lines by itself"
        b.fail("E359", text, span, "changed again", notes, remedy)
    new[path] = (masks.live_only(b.at(span), node, b.owned.params[path].node), span)


# ---- losses ------------------------------------------------------------------------------------


def losses(b: Build, st: Sequence[s.Item | s.Stmt], scope: Scope) -> list[Node]:
    """The losses of a phase, worked out with the parameters of this frame."""
    found = []
    for inner, where in flat(b, st, scope):
        if isinstance(inner, s.Minimize):
            found.append(_loss(in_stretch(b, where), inner, where))
        elif isinstance(inner, s.Step):
            found += losses(b, inner.body, in_step(b, inner, where))
    return found


def _loss(b: Build, st: s.Minimize, scope: Scope) -> Node:
    """One number: the mean over the batch, or the sum with `total`."""
    unnamed = replace(b, naming=Naming(space=scope.space))  # the same instances, whoever asks
    span = st.loss.span
    node = broadcasting.quantity(b, tensor(unnamed, st.loss, scope, "the loss"), span)
    if node.type.example or "time" in node.type.running:
        remedy, facts = _last_meant(unnamed, st.loss, scope) or ("", ())
        remedy = _of_class(b, node, span, scope) or remedy
        term = st.loss if remedy else _term(unnamed, st.loss, scope)
        remedy = remedy or f"sum({broadcasting.whole_text(term.span.text)})"
        label = f"is {b.shown(broadcasting.as_tensor(b, b.evaluate(term, scope), term.span).type)}"
        text = "a loss is one number for each example"
        b.fail("E357", text, term.span, label, (), remedy, facts)
    return batch_reduced(b, node, st.total, span)


def _last_meant(b: Build, loss: s.Expr, scope: Scope) -> tuple[str, tuple[str, ...]] | None:
    """Of a loss that holds a sequence against what is one for each example, `last` of it."""
    if not isinstance(loss, s.Call) or loss.named:
        return None
    timed, texts = list[bool](), list[str]()
    for argument in loss.plain:
        value, text = b.evaluate(argument, scope), broadcasting.whole_text(argument.span.text)
        timed.append(isinstance(value, Node) and "time" in value.type.running)
        texts.append(f"last({text})" if timed[-1] else text)
    if all(timed) or not any(timed):
        return None
    what = broadcasting.short(loss.plain[timed.index(False)].span.text)
    fact = f"there is one {what} for all steps; to hold each step against it, sum(...) of all of it"
    return f"{loss.function.span.text}({', '.join(texts)})", (fact,)


def _term(b: Build, loss: s.Expr, scope: Scope) -> s.Expr:
    """The one term of a loss, with its factors, that is more than a number: `net.W^2` in `e + 0.1 *
    net.W^2`. The sum of all would count the others again and again."""
    if isinstance(loss, s.Group | s.Unary):
        return _term(b, loss.body, scope)
    if isinstance(loss, s.Binary) and loss.op in "+-*/":
        values = [(e, b.evaluate(e, scope)) for e in (loss.left, loss.right)]
        many = [e for e, v in values if isinstance(v, Node)
                and (v.type.example or "time" in v.type.running)]  # fmt: skip
        if len(many) == 1 and (loss.op != "/" or many[0] is loss.left):
            return _term(b, many[0], scope)
    return loss


def _of_class(b: Build, node: Node, span: Span, scope: Scope) -> str:
    """`nll(p, label)` for `-log(p)`, where there is a class of as many values that is not asked."""
    text = broadcasting.whole_text(span.text)
    log = re.fullmatch(r"(-\s*)?log\((.*)\)", text)
    if log is None or len(node.type.example) != 1:
        return ""
    for name in scope.visible():
        value = known(b, scope.lookup(name))
        of = value.type.domain if isinstance(value, Node) else None
        if of is None or of.name != "class" or of.size is None or re.search(rf"\b{name}\b", text):
            continue
        if b.resolve(of.size) == b.resolve(node.type.example[0]):
            loss = f"nll({log[2]}, {name})"
            return f"sum({loss})" if "time" in node.type.running else loss
    return ""


def batch_reduced(b: Build, node: Node, total: bool, span: Span) -> Node:
    """The mean (or sum) over the batch, where there is one."""
    if "batch" not in node.type.running:
        return node
    return reductions.reduce(b, "sum" if total else "mean", node, ("batch",), span)
