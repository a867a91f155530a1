"""Steps that are done several times, `step critic 5 times { ... }`, as a round of updates.

An update is one minibatch, here as everywhere. A step is done for the first time on the minibatch
at hand, each further time on the next one, and the steps behind it go on from there. So a round is
a few updates of which each does some of the steps: its turn. What a turn does follows from the
steps worked out one after another; of those that it leaves out no parameter has moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.frame import Frame
from dln.compiler.frontend.context.static_values import positive
from dln.compiler.frontend.scan.equations import substituted
from dln.compiler.frontend.training.phase_scope import MOST_ROUND, PhaseBody, Statement
from dln.compiler.ir.graph import Node
from dln.compiler.model import Minimizing, Turn, remap
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Span
from dln.grammar.record import bundle, field


@bundle()
class LineRun:
    """Lines that are worked out together: those of a step, or those of the phase between two.

    It is done `times` in a round, the first time in its update number `first`. `moved` are the
    parameters that it moves, each with its new value, what it held before, and what stands for it
    in later steps; `states` and `lines_made` what else it adds to an update.
    """

    site: str
    lines: list[Statement] = field(default_factory=list)
    times: int = 1
    step: s.Step | None = None
    first: int = 0
    moved: dict[str, tuple[Node, Node | None, Node]] = field(default_factory=dict)
    states: dict[str, Node] = field(default_factory=dict)
    made: range = range(0)

    def done_in(self, update: int) -> bool:
        """Whether it is done in an update of the round."""
        return self.first <= update < self.first + self.times


@bundle(frozen=True)
class LinePlace:
    """Where a line stands: the site of its optimiser's states, its run, and how many updates a
    round has."""

    site: str
    run: LineRun
    length: int

    def count(self, b: Build, span: Span) -> Node:
        """How often the line has been done, from 1: of a step that not every update does, its own
        count."""
        make, run = b.at(span), self.run
        update = make("clock", name="update")
        if run.times == self.length:
            return make.add(update, make.const(1.0))
        length, times = make.const(float(self.length)), make.const(float(run.times))
        whole = make("floor", make.div(update, length))  # rounds that are over
        within = make("sub", update, make.mul(length, whole))
        own = make("sub", within, make.const(float(run.first - 1)))
        return make.add(make.mul(times, whole), own)


def times(b: Build, st: s.Step, scope: Scope, got: PhaseBody) -> int:
    """How often a step is done in a round."""
    if st.times is None:
        return 1
    text = "a step is done at least once"
    count = positive(b, st.times, scope, "how often a step is done", text, MOST_ROUND)
    if got.rows is not None and count > 1:
        message = "a stream goes on from window to window, and no step may leave one out"
        b.fail("E422", message, st.times.span, "so that the other steps would",
               remedy="batch in place of stream")  # fmt: skip
    return count


def placed(b: Build, runs: Sequence[LineRun]) -> int:
    """How many updates a round has, each run having its place in it. What stands outside of steps
    is of every update."""
    at = 0
    for run in runs:
        run.first = at
        at += run.times - 1
    for run in runs if at else ():
        if run.step is None:
            run.first, run.times = 0, at + 1
            for st, _ in run.lines:
                _refuse_bare(b, st)
    return at + 1


def _refuse_bare(b: Build, st: s.Item | s.Stmt) -> None:
    """A line that moves parameters beside steps of which one is done several times."""
    if isinstance(st, s.Minimize | s.Update):
        text = "how often this is done is not said, beside a step that is done several times"
        with b.collecting():
            b.fail(
                "E422",
                text,
                st.span,
                "stands in no step",
                facts=("in a step of its own, step rest { ... }, it is done once in a round",),
            )


@contextmanager
def noted(run: LineRun, frame: Frame, got: PhaseBody) -> Iterator[None]:
    """Note what a run adds to an update while it is worked out."""
    assert frame.kept is not None
    params, states, kept = dict(frame.params), set(got.states), set(frame.kept.after)
    lines = len(got.lines)
    yield
    run.made = range(lines, len(got.lines))
    run.states = {k: v for k, v in got.states.items() if k not in states}
    run.states |= {k: v for k, v in frame.kept.after.items() if k not in kept}
    for path, node in frame.params.items():
        if params.get(path) is not node:
            run.moved[path] = (node.operands[0], params.get(path), node)


def turns(
    b: Build, got: PhaseBody, runs: Sequence[LineRun], length: int
) -> tuple[tuple[Turn, ...], tuple[int, ...]]:
    """What the updates of a round do, each turn once, and which is which."""
    found = dict[tuple[LineRun, ...], int]()
    numbers = []
    for update in range(length):
        done = tuple(run for run in runs if run.lines and run.done_in(update))
        numbers.append(found.setdefault(done, len(found)))
    return tuple(_turn(b, got, runs, done) for done in found), tuple(numbers)


def _turn(b: Build, got: PhaseBody, runs: Sequence[LineRun], done: Sequence[LineRun]) -> Turn:
    """What some of the runs do. Where another one stands before them, its parameters are as they
    were."""
    still = dict[Node, Node]()
    for run in runs:
        if run not in done:
            for path, (_, before, after) in run.moved.items():
                held = b.owned.params[path].node if before is None else before
                still[after] = still.get(held, held)
    updates, states, lines = dict[str, Node](), dict[str, Node](), list[Minimizing]()
    for run in done:
        updates |= {path: new for path, (new, _, _) in run.moved.items()}
        states |= run.states
        lines += got.lines[run.made.start : run.made.stop]
    known = range(len(got.objectives))  # one that was refused has none
    objectives = tuple(got.objectives[i] for run in done for i in run.made if i in known)
    to = partial(substituted, b, to=still) if still else lambda node: node
    made: Turn = remap(Turn(objectives, tuple(lines), updates, states), to)
    return made
