"""Whether a loss has a slope in what it is minimised over, found when a spec is read.

`argmax`, a comparison, `floor` and `stop` hand on no gradient. A loss that is made of them alone
trains nothing, and a run would go on without a word; so would one over a parameter of which the
loss knows nothing. A loss or an optimiser that is 0 times something is warned of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Instance, Scope
from dln.compiler.frontend.context.values import OptimiserUse
from dln.compiler.frontend.training.optimisers import Updated
from dln.compiler.frontend.training.untrained import listed_paths, names_of
from dln.compiler.ir.graph import Node, ancestors, up_to
from dln.compiler.ir.op import no_gradient, op_of
from dln.compiler.ir.structure import is_state, is_stop, is_zero_product, number
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
            _refuse_strange(b, known, named, st.loss.span)
        _refuse_flat(b, st, reached, set(over.values()), named)
    if {over[path] for path in sloped}.isdisjoint(up_to([loss], _null)):
        text, label = f"nothing is learnt over {named.text}", "is 0 times what has a slope"
        b.warn("W305", text, st.loss.span, label=label, remedy="a factor above 0")
    b.phases.sloped.update(sloped)
    if len(sloped) < len(over):
        b.phases.idle.append((named, st.loss.span, [path for path in over if path not in sloped]))


def warn_of_free(b: Build, st: s.Minimize, scope: Scope) -> None:
    """Warn of `minimize R.free(x)`: nothing holds the energy of the data from below."""
    loss = st.loss
    if isinstance(loss, s.Call) and loss.function.span.text == "log":
        value = b.evaluate(loss, scope)
        inside = value.operands[0] if isinstance(value, Node) and value.operands else None
        if inside is not None and inside.type.domain.name == "prob":
            text, remedy = (
                "the logarithm of a probability goes down without end",
                f"-{loss.span.text}",
            )
            b.warn("W307", text, loss.span, label="is held by nothing", remedy=remedy)
    if not isinstance(loss, s.Call) or not isinstance(loss.function, s.Attr):
        return
    made = b.evaluate(loss.function.body, scope) if loss.function.name == "free" else None
    if isinstance(made, Instance) and made.groups:
        of = loss.function.body.span.text
        given = ", ".join(a.span.text for a in loss.arguments)
        text = "the free energy of the data alone goes down without end"
        b.warn(
            "W307", text, loss.span, label="is held by nothing", remedy=f"cd({of}, {given}, k = 1)"
        )


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


def _null(node: Node) -> bool:
    """Whether no gradient but 0 runs through a node."""
    return _flat(node) or is_zero_product(node)


def _refuse_flat(
    b: Build, st: s.Minimize, sloped: Iterable[Node], over: set[Node], named: Span
) -> None:
    """What the loss is made of, and where its slope ends."""
    ends = [n for n in sloped if _flat(n) and n not in over and not over.isdisjoint(ancestors([n]))]
    spans = (p for n in ends for p in b.graph.spans.get(n, ()) if p.source is st.span.source)
    at = next(spans, st.loss.span)
    if not st.span.holds(at) and at.source.line(at.line).lstrip().startswith("minimize"):
        # it knows them by what another step has moved alone
        _refuse_strange(b, (), named, st.loss.span)
    stopped = all(map(is_stop, ends))
    text = f"the loss has slope 0 everywhere, so that nothing is learnt over {named.text}"
    label = "lets no gradient through" if stopped else "changes in steps, or not at all"
    fact = "such a value can be watched; cross_entropy and sums of squares have slopes"
    inner = re.fullmatch(r"stop\((.*)\)", at.text, re.DOTALL)
    remedy = broadcasting.whole_text(inner[1]) if stopped and inner else ""
    notes = (Note(named, "is meant to learn"),)
    b.fail("E375", text, at, label, notes, remedy, () if stopped else (fact,))


def _refuse_strange(b: Build, known: Iterable[Node], named: Span, loss: Span) -> None:
    """No parameter after `over` takes part in the loss."""
    paths = [path for path, p in b.owned.params.items() if p.node in known and p.trainable]
    plain = re.fullmatch(r"[-\d.^()e+ ]+|\[.*\]", loss.text)
    if plain is not None and not paths:
        text, label = "a loss depends on what is learnt", "is the same, whatever is learnt"
        b.fail("E375", text, loss, label, facts=("as in cross_entropy(net(x), label)",))
    remedy = f"over {', '.join(names_of(b, paths))}" if paths else ""
    text = f"the loss does not depend on {broadcasting.short(named.text)}"
    b.fail("E375", text, named, "is no part of it", remedy=remedy)


# ---- optimisers ----------------------------------------------------------------------------------


def warn_of_rising(b: Build, use: OptimiserUse) -> None:
    """Warn of an optimiser of the library with a rate below 0, which makes the loss larger."""
    rate = use.options.get("lr")
    value = number(rate) if isinstance(rate, Node) else rate
    ours = use.definition.syntax.span.source is not b.source
    if ours and isinstance(value, int | float) and value < 0 and "lr" in use.places:
        text, label = "the loss goes up: its gradient is followed", "is below 0"
        b.warn("W305", text, use.places["lr"], label=label, remedy=f"{-value:g}")


def warn_of_still(b: Build, use: OptimiserUse, done: Updated, grad: Node, over: Span) -> None:
    """Warn of an optimiser that moves nothing by the gradient, as one with `lr = 0`."""
    if _leads(done, grad):
        return
    zero = [name for name, value in use.options.items()
            if use.places[name].source is use.span.source and _is_zero(value)]  # fmt: skip
    at = use.places[zero[0]] if len(zero) == 1 else use.span
    why = f"{zero[0]} is 0" if len(zero) == 1 else "no gradient gets through"
    b.warn("W305", f"nothing is learnt over {over.text}", at, label=why,
           remedy="a number above 0" if len(zero) == 1 else "")  # fmt: skip


def _leads(done: Updated, grad: Node) -> bool:
    """Whether the new value depends on a gradient, also through what the optimiser keeps from
    update to update. What stands behind the gradient itself, the whole of the loss, is not asked:
    each parameter has one."""
    found, front = set[Node](), [done.value]
    while front:
        new = set[Node]()
        for node in up_to(front, is_zero_product):
            if node is grad:
                return True
            new.add(node)
        new -= found
        found |= new
        front = [done.states[n["path"]] for n in new if is_state(n) and n["path"] in done.states]
    return False


def _is_zero(value: object) -> bool:
    return (number(value) if isinstance(value, Node) else value) == 0
