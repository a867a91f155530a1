"""Module to model: `build(module, ...)`. Names are bound, blocks expanded, phases laid out.

The items of a file are bound first and worked out when they are asked for, so their order does not
matter; then data, phases, tasks, sweeps and checks are read in the order of the file. Every
independent problem is reported, not the first alone.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Mapping, Sequence

from dln.compiler.frontend import alike, extents, rehearsal, unread
from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Built, Naming, Scope
from dln.compiler.frontend.context.frame import Frame
from dln.compiler.frontend.context.outside import Outside
from dln.compiler.frontend.context.place import OF_SIZES, Enough
from dln.compiler.frontend.context.static_values import lookup, rounds, word
from dln.compiler.frontend.data import measures, tables
from dln.compiler.frontend.definitions import Files, bind_items
from dln.compiler.frontend.expressions import calls, indexing, operators
from dln.compiler.frontend.python_functions import functions as as_functions
from dln.compiler.frontend.results import checks, tasks
from dln.compiler.frontend.scan.binders import BINDERS
from dln.compiler.frontend.training import phases, slopes, untrained
from dln.compiler.model import Functions, Model, Sweeping, Tasking
from dln.grammar import syntax as s
from dln.grammar.diagnostics import CHOICES, DlnError, Problem, Source, nearest

DEEPEST_STACK = 6000  # room for 200 calls within each other, each of a dozen frames


def build(source: Source, module: s.Module, outside: Outside) -> Model:
    """The model of a parsed spec. Raises DlnError with every problem found."""
    rules = {**operators.RULES, **calls.RULES, **indexing.RULES}
    built = Built(
        source=source, outside=outside, rules=rules, binders=BINDERS, sources={source.path: source}
    )
    b = Build(built=built, frame=Frame(0), naming=Naming())
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, DEEPEST_STACK))
    try:
        return _build(b, module)
    finally:
        sys.setrecursionlimit(limit)


def _build(b: Build, module: s.Module) -> Model:
    files, scope = Files(b), Scope(None)
    with contextlib.suppress(Enough):
        scope = files.open(b.source, module, [])
        _work_out(b, module, scope)
    b.problems.found = b.built.missing.told(b.problems.found)
    if all(p.code in OF_SIZES for p in b.problems.found):
        rehearsal.rehearse(b, files)
        b.problems.found = b.built.missing.told(b.problems.found)
    if b.problems.found:
        from dln.grammar.idioms import teaching  # late: most specs are right

        b.problems.found = teaching.taught(b.problems.found, frozenset(scope.visible()))
    b.problems.raise_if_any()
    b.built.warnings += unread.warnings(module, [m for _, m, _ in files.opened if m is not module])
    return _model(b, as_functions(b, scope) if b.outside.functions else Functions())


def _work_out(b: Build, module: s.Module, scope: Scope) -> None:
    """All that a spec says, as far as it can be worked out; what cannot be is collected."""
    declarations = list(_unrolled(b, module.items, scope))
    for name, binding in list(scope.names.items()):  # every definition once, used or not
        with b.collecting():
            if binding.span is not None and binding.span.source is b.source:
                lookup(b, name, binding.span, scope)
    _in_order(b, declarations, scope)
    tables.fill(b, _learned(b))
    _initial_values(b)
    if not b.problems.found:
        extents.bounded(b)
    _unused(b, module.items)


def _unrolled(
    b: Build, items: Iterable[s.Item | s.Stmt], scope: Scope, turn: str = ""
) -> Iterable[tuple[s.Item | s.Stmt, Scope]]:
    """The items with their scopes, `for` worked out."""
    for item in items:
        if isinstance(item, s.For):
            with b.collecting():
                for used in (x for x in item.body if isinstance(x, s.Use)):
                    b.fail("E374", "use stands at the top of a file, not in a for", used.span)
                for inner in rounds(b, item, scope):
                    number = turn + inner.path[len(scope.path) :]
                    bind_items(b, item.body, inner, number)
                    yield from _unrolled(b, item.body, inner, number)
        else:
            yield item, scope


def _in_order(b: Build, items: Sequence[tuple[s.Item | s.Stmt, Scope]], scope: Scope) -> None:
    """Phases first, which everything else may ask; each in the order of the file."""
    built = b.built
    for item, where in items:
        if isinstance(item, s.Train):
            with b.collecting():
                phases.train(b, item, where)
            with b.collecting():
                phases.bind_phase(b, item, where, scope)
    for item, where in items:
        with b.collecting():
            match item:
                case s.Task():
                    _once_named(b, item, built.tasks)
                    built.tasks[item.name] = tasks.task(b, item, where)
                case s.Sweep():
                    _once_named(b, item, built.sweeps)
                    built.sweeps[item.name] = checks.sweep(b, item, where)
                case s.Check():
                    built.checks.append(checks.check(b, item, where, len(built.checks)))
                case s.Train():
                    built.checks += checks.of_phase(b, item, where, len(built.checks))


def _once_named(b: Build, item: s.Task | s.Sweep, found: Mapping[str, Tasking | Sweeping]) -> None:
    if item.name in found:
        first = word(found[item.name].span, item.name)
        b.refuse_again(f"{item.name} stands twice", word(item.span, item.name), first)


def _initial_values(b: Build) -> None:
    """The first values of all parameters, now that every size is known."""
    for conflict in b.sizes.settle():  # sizes that no whole numbers solve
        with b.collecting():
            assert conflict.said is not None
            conflict.said(conflict)
    while b.owned.inits:
        with b.collecting():
            b.owned.inits.pop(0)(b)
    for required in b.owned.requirements:
        with b.collecting():
            required()
    for path, p in b.owned.params.items():
        loose = [x for x in p.node.type.shape if b.number(x) is None]
        if loose and not b.problems.found:
            with b.collecting():
                text = f"the size {loose[0]} of {path} is never fixed"
                at = b.owned.owners[path].span
                b.fail("E336", text, at, "no equation says how large it is")


def _unused(b: Build, items: Sequence[s.Item | s.Stmt]) -> None:
    """What was given from outside and meant nothing is an error, with the nearest name."""
    lets = {x.name: x for x in items if isinstance(x, s.Let)}
    for name in b.outside.constants:
        if (let := lets.get(name)) is not None:
            text, value = f"{name} is a let: from outside a const is set", let.value.span.text
            remedy = f"const {name} = {broadcasting.whole_text(value)}"
            at = word(let.span, name)
            b.problems.add(DlnError([Problem("E383", text, at, "no constant", remedy=remedy)]))
        elif name not in b.built.used:
            names = b.built.constants
            hint = nearest(name, names) or (CHOICES + ", ".join(names) if len(names) > 1 else "")
            facts = () if hint else (f"it has {', '.join(names) or 'none: const n = 3 makes one'}",)
            text = f"the spec has no constant {name}"
            b.problems.add(DlnError([Problem("E383", text, None, facts=facts, remedy=hint)]))
    for name in b.outside.data_paths:
        if name not in b.data.given:
            text, known = f"the spec uses no data set {name}", list(b.data.sets)
            hint = nearest(name, known) or ""
            facts = () if hint else (f"it uses {', '.join(known) or 'none'}",)
            b.problems.add(DlnError([Problem("E383", text, None, facts=facts, remedy=hint)]))


# ---- the model ---------------------------------------------------------------------------------


def _learned(b: Build) -> list[tuple[str, str]]:
    """The set and the part that each phase learns from which learns, in the order of the spec."""
    return [(ph.on.data, ph.on.part) for ph in b.phases.made.values() if ph.updates]


def _model(b: Build, functions: Functions) -> Model:
    stated = [c for c in b.built.checks if not c.phase]
    asked = {p for c in stated if not c.slow for e in c.expects for p in e.phases}
    slowly = {p for c in stated if c.slow for e in c.expects for p in e.phases} - asked
    shown = {p for t in b.built.tasks.values() for p in t.after}
    for name in reversed(list(b.phases.made)):  # what comes before no others is as slow as they
        later = {other for other, phase in b.phases.made.items() if name in phase.after}
        if later and later <= slowly and name not in asked | shown:
            slowly.add(name)
    for name in slowly:
        b.phases.made[name] = b.phases.made[name].changed(slow=True)
    made = (c.changed(slow=b.phases.made[c.phase].slow) if c.phase else c for c in b.built.checks)
    own = {p: v for p, v in b.owned.params.items() if not v.checks}
    return Model(
        source=b.source,
        sources=b.built.sources,
        graph=b.graph,
        constants=dict(b.built.constants),
        params={**own, **{p: v for p, v in b.owned.params.items() if p not in own}},
        data=measures.learned_from(b.data.sets, _learned(b)),
        phases=b.phases.made,
        probes=b.phases.probes,
        checks=tuple(made),
        tasks=b.built.tasks,
        sweeps=b.built.sweeps,
        functions=functions,
        notes=tuple(b.built.notes),
        sizes=b.sizes,
        warnings=(
            *b.built.warnings,
            *slopes.warnings(b),
            *untrained.warnings(b),
            *alike.warnings(b),
        ),
        drawings=tuple(b.built.drawings.values()),
    )
