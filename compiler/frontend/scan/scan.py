"""`scan`: a recurrence worked out as one step, and put into the graph as one loop.

Inside a scan `x[t]` is the element of a sequence and `h[t-1]` a slot: what the step before left.
Everything else is the language as it is elsewhere. The step is worked out once, whatever the
number of steps; the nodes that depend on a slot or an element become the body of the loop.

In the one-step forms (`lm.step`) the same equations are worked out for a single step, and what is
carried comes from the memory of the frame.
"""

from __future__ import annotations

from functools import partial

from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.scan import closing, equations, nested_scan
from dln.compiler.frontend.scan.recurrences import Recurrences
from dln.compiler.frontend.scan.settling import settled
from dln.compiler.ir.graph import Node
from dln.grammar import syntax as s


def bind(b: Build, st: s.Scan, scope: Scope) -> None:
    """Bind the sequences that a scan defines: the names it writes with [t]."""
    scan = Recurrences(b, st, scope)
    for name, line in scan.lines.items():
        find = partial(sequence, scan=scan, name=name)
        equations.once(b, scope, name, line.target.span, find)


def sequence(b: Build, scan: Recurrences, name: str) -> Node:
    """The whole sequence of a name, for the frame of who asks."""
    version = b.frame.version
    if version not in scan.made:
        scan.made[version] = _sequences(b, scan)
    return scan.made[version][name]


def _sequences(b: Build, scan: Recurrences) -> dict[str, Node]:
    if b.time.stepping and not scan.inside:
        return closing.stepped(settled(b, scan))
    if scan.inside and b.time.loop is not None:
        return nested_scan.inside(b, scan, b.time.loop)
    apart = replace(b, time=replace(b.time, loop=None, stepping=False))
    return closing.closed(settled(apart, scan))[1]
