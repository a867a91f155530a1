"""A value inside of an instance as an instance of its own: `instance="net.h"`.

It is a block that is written behind the text of the spec, applies the instance and gives that value
of it; parameters are those of the instance. Faults: E591 where there is no such value, or one that
runs over time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dln.compiler.frontend.build import build
from dln.compiler.frontend.tracing.applied import Trace, TracedCall
from dln.compiler.plan import Plan
from dln.grammar.diagnostics import DlnError, Source, nearest
from dln.sklearn.columns import refuse
from dln.spec import Spec

NAME = "value_inside"
"""What the instance is called, with as many marks behind it as no spec has."""


def outer(plan: Plan, named: str) -> str:
    """The instance that can be called in which a name with dots lies; nothing where it is none."""
    found = [path for path in plan.applied if re.match(re.escape(path) + r"\.\w", named)]
    return "" if named in plan.applied or named in plan.refused else max(found, key=len, default="")


def extended(spec: Spec, plan: Plan, named: str) -> tuple[str, Source]:
    """The name of an instance that gives what is `named` inside of another, and the spec with it.
    Raises `DlnError` E591."""
    root, text = outer(plan, named), spec.source.text
    ports = plan.applied[root].ports
    if len(ports) != 1 or ports[0].timed:
        what = "takes a sequence" if ports[0].timed else f"takes {len(ports)} fields"
        refuse(f"of an instance that {what}, {root}, no value inside is given", None, "",
               f"a result of its block, and instance={root!r}")  # fmt: skip
    name = NAME
    while name in text:
        name += "_"
    value = _value(spec, named)
    sizes = ", ".join(map(str, ports[0].shape))
    port = f"x[{sizes}]" if sizes else "x"
    given = f"zeros({sizes})" if sizes else "0"
    lines = (f"block {name}_of({port}) -> given[many] {{",
             f"  whole = {root}(x)", f"  given = flatten({value})", "}",
             f"let {name} = {name}_of()",
             f"task {name}_sizes() {{", f"  emit {name}({given})", "}")  # fmt: skip
    behind = "\n".join(("", *lines, ""))
    return name, Source(spec.source.path, text + behind)


def told(error: DlnError, spec: Spec, named: str) -> None:
    """Raise `DlnError` E591 where what is wrong stands behind the text of the spec."""
    end = len(spec.source.text)
    for problem in error.problems:
        if problem.span is not None and problem.span.start >= end:
            last = named.rpartition(".")[2]
            listed = next((f for f in problem.facts if f.startswith("one of ")), "")
            near = nearest(last, listed.removeprefix("one of ").split(", ")) or listed
            refuse(f"{named} gives no codes: {problem.message}", None, "",
                   near or problem.remedy)  # fmt: skip


def _value(spec: Spec, named: str) -> str:
    """A value as the language names it: that of an inner instance is its result."""
    trace = Trace()
    build(spec.source, spec.syntax, spec.outside(trace))
    calls = [c for c in _every(trace.found) if c.made is not None]
    above, _, last = named.rpartition(".")
    if any(c.path == above and last in c.values for c in calls):
        return named  # an equation's own
    for _ in range(8):  # the last part of a chain, which may be one
        results = next((list(c.results) for c in calls if c.path == named), [])
        if len(results) == 1:
            return f"{named}.{results[0]}"
        inner = (re.fullmatch(re.escape(named) + r"(\[\d+\]).*", c.path) for c in calls)
        parts = sorted({m[1] for m in inner if m}, key=lambda s: int(s[1:-1]))
        if not parts:
            break
        named += parts[-1]
    return named


def _every(calls: list[TracedCall]) -> Iterator[TracedCall]:
    for call in calls:
        yield call
        yield from _every(call.inside)
