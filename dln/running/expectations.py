"""`check` blocks: what is expected against what was found.

An expectation that needs no phase is worked out at once, by the evaluator in float64. One that
needs a phase is worked out from what the session kept of it; a check that was not reached is
reported as not run, never as passed. Where all sides are constants nothing is evaluated, so that
`dln check` need not load NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from dln.compiler.ir import structure
from dln.compiler.ir.graph import Graph, K, Node, ancestors
from dln.compiler.ir.sizes import BATCH, Size, Var
from dln.compiler.model import Checking, Expectation, Model, Probe
from dln.compiler.schema.keys import PhaseNumber, ProbeInput, WholeField, new_state
from dln.compiler.schema.tables import COMPARISONS
from dln.grammar.diagnostics import Fault
from dln.running.verdict import Verdict

if TYPE_CHECKING:
    from dln.runtime.session import Session


LEAVES = (
    ("clock", structure.is_clock, "name"), ("input", structure.is_input, "name"),
    ("param", structure.is_param, "path"), ("whole", structure.is_full_data, "name"),
)  # fmt: skip
"""What the evaluator is told the values of: the kind, which nodes, what tells them apart."""

Known = dict[tuple[str, Hashable], Any]


def sides(e: Expectation) -> dict[str, Node]:
    """What an expectation compares: `left`, `right` and perhaps `within`."""
    found = {"left": e.left, "right": e.right}
    return found if e.within is None else {**found, "within": e.within}


def found_of(
    e: Expectation, title: str, status: str, reason: str = "", left: Any = None, right: Any = None,
    within: float | None = None,
) -> Verdict:  # fmt: skip
    """The verdict on an expectation, with the plain values of its sides."""
    return Verdict(title, e.text, status, left, right, within, reason, e.op, e.span, e.phases)


def waiting(title: str, e: Expectation, reason: str) -> Verdict:
    """An expectation that was not reached: what is expected, as far as constants say."""
    known = {k: plain(n["value"]) for k, n in sides(e).items()
             if k != "left" and structure.is_const(n)}  # fmt: skip
    return found_of(e, title, "not run", reason, None, **known)


def known_of(nodes: Iterable[Node], **value: Callable[[Node], Any]) -> Known:
    """The values of the leaves below some nodes, of each kind by a function of its own."""
    return {(kind, node[key]): value[kind](node) for node in ancestors(nodes)
            for kind, belongs, key in LEAVES if kind in value and belongs(node)}  # fmt: skip


def verdicts(
    model: Model, session: Session | None = None, *, slow: bool = True, seed: int = 0
) -> list[Verdict]:
    """Every expectation of a model, as far as the session's phases allow."""
    worker = Worker(model, session, seed)
    return [worker.verdict(c, e, slow) for c in model.checks for e in c.expects]


