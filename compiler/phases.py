"""`train`: the equations of a minibatch, what is minimised over what, and what is watched.

Several steps run in order on the same minibatch; each sees the parameters left by the one before.
In the graph this is substitution: after a step, a parameter's name means its new value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dln.compiler import tensors
from dln.compiler.blocks import bind_statements, option_values, owned
from dln.compiler.data import bind_fields, on_part
from dln.compiler.graph import Node, ancestors
from dln.compiler.model import DataSet, Keeping, On, Phase, Starting, Watching
from dln.compiler.state import Build, Poisoned, poison
from dln.compiler.statics import listed, lookup, static, whole, word
from dln.compiler.updates import optimise, shaped
from dln.compiler.values import Binding, OptimiserDef, OptimiserUse, PhaseValue, Scope, describe
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span, nearest

ORDERS = ("shuffled", "file", "replacement", "balanced")
DTYPES = ("float32", "float64")
CLOCKS = ("epoch", "update", "progress")


@dataclass
class Collected:
    """What the body of a phase adds up to."""

    objectives: list[Node] = field(default_factory=list)
    losses: list[Node] = field(default_factory=list)
    updates: dict[str, Node] = field(default_factory=dict)
    states: dict[str, Node] = field(default_factory=dict)
    first: dict[str, Node] = field(default_factory=dict)
    watches: list[Watching] = field(default_factory=list)
    lost: list[s.Watch] = field(default_factory=list)
    keeps: list[Keeping] = field(default_factory=list)
    starts: list[Starting] = field(default_factory=list)
    until: Node | None = None


def phase_name(b: Build, name: s.NameIx, scope: Scope) -> str:
    """`pre[l]` with its index worked out."""
    if name.index is None:
        return name.name
    return f"{name.name}[{whole(b, name.index, scope, 'the index of a phase')}]"


def train(b: Build, st: s.Train, scope: Scope) -> None:
    """Build one phase and bind its name."""
    name = phase_name(b, st.name, scope)
    if name in b.phases:
        b.fail("E334", f"the phase {name} stands twice", st.name.span, "again",
               (Note(b.phases[name].span, "first here"),))  # fmt: skip
    b.tried.add(name)
    data, part = on_part(b, st.on, scope)
    body = phase_scope(b, st.body, scope, name, data)
    asked = b.new_frame("probe", batched=True, site=name)
    b.phase_scopes[name] = (body, asked)
    # A phase that only looks is worked out once, in the frame in which checks ask it.
    frame = b.new_frame("train", training=True, batched=True, site=name) if _learns(st) else asked
    b.phase_losses[name] = partial(_losses, st=st.body, scope=body)
    got, before = Collected(), b.failures
    with b.within(frame=frame):
        statements = list(_flat(b, st.body, body))
        for watch, where in statements:
            if isinstance(watch, s.Watch):
                with b.collecting():
                    got.lost.append(watch)
                    got.watches.append(_watch(b, watch, where, st, scope, name, got))
                    got.lost.pop()
        with b.collecting():
            got.objectives = [loss for loss, _ in _losses(b, st.body, body)]
        _body(b, statements, name, got)
        for inner, where in statements:
            with b.collecting():
                _closing(b, inner, where, got)
    clauses = _clauses(b, st, scope, data)
    used = _fields(
        [*got.updates.values(), *got.losses, *(w.value for w in got.watches if not w.on)]
    )
    b.phases[name] = Phase(
        name, On(data.name, part), fields=used, objectives=tuple(got.objectives),
        losses=tuple(got.losses), updates=got.updates,
        states=got.states, state_init=got.first, watches=tuple(got.watches),
        keeps=tuple(got.keeps), starts=tuple(got.starts), until=got.until, slow=False,
        span=st.name.span, **clauses,
    )  # fmt: skip
    if b.failures > before:
        b.broken.add(name)


def _learns(st: s.Train | s.Step | s.For) -> bool:
    """Whether a body changes any parameter."""
    return any(
        isinstance(x, s.Minimize | s.Update | s.Step) or (isinstance(x, s.For) and _learns(x))
        for x in st.body
    )


def phase_scope(b: Build, body: Sequence[s.Stmt], scope: Scope, name: str, data: DataSet) -> Scope:
    """The names of a phase's body over the fields of a data set."""
    inner = scope.child(name)
    for clock in CLOCKS:
        inner.value(clock, b.mark(b.make("clock", name=clock), data.span, clock), data.span)
    bind_fields(b, data, inner)
    bind_statements(b, [x for x in body if not isinstance(x, s.For)], inner)
    return inner


