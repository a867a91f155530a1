"""`batch 20 times 5`: gradients of five minibatches are gathered before parameters move.

An update stays one minibatch, as with steps that are done several times (`rounds`): four updates of
a round add their gradients to states of the phase, the fifth moves the parameters by all of them. A
mean over the minibatch counts by its examples, so that five times 20 are one minibatch of 100; a
`total` is added up. What the phase keeps, and what blocks update themselves, is of every minibatch.
"""

from __future__ import annotations

from collections.abc import Mapping

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.training import phase_clauses
from dln.compiler.frontend.training.phase_scope import PhaseBody
from dln.compiler.frontend.training.rounds import LineRun
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.sizes import BATCH_SIZE
from dln.compiler.ir.structure import is_input, is_state
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.model import Turn
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span

ALONE = "without times each minibatch moves the parameters by itself"


def begin(b: Build, got: PhaseBody, run: LineRun) -> int:
    """How many updates a round has, where a phase gathers; its lines move parameters in the last of
    them."""
    got.gathered = phase_clauses.gathered(b, got.syntax, got.around)
    if got.gathered > 1:
        run.first, run.times = got.gathered - 1, 1
    return got.gathered


def refuse_step(b: Build, st: s.Step) -> None:
    """A step sees what earlier ones have left on the same minibatch: there are several here."""
    text = "gradients of several minibatches are gathered in a phase without steps"
    b.fail("E434", text, st.name.span, "is a step", facts=(ALONE,))


def gathered(
    b: Build, got: PhaseBody, site: str, grads: Mapping[str, Node], summed: bool, span: Span
) -> dict[str, Node]:
    """The gradients of a line, by path, over all minibatches of a round, as its last update knows
    them. What is `summed` over the examples is added up, else each counts by its examples."""
    if got.gathered == 1:
        return dict(grads)
    make, found = b.at(span), dict[str, Node]()
    number = make.const(1.0) if summed else make.size(BATCH_SIZE)
    count = _added(b, got, f"{site}.gathered", number, span)
    for path, grad in grads.items():
        own = grad if summed else make.mul(number, grad)
        total = _added(b, got, f"{site}.gathered:{path}", own, span)
        found[path] = total if summed else make.div(total, count)
    return found


def _added(b: Build, got: PhaseBody, path: str, node: Node, span: Span) -> Node:
    """A value of this minibatch, added to what the minibatches of the round before have left."""
    make, like = b.at(span), TensorType(node.type.shape)
    held = make("state", path=path, type=like, asked=True)  # by the last update of a round
    total = got.gathering[path] = make.add(held, node)
    got.states[path] = got.state_init[path] = make.zeros(like) if like.shape else make.const(0.0)
    return total


def refuse_batched(b: Build, got: PhaseBody, st: s.Update, node: Node) -> None:
    """A line of `update` is done once in a round: it may depend on no minibatch."""
    if got.gathered > 1:
        held = [n for n in ancestors([node]) if is_input(n) or is_state(n)]
        if held:
            text = "an update of a phase that gathers is done once in a round, of which this is"
            text += " the last minibatch alone"
            name = held[0]["name"] if is_input(held[0]) else held[0]["path"]
            b.fail("E434", text, st.value.span, f"depends on {name}", facts=(ALONE,))


def turns(b: Build, got: PhaseBody, own: Mapping[str, Node]) -> None:
    """What an update does that only gathers, and what the last of a round does. `own` are the new
    values of what blocks update themselves."""
    assert b.frame.kept is not None
    kept, lines, objectives = b.frame.kept.after, tuple(got.lines), tuple(got.objectives)
    gathers = Turn(objectives, lines, dict(own), {**got.gathering, **kept})
    moves = Turn(objectives, lines, dict(got.updates), {**got.states, **kept})
    got.turns, got.rounds = (gathers, moves), (*[0] * (got.gathered - 1), 1)