class Worker:
    """Evaluates the sides of expectations, each phase's snapshots at hand."""

    def __init__(self, model: Model, session: Session | None, seed: int) -> None:
        self.model, self.session, self.seed = model, session, seed
        self.probed: dict[ProbeInput, Any] = {}
        self.first: dict[str, Any] = {}

    def verdict(self, check: Checking, e: Expectation, slow: bool = True) -> Verdict:
        """One expectation, or why it was not run."""
        if reason := self.missing(check, e, slow):
            return waiting(check.text, e, reason)
        try:
            found = {k: plain(v) for k, v in self.values(sides(e)).items()}
        except Fault as fault:
            return found_of(e, check.text, "failed", fault.message)
        return found_of(e, check.text, "passed" if holds(e.op, **found) else "failed", **found)

    def missing(self, check: Checking, e: Expectation, slow: bool) -> str:
        """Why an expectation cannot be tested now, or nothing."""
        if check.slow and e.phases and not slow:
            return "slow: needs --slow"
        for phase in e.phases:
            result = None if self.session is None else self.session.results.get(phase)
            if result is None or not result.complete:
                return f"the phase {phase} was not run"
            if result.shortened:
                return f"the phase {phase} was shortened"
        names = [n["name"] for n in ancestors(sides(e).values()) if structure.is_input(n)]
        for probe in (self.model.probes[name] for name in names if name in self.model.probes):
            if self.unkept(probe):
                return f"{probe.phase} was trained before this was asked of it: train it anew"
        phases = [self.model.phases[p] for p in e.phases if p in self.model.phases]
        seen = [n for p in phases for n in (*p.updates.values(), *(w.value for w in p.watches))]
        wholes = [n for n in ancestors([e.left, e.right, *seen]) if structure.is_full_data(n)]
        if wholes and self.session is None:
            return "needs the data: dln run"
        if any(self.cut(node) for node in wholes):
            return "the data were limited"
        return ""

    def unkept(self, probe: Probe) -> bool:
        """Whether what it stands on is not known, as in a run that an earlier text began."""
        if self.session is None:
            return False
        result = self.session.results[probe.phase]
        params = result.before if probe.when == "before" else result.after
        return any(
            structure.is_param(node) and not params or structure.is_input(node) and not result.first
            for node in ancestors([probe.node])
        )

    def cut(self, whole: Node) -> bool:
        """Whether a field of a whole part has fewer examples than the part."""
        field: WholeField = whole["name"]
        return whole.type.shape[0].constant < self.model.data[field.data].parts[field.part].count

    # ---- values --------------------------------------------------------------------------------

    def values(self, nodes: Mapping[str, Node]) -> dict[str, Any]:
        """The values of nodes over constants, clocks, probes and parameters, in float64."""
        if all(map(structure.is_const, nodes.values())):
            return {name: node["value"] for name, node in nodes.items()}
        self.begin(nodes.values())
        env = known_of(nodes.values(), clock=self.clock, input=self.probe, param=self.param,
                       whole=self.whole)  # fmt: skip
        return evaluate(self.model, nodes, env, self.seed, most=self.most)

    @property
    def most(self) -> tuple[int, int]:
        """What may be worked out: of a check that trains nothing, what takes a moment."""
        return QUICK if self.session is None else LONG

    def clock(self, node: Node) -> float:
        """A number that a finished phase left behind."""
        from dln.runtime.execution.phase_result import number_of  # late: NumPy

        return number_of({} if self.session is None else self.session.results, node["name"])

    def whole(self, node: Node) -> Any:
        """A field of a whole part, as the session has it."""
        assert self.session is not None
        rows = node.type.shape[0].constant
        datasets, to_host = self.session.datasets, self.session.device.to_host
        return to_host(datasets.whole(node["name"], rows, "float64"))

    def param(self, node: Node) -> Any:
        """A parameter of the session; of a check's own instance, its first value. Raises `Fault`
        where that is not known."""
        path = node["path"]
        if self.trained(path):
            assert self.session is not None
            return self.session.params[path]
        if path not in self.first:
            raise Fault(f"{path} has no first value")
        return self.first[path]

    def trained(self, path: str) -> bool:
        """Whether a parameter is one of the session."""
        return self.session is not None and path in self.session.plan.params

    def begin(self, nodes: Iterable[Node]) -> None:
        """Work out the first values of the parameters below some nodes: all together, or one by
        one where that would take too much. Raises `Fault` where one does."""
        asked = [n["path"] for n in ancestors(nodes) if structure.is_param(n)]
        inits = {p: self.model.params[p].init for p in asked
                 if p not in self.first and not self.trained(p)}  # fmt: skip
        known = {p: init for p, init in inits.items() if init is not None}
        try:
            self.first |= evaluate(self.model, known, {}, self.seed, most=self.most)
        except Fault:
            for p, init in known.items():
                self.first |= evaluate(self.model, {p: init}, {}, self.seed, most=self.most)

    def probe(self, node: Node) -> Any:
        """A value asked of a phase: on its first minibatch, with the parameters of then. Raises
        `Fault` for data, which a check does not have."""
        name, asked = node["name"], self.model.probes.get(node["name"])
        if asked is None:
            remedy = "ask a phase: first.after(...)"
            raise Fault(f"{name} is data, which a check does not have", remedy)
        if name not in self.probed:
            self.probe_all(asked.phase, asked.when)
        return self.probed[name]

    def probe_all(self, phase: str, when: str) -> None:
        """Every value asked of a phase at one time, worked out together: they share work."""
        asked = {
            k: p.node for k, p in self.model.probes.items() if (p.phase, p.when) == (phase, when)
        }
        assert self.session is not None
        result = self.session.results[phase]
        params = (result.before if when == "before" else result.after) or {}
        n = next((len(a) for a in (result.first or {}).values()), 0)
        env: Known = {("param", k): v for k, v in params.items()}
        for path in self.model.phases[phase].kept:  # rows beside the first minibatch
            if (rows := params.get(str(new_state(path)))) is not None:
                env["state", path] = rows[: n or None]
        env |= {("input", k): v for k, v in (result.first or {}).items()}

        def clock(node: Node) -> float:
            return self.clock(node) if isinstance(node["name"], PhaseNumber) else 0.0

        env |= known_of(asked.values(), clock=clock, whole=self.whole)
        own_seed = self.model.phases[phase].seed
        seed = self.seed if own_seed is None else own_seed
        self.probed |= evaluate(self.model, asked, env, seed, {BATCH: n} if n else {})