def _fields(outputs: Sequence[Node]) -> tuple[str, ...]:
    """The inputs that some nodes need, in order of use."""
    return tuple(n["name"] for n in ancestors(outputs) if n.op == "input")


def _flat(b: Build, body: Sequence[Any], scope: Scope) -> Any:
    """The statements of a body with their scopes, `for` unrolled."""
    for st in body:
        if isinstance(st, s.For):
            for value in listed(b, st.range, scope):
                inner = scope.child()
                inner.value(st.name, value, st.span)
                bind_statements(b, st.body, inner)  # type: ignore[arg-type]
                yield from _flat(b, st.body, inner)
        else:
            yield st, scope


# ---- steps -------------------------------------------------------------------------------------


def _body(b: Build, statements: Sequence[tuple[Any, Scope]], name: str, got: Collected) -> None:
    """Minimise and update lines, in runs; each `step` is a run of its own."""
    run: list[tuple[Any, Scope]] = []
    for st, scope in statements:
        if isinstance(st, s.Minimize | s.Update):
            run.append((st, scope))
        elif isinstance(st, s.Step):
            _step(b, run, name, got)
            run = []
            inner = scope.child()
            bind_statements(b, st.body, inner)
            _step(b, list(_flat(b, st.body, inner)), f"{name}.{st.name}", got)
        elif isinstance(st, s.Define | s.Draw):
            with b.collecting():
                lookup(b, st.target.name, st.span, scope)
    _step(b, run, name, got)


def _step(b: Build, run: Sequence[tuple[Any, Scope]], site: str, got: Collected) -> None:
    """All updates of a step are worked out from the old parameters, then made together."""
    new: dict[str, tuple[Node, Span]] = {}
    for i, (st, scope) in enumerate(run):
        with b.collecting():
            if isinstance(st, s.Minimize):
                where = (
                    site if sum(isinstance(x, s.Minimize) for x, _ in run) == 1 else f"{site}#{i}"
                )
                _minimize(b, st, scope, where, new, got)
            elif isinstance(st, s.Update):
                _update(b, st, scope, new)
    for path, (node, _) in new.items():
        b.frame.params[path] = got.updates[path] = node
    b.frame.version = next(b.counter)


def _minimize(
    b: Build, st: s.Minimize, scope: Scope, site: str,
    new: dict[str, tuple[Node, Span]], got: Collected,
) -> None:  # fmt: skip
    loss = _loss(b, st, scope)
    got.losses.append(loss)
    use = b.evaluate(st.optimiser, scope)
    if isinstance(use, OptimiserDef):
        syntax, at = use.syntax, st.optimiser.span
        option_values(b, syntax.options, (), scope, syntax.name, at)
        use = OptimiserUse(use, {}, at)
    if not isinstance(use, OptimiserUse):
        b.fail("E354", "with takes an optimiser", st.optimiser.span, f"is {describe(use)}",
               remedy="with sgd(lr = 0.1)")  # fmt: skip
    paths = [p for p in _over(b, st, scope) if b.params[p].trainable]
    if not paths:
        b.fail("E355", "there is nothing to learn here", st.over[0].span.to(st.over[-1].span),
               "has no parameters")  # fmt: skip
    for path in paths:
        param = b.frame.params.get(path, b.params[path].node)
        grad = b.at(st.span)("grad", loss, param)
        done = optimise(b, use, param, grad, site) if param.op == "param" else _again(
            b, use, path, param, grad, site)  # fmt: skip
        _set(b, path, done.value, st.span, new)
        got.states.update(done.states)
        got.first.update(done.first)


