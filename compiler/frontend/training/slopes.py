"""Whether a loss has a slope in what it is minimised over, found when a spec is read.

`argmax`, a comparison, `floor` and `stop` hand on no gradient. A loss that is made of them alone
trains nothing, and a run would go on without a word; so would one over a parameter of which the
loss knows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.training.untrained import listed_paths, names_of
from dln.compiler.ir.graph import Node, ancestors, up_to
from dln.compiler.ir.op import no_gradient, op_of
from dln.compiler.ir.structure import is_stop
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Problem, Span


def check(b: Build, st: s.Minimize, loss: Node, over: Mapping[str, Node], named: Span) -> None:
    """Refuse a loss that is flat in every parameter after `over`, or knows none of them; remember
    in which it has a slope."""
    reached = set(up_to([loss], _flat))
    sloped = [path for path, node in over.items() if node in reached]
    if not sloped:
        known = set(ancestors([loss]))
        if known.isdisjoint(over.values()):
            _refuse_strange(b, known, named)
        _refuse_flat(b, st, reached, set(over.values()), named)
    b.phases.sloped.update(sloped)
    if len(sloped) < len(over):
        b.phases.idle.append((named, st.loss.span, [path for path in over if path not in sloped]))


def warnings(b: Build) -> Iterator[Problem]:
    """Parameters that stand after an `over`, and in which no loss of any phase has a slope."""
    for named, loss, paths in b.phases.idle:
        if left := [path for path in paths if path not in b.phases.sloped]:
            b.phases.sloped.update(left)  # said once
            text = f"no loss has a slope in {listed_paths(left)}, though it is minimised over them"
            label, notes = "are not learnt", (Note(loss, "is the same whatever they are"),)
            yield Problem("W302", text, named, label, notes, word="warning")


def _flat(node: Node) -> bool:
    """Whether no gradient runs through a node to its operands."""
    return node.type.kind != "real" or is_stop(node) or op_of(node).gradient is no_gradient


def _refuse_flat(
    b: Build, st: s.Minimize, sloped: Iterable[Node], over: set[Node], named: Span
) -> None:
    """What the loss is made of, and where its slope ends."""
    ends = [n for n in sloped if _flat(n) and n not in over and not over.isdisjoint(ancestors([n]))]
    spans = (p for n in ends for p in b.graph.spans.get(n, ()) if p.source is st.span.source)
    at = next(spans, st.loss.span)
    stopped = all(map(is_stop, ends))
    text = f"the loss has slope 0 everywhere, so that nothing is learnt over {named.text}"
    label = "lets no gradient through" if stopped else "changes in steps, or not at all"
    fact = "such a value can be watched; cross_entropy and sums of squares have slopes"
    inner = re.fullmatch(r"stop\((.*)\)", at.text, re.DOTALL)
    remedy = broadcasting.whole_text(inner[1]) if stopped and inner else ""
    notes = (Note(named, "is meant to learn"),)
    b.fail("E375", text, at, label, notes, remedy, () if stopped else (fact,))


def _refuse_strange(b: Build, known: Iterable[Node], named: Span) -> None:
    """No parameter after `over` takes part in the loss."""
    paths = [path for path, p in b.owned.params.items() if p.node in known and p.trainable]
    remedy = f"over {', '.join(names_of(b, paths))}" if paths else ""
    text = f"the loss does not depend on {broadcasting.short(named.text)}"
    b.fail("E375", text, named, "is no part of it", remedy=remedy)