QUICK, LONG = (1_000_000, 1 << 26), (50_000_000, 1 << 29)
"""The operations that the evaluator carries out one by one at most, some microseconds each, and the
numbers that it keeps at most, of 8 bytes."""


def evaluate(
    model: Model, nodes: Mapping[K, Node], env: Known, seed: int,
    sizes: Mapping[Var, int] | None = None, most: tuple[int, int] | None = None,
) -> dict[K, Any]:  # fmt: skip
    """Nodes through the graph passes (stable forms, gradients written out), then the evaluator.
    `sizes` are those that no value may be left to tell."""
    import numpy as np  # late: NumPy

    from dln.compiler.ir.evaluate import evaluate as run  # late: NumPy
    from dln.compiler.stages import BEFORE, STAGES, optimise, part  # late: seldom asked

    graph = part(model, nodes)
    symbolic = any(map(structure.is_derivative, graph.topological()))
    graph = optimise(graph, STAGES if symbolic else BEFORE)
    affordable(graph, sizes or {}, *(LONG if most is None else most))
    with np.errstate(all="ignore"):  # the verdict says what is not a number
        outputs = {name: graph.outputs[name] for name in nodes}
        found = run(outputs, env, sizes=sizes, draw=partial(_drawn, seed))
    return {name: found[name] for name in nodes}


def affordable(graph: Graph, sizes: Mapping[Var, int], calls: int, numbers: int) -> None:
    """Raise `Fault` for what takes more operations or numbers, before any is worked out."""

    def number(size: Size) -> int:
        return size.constant + sum(times * sizes.get(v, 1) for v, times in size.terms)

    done = kept = 0
    for node in graph.topological():
        steps, inner = 1, [node]
        if structure.is_scan(node):
            steps, inner = number(node["body"].length), list(node["body"].graph.topological())
        done += steps * len(inner)
        kept += steps * sum(prod(map(number, each.type.shape)) for each in inner)
    if done > calls or kept > numbers:
        what = f"{done:.3g} operations" if done > calls else f"{kept:.3g} numbers"
        most = f"{calls:.3g}" if done > calls else f"{numbers:.3g}"
        raise Fault(f"it would take {what} to work this out, where a check may take {most}")


def _drawn(seed: int, kind: str, site: str, shape: tuple[int, ...]) -> Any:
    """The counter-based draws of update 0."""
    import numpy as np  # late: NumPy

    from dln.compiler.plan import site_number  # late: few checks draw
    from dln.runtime.device import kernels  # late: NumPy

    out = np.empty(shape)
    getattr(kernels, kind)(out, seed, site_number(site), 0)
    return out


def holds(op: str, left: Any, right: Any, within: Any = None) -> bool:
    """Whether two plain values compare as expected, element by element; a number goes with all.

    >>> holds("==", [1.0, 2.0], [1.0, 2.5], 0.5), holds("<", [1, 2], 2)
    (True, False)
    """
    pairs = list(_paired(left, right))
    if within is not None:
        return all(abs(a - b) <= within for a, b in pairs)
    return all(COMPARISONS[op][1](a, b) for a, b in pairs)


def _paired(left: Any, right: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(left, list) and not isinstance(right, list):
        yield left, right
        return
    lefts = left if isinstance(left, list) else [left] * len(right)
    rights = right if isinstance(right, list) else [right] * len(left)
    for a, b in zip(lefts, rights, strict=True):
        yield from _paired(a, b)


def plain(value: Any) -> Any:
    """A value as plain data: a number, or nested lists."""
    items = value.tolist() if hasattr(value, "tolist") else value
    return [plain(v) for v in items] if isinstance(items, list | tuple) else items