def _again(b: Build, use: OptimiserUse, path: str, param: Node, grad: Node, site: str) -> Any:
    """A parameter that an earlier step has moved: the optimiser starts from the moved value."""
    done = optimise(b, use, b.params[path].node, grad, site)
    if done.states:
        b.fail(
            "E356",
            f"{path} is moved twice by optimisers with memory",
            use.span,
            "an earlier step moves it already",
            remedy="minimise the sum of the losses in one step",
        )
    shift = b.make.sub(done.value, b.params[path].node)
    done.value = b.make.add(param, shift)
    return done


def _over(b: Build, st: s.Minimize, scope: Scope) -> list[str]:
    paths = [p for e in st.over for p in owned(b, b.evaluate(e, scope), e.span)]
    return list(dict.fromkeys(paths))


def _loss(b: Build, st: s.Minimize, scope: Scope) -> Node:
    """One number: the mean over the batch, or the sum with `total`."""
    node = tensors.as_tensor(b, b.evaluate(st.loss, scope), st.loss.span, "the loss")
    return _over_batch(b, node, st.total, st.loss.span, "a loss")


def _over_batch(b: Build, node: Node, total: bool, span: Span, what: str) -> Node:
    node = tensors.quantity(b, node, span)
    if node.type.example:
        b.fail("E357", f"{what} is one number for each example", span,
               f"is {b.shown(node.type)}", remedy=f"sum({tensors.short(span.text)})")  # fmt: skip
    return batch_reduced(b, node, total, span)


def batch_reduced(b: Build, node: Node, total: bool, span: Span) -> Node:
    """The mean (or sum) over the batch, where there is one."""
    if "batch" not in node.type.running:
        return node
    return tensors.reduce(b, "sum" if total else "mean", node, ("batch",), span)


def _losses(b: Build, st: Sequence[Any], scope: Scope) -> list[tuple[Node, list[str]]]:
    """The losses of a phase with what they are minimised over, worked out in this frame."""
    found = []
    for inner, where in _flat(b, st, scope):
        if isinstance(inner, s.Minimize):
            found.append((_loss(b, inner, where), _over(b, inner, where)))
        elif isinstance(inner, s.Step):
            below = where.child()
            bind_statements(b, inner.body, below)
            found += _losses(b, inner.body, below)
    return found


def _update(b: Build, st: s.Update, scope: Scope, new: dict[str, tuple[Node, Span]]) -> None:
    """`update p += e`: e averaged over the batch (added up with `total`) is added to p."""
    path = _one_parameter(b, st.target, scope, "update changes")
    value = tensors.as_tensor(b, b.evaluate(st.value, scope), st.value.span)
    step = batch_reduced(b, tensors.quantity(b, value, st.value.span), st.total, st.value.span)
    param = b.frame.params.get(path, b.params[path].node)
    step = shaped(b, step, param.type, st.value.span, tensors.short(st.target.span.text))
    spans = (st.target.span, st.value.span)
    _set(b, path, tensors.binary(b, "add", param, step, st.span, spans), st.span, new)


def _one_parameter(b: Build, expr: s.Expr, scope: Scope, who: str) -> str:
    """The path of the one parameter that an expression names."""
    value = b.evaluate(expr, scope)
    paths = [k for k, p in b.params.items() if p.node is value or b.frame.params.get(k) is value]
    if len(paths) != 1:
        b.fail("E358", f"{who} one parameter", expr.span, f"is {describe(value)}",
               remedy="a parameter by its name: net.W")  # fmt: skip
    return paths[0]


def _set(b: Build, path: str, node: Node, span: Span, new: dict[str, tuple[Node, Span]]) -> None:
    if path in new:
        b.fail(
            "E359",
            f"{path} is changed twice in one step",
            span,
            "changed again",
            (Note(new[path][1], "first here"),),
            remedy="put the lines into two steps",
        )
    new[path] = (node, span)


# ---- watches and the end of a phase ------------------------------------------------------------


def _watch(
    b: Build, st: s.Watch, where: Scope, phase: s.Train, scope: Scope, name: str, got: Collected
) -> Watching:
    if any(w.name == st.name for w in got.watches):
        first = next(w.span for w in got.watches if w.name == st.name)
        b.fail(
            "E334", f"{st.name} is watched twice", st.span, "again", (Note(first, "first here"),)
        )
    on = None
    if st.on is not None:
        data, part = on_part(b, st.on, scope)
        on = On(data.name, part)
        frame = b.new_frame("watch", batched=True, site=f"{name}.{st.name}")
        where = _again_in(where, phase_scope(b, phase.body, scope, name, data))
        with b.within(frame=frame):
            node = tensors.as_tensor(b, b.evaluate(st.value, where), st.value.span)
    else:
        node = tensors.as_tensor(b, b.evaluate(st.value, where), st.value.span)
    node = tensors.quantity(b, node, st.value.span)
    if node.type.example:
        b.fail("E357", "a watch is one number", st.value.span, f"is {b.shown(node.type)}",
               remedy=f"mean({tensors.short(st.value.span.text)})")  # fmt: skip
    per_example = "batch" in node.type.running
    value = batch_reduced(b, node, True, st.value.span)
    b.mark(value, st.span, st.name)
    every = None if st.every is None else (
        whole(b, st.every.count, where, "how often to watch"), st.every.unit)  # fmt: skip
    return Watching(st.name, value, per_example, st.total, on, every, _fields([value]), st.span)


def _again_in(local: Scope, body: Scope) -> Scope:
    """The loop variables around a watch, in front of a body over other data."""
    inner = body.child()
    scope: Scope | None = local
    while scope is not None and scope.parent is not body.parent and scope is not body.parent:
        for name, binding in scope.names.items():
            inner.names.setdefault(name, binding)
        scope = scope.parent
    return inner


def _closing(b: Build, st: Any, scope: Scope, got: Collected) -> None:
    """until, checkpoint and start."""
    match st:
        case s.Until():
            got.until = _over_watches(b, st.value, scope, got, "until")
        case s.Checkpoint():
            best = None if st.best is None else _over_watches(b, st.best, scope, got, "best")
            every = None if st.every is None else (
                whole(b, st.every.count, scope, "how often to save"), st.every.unit)  # fmt: skip
            got.keeps.append(Keeping(every, best, st.span))
        case s.Start():
            path = _one_parameter(b, st.target, scope, "start sets")
            with b.within(frame=b.new_frame("start")):
                value = tensors.as_tensor(b, b.evaluate(st.value, scope), st.value.span)
                value = tensors.quantity(b, value, st.value.span)
                like = b.params[path].node.type
                value = shaped(b, value, like, st.value.span, st.target.span.text)
            got.starts.append(Starting(path, value, st.span))
        case s.Expect():
            b.unbuilt("expect inside train", st.span, "put it into a check block")


def _over_watches(b: Build, expr: s.Expr, scope: Scope, got: Collected, what: str) -> Node:
    """A condition over the watched values and the clocks."""
    inner = Scope(scope.parent)
    for clock in CLOCKS:
        inner.value(clock, b.make("clock", name=clock), expr.span)
    for lost in got.lost:
        inner.names[lost.name] = Binding(lost.span, poison, static=True)
    for w in got.watches:
        inner.value(w.name, b.make("clock", name=f"watch:{w.name}"), w.span)
    with b.within(frame=b.new_frame(what)):
        return tensors.as_tensor(b, b.evaluate(expr, inner), expr.span, what)


# ---- clauses -----------------------------------------------------------------------------------


def _clauses(b: Build, st: s.Train, scope: Scope, data: DataSet) -> dict[str, Any]:
    out: dict[str, Any] = dict(
        batch=100, duration=None, order="shuffled", balanced=None, dtype=None, seed=None, after=()
    )
    seen: dict[str, Span] = {}
    for c in st.clauses:
        kind = "after" if isinstance(c, s.After) else c.kind
        if kind in seen:
            b.fail(
                "E334", f"{kind} stands twice", c.span, "again", (Note(seen[kind], "first here"),)
            )
        seen[kind] = c.span
        out.update(_after(b, c, scope) if isinstance(c, s.After) else _clause(b, c, scope, data))
    if out["duration"] is None:
        b.fail("E360", f"how long is {st.name.name} trained?", st.name.span,
               remedy="for 20 epochs")  # fmt: skip
    return out


def _after(b: Build, c: s.After, scope: Scope) -> dict[str, Any]:
    names = tuple(phase_name(b, n, scope) for n in c.phases)
    for name, n in zip(names, c.phases, strict=True):
        if name not in b.phases and name in b.tried:
            raise Poisoned
        if name not in b.phases:
            hint = nearest(name, b.phases) or ""
            b.fail("E301", f"there is no earlier phase {name}", n.span, "unknown", remedy=hint)
    return {"after": names}


def _clause(b: Build, c: s.Clause, scope: Scope, data: DataSet) -> dict[str, Any]:
    match c.kind:
        case "batch":
            if isinstance(c.value, s.Name) and c.value.id == "all":
                return {"batch": None}
            return {"batch": _positive(b, c, scope, "a batch")}
        case "for":
            unit = c.unit or "epoch"
            value = static(b, c.value, scope, "how long") if c.value else 0
            if not isinstance(value, int | float) or value < 0 or (
                unit != "second" and value != int(value)):  # fmt: skip
                b.fail(
                    "E305",
                    f"the number of {unit}s must be a whole number",
                    (c.value or c).span,
                    f"is {tensors.short((c.value or c).span.text)}",
                )
            return {"duration": (int(value), "update" if unit == "step" else unit)}
        case "order":
            return _order(b, c, data)
        case "dtype":
            if c.word not in DTYPES:
                b.fail(
                    "E361",
                    f"there is no precision {c.word}",
                    word(c.span, c.word or ""),
                    "unknown",
                    remedy=nearest(c.word or "", DTYPES) or "float32 or float64",
                )
            return {"dtype": c.word}
        case "seed":
            assert c.value is not None
            return {"seed": whole(b, c.value, scope, "a seed")}
    b.unbuilt(f"the clause {c.kind}", c.span)


def _positive(b: Build, c: s.Clause, scope: Scope, what: str) -> int:
    assert c.value is not None
    value = whole(b, c.value, scope, what)
    if value < 1:
        b.fail("E305", f"{what} has at least one example", c.value.span, f"is {value}")
    return value


def _order(b: Build, c: s.Clause, data: DataSet) -> dict[str, Any]:
    """`order shuffled`, `file`, `replacement`, `balanced(label)`."""
    value = c.value
    head = value.function if isinstance(value, s.Call) else value
    name = head.id if isinstance(head, s.Name) else ""
    if name not in ORDERS:
        at = value.span if value is not None else c.span
        b.fail("E362", f"there is no order {tensors.short(at.text)}", at, "unknown",
               remedy=nearest(name, ORDERS) or "one of " + ", ".join(ORDERS))  # fmt: skip
    if name != "balanced":
        return {"order": name}
    args = value.arguments if isinstance(value, s.Call) else ()
    label = args[0].id if len(args) == 1 and isinstance(args[0], s.Name) else ""
    if label not in data.fields or data.fields[label].node.type.domain.name != "class":
        classes = [k for k, f in data.fields.items() if f.node.type.domain.name == "class"]
        b.fail("E362", "balanced takes the field that holds the class",
               args[0].span if args else c.span, "is no class",
               remedy=f"order balanced({classes[0]})" if classes else "")  # fmt: skip
    return {"order": name, "balanced": label}


def bind_phase(b: Build, st: s.Train, scope: Scope, outer: Scope) -> None:
    """Make a phase's name a value for what follows: `sse`, or `pre[0]` through a list."""
    name = phase_name(b, st.name, scope)
    old = outer.names.get(st.name.name)
    if old is not None and st.name.name not in b.phase_groups:
        notes = (Note(word(old.span, st.name.name), "first bound here"),) if old.span else ()
        outer.names[st.name.name] = Binding(st.name.span, poison, static=True)
        b.fail("E334", f"{st.name.name} is bound twice", st.name.span, "bound again", notes,
               remedy="another name for the phase")  # fmt: skip
    b.phase_groups.add(st.name.name)
    if name not in b.phases:
        outer.names[st.name.name] = Binding(st.name.span, poison, static=True)
        return
    if st.name.index is None:
        outer.value(name, PhaseValue(name), st.name.span)
        return
    group = outer.names.get(st.name.name)
    phases = group.find() if group is not None else []
    phases.append(PhaseValue(name))
    outer.value(st.name.name, phases, st.name.span)
