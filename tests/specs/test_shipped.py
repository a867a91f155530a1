"""Every shipped spec, whatever it says: read, compiled for each target, printed, run short.

The oracle of a step is the evaluator on the phase's graph before any rewrite, differentiated and
nothing more: one update in float64 must leave the same parameters, states and values. States that
are estimated before the step are taken as they are; `tests/runtime/test_estimates.py` tests them.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln
from dln.compiler.autodiff.differentiate import differentiate
from dln.compiler.ir.evaluate import evaluate
from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.verify import verify
from dln.compiler.lower.targets import TARGETS
from dln.compiler.model import Model
from dln.compiler.pipeline import compiled, recipes
from dln.compiler.plan import Plan, site_number
from dln.compiler.schema.keys import Heard, Output, ReportFold, new_param, new_state
from dln.compiler.stages import part
from dln.grammar.diagnostics import Fault
from dln.grammar.parser import parse
from dln.grammar.printer import to_text
from dln.kept.as_text import from_plain, to_plain
from dln.results.records import read
from dln.running.expectations import verdicts
from dln.runtime.device import kernels
from dln.runtime.device.device import Device, open_device
from dln.runtime.device.gpu import Gpu
from dln.runtime.device.host import Host
from dln.runtime.execution.programs import Programs
from dln.runtime.readers.read_cache import ReadCache
from dln.runtime.session import Session
from dln.runtime.training.curvature_estimates import before_step
from dln.runtime.training.phase_run import begin
from dln.spec import LIBRARIES, lecture, shipped

SPECS = [name for name in shipped() if name not in LIBRARIES]
EXAMPLES = 7
RECORDS = Path(__file__).parents[2] / "docs" / "results"


@lru_cache(maxsize=1)  # its tests stand side by side
def spec(name: str) -> dln.Spec:
    graphs.clear()
    worked_out.clear()
    return dln.load(name)


@lru_cache(maxsize=len(TARGETS) + 1)
def plan(name: str, target: str = "numpy", dtype: str | None = "float64") -> Plan:
    """The spec's plan; in double precision, so that rounding hides nothing."""
    return spec(name).compile(backend=target, dtype=dtype).plan


FILES = ReadCache()  # each file is read once
FEW = 40  # examples, also to estimate from


def opened(name: str, target: str = "numpy", device: Device | None = None) -> Session:
    """A session over the first examples of each part, where none stand whole in the spec."""
    session = Session(plan(name, target), device or Host(), 3, FILES.read)
    if not session.plan.wholes:
        session.datasets = session.datasets.limited(None, FEW)
    return session


# The classifiers of `vanishing` differ in depth only, and the larger network of `char_rnn` is the
# smaller one again, minutes long for the evaluator; the autoencoders are learned twice, from few
# images and from many.
AGAIN = {
    "vanishing": ("full[0]", "full[1]", "full[2]"),
    "char_rnn": ("full",),
    "sparse_autoencoder": ("long",),
    "stacked_autoencoder": ("one[1]", "two[1]", "soft[1]", "fine[1]"),
}


def phases(name: str) -> list[str]:
    """The phases of a spec that update something, but for those that are another's again."""
    found, again = spec(name).model.phases, AGAIN.get(name, ())
    return [p for p, phase in found.items() if phase.updates and p not in again]


@pytest.fixture(autouse=True)
def optimised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lowered for each target and precision is one graph, which is optimised once."""
    monkeypatch.setattr(compiled, "optimised", optimised)


def optimised(model: Model, outputs: Mapping[Output, Node]) -> Graph:
    key = tuple(outputs.items())
    if key not in graphs:
        graphs[key] = optimise(model, outputs)
    return graphs[key]


graphs: dict[tuple[tuple[Output, Node], ...], Graph] = {}
optimise = compiled.optimised


# ---- text and graph ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped())
def test_printed_and_read_again_it_is_the_same(name: str) -> None:
    module = parse(shipped()[name].read_text(encoding="utf-8"), name)
    assert parse(to_text(module), name) == module


@pytest.mark.parametrize("name", SPECS)
def test_the_graph_keeps_its_promises(name: str) -> None:
    verify(spec(name).model.graph, "infer")


@pytest.mark.parametrize("name", SPECS)
def test_what_is_kept_of_it_comes_back(name: str) -> None:
    """Facts, verdicts, plan and programs, by a way through text."""
    made, sources = plan(name), {s.path: s for s in spec(name).model.sources.values()}
    found = tuple(tuple(getattr(v, k) for k in v._fields) for v in verdicts(spec(name).model))
    fields = {k: getattr(made, k) for k in made._fields if k != "programs"}
    for held in (spec(name).facts, found, fields, *(made.programs[k] for k in made.programs)):
        back = from_plain(json.loads(json.dumps(to_plain(held))), sources)
        assert back == held and repr(back) == repr(held)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SPECS)
def test_every_program_compiles(name: str, target: str) -> None:
    """In the precision in which the tests below run them: NumPy's in that of the spec as well."""
    dtype = None if target == "numpy" else "float64"
    for program in plan(name, target, dtype).programs.values():
        compile(program.text, program.name, "exec")


@pytest.mark.parametrize("name", [n for n in lecture() if n not in LIBRARIES])
def test_the_record_is_of_what_the_spec_expects(name: str) -> None:
    """Each expectation has its figure, and the row of a sweep all of those of the sweep."""
    model, record = spec(name).model, read(RECORDS, name)
    assert [(f["check"], f["expect"]) for f in record.figures] == [
        (c.text, e.text) for c in model.checks for e in c.expects
    ]
    for sweep, rows in record.sweeps.items():
        wanted = [e.text for e in model.sweeps[sweep].expects]
        assert all([c["expect"] for c in r["checks"]] == wanted for r in rows), sweep


# ---- one update --------------------------------------------------------------------------------


def first_minibatch(session: Session, phase: str, n: int) -> dict[str, Any]:
    """The first examples of a phase's data, as the phase sees them."""
    ph = session.plan.phases[phase]
    found = session.datasets.limited(None, n).part(ph.data, ph.part, "float64")
    indices = session.device.array(np.arange(min(n, found.n)), "int64")
    fields = found.fields(indices, 0.0)
    return {name: session.device.to_host(fields[name]) for name in ph.fields}


def draws(seed: int) -> Any:
    """The counter-based draws of update 0, as the evaluator asks for them."""

    def draw(kind: str, site: str, shape: tuple[int, ...]) -> np.ndarray:
        out = np.empty(shape)
        getattr(kernels, kind)(out, seed, site_number(site), 0)
        return out

    return draw


def heard(session: Session, phase: str) -> dict[Heard, float]:
    """What an update hears of watches that have not reported yet: a rate is what it was."""
    program = session.programs.executable(session.plan.phases[phase].step, phase).program
    return {c: float(c.what == "plateau") for c in program.clocks if isinstance(c, ReportFold)}


def tell(session: Session, phase: str) -> None:
    """Let calls hear what only a phase that is trained hears."""
    programs, told = session.programs, heard(session, phase)
    hearing = partial(Programs.clocks, programs, reports=told)
    programs.clocks = lambda program, now=None, reports=None: hearing(program, now)  # type: ignore[method-assign]


def by_evaluator(session: Session, phase: str, fields: dict[str, Any]) -> dict[Output, Any]:
    """All outputs of a phase's first step on a minibatch, from the graph as it was built."""
    plan, model = session.plan, spec(session.plan.name).model
    recipe = recipes(model)[plan.phases[phase].step]
    host = session.device.to_host
    env: dict[tuple[str, Any], Any] = {("input", k): v for k, v in fields.items()}
    env |= {("param", k): np.array(v) for k, v in session.params.items()}
    kept, n = plan.phases[phase].kept, len(next(iter(fields.values())))
    for k, v in session.state.store.states[phase].items():
        env["state", k] = host(v)[:n] if k in kept else host(v)  # a row for each example
    env |= {("clock", k): 0.0 for k in ("epoch", "update", "progress")}
    env |= {("clock", clock): number for clock, number in heard(session, phase).items()}
    seed = session.programs.seed_of(phase)
    key = (plan.name, phase, n)
    if key in worked_out and same(worked_out[key][0], env):
        return worked_out[key][1]
    graph = differentiate(part(model, recipe.outputs))
    found = evaluate(graph, env, draw=draws(seed))
    worked_out[key] = env, {k: v for k, v in found.items() if isinstance(k, Output)}
    return worked_out[key][1]


Values = dict[tuple[str, Any], Any]
worked_out: dict[tuple[str, str, int], tuple[Values, dict[Output, Any]]] = {}


def same(one: Values, other: Values) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def left_behind(session: Session, phase: str, n: int) -> dict[Output, Any]:
    """What a step has left: new parameters, new states, values.

    States that nothing reads, as the velocity of a momentum of 0, are not kept.
    """
    host = session.device.to_host
    step = session.programs.executable(session.plan.phases[phase].step, phase)
    kept = [b.key for b in step.program.buffers if b.place == "state"]
    found = {new_param(k): np.array(v) for k, v in session.params.items()}
    found |= {new_state(k): host(session.state.store.states[phase][k]) for k in kept}
    return found | {Output("value", k): host(v) for k, v in step.at(n).values.items()}


def assert_step(session: Session, phase: str, n: int) -> None:
    """The phase's first update, on n examples, gives what the evaluator gives."""
    ph = session.plan.phases[phase]
    begin(session.state, ph)
    before_step(session.state, session.datasets, ph, {"epoch": 0.0, "update": 0.0, "progress": 0.0})
    fields = first_minibatch(session, phase, ph.batch or n if ph.order == "stream" else n)
    n = len(next(iter(fields.values())))
    wanted = by_evaluator(session, phase, fields)
    tell(session, phase)
    if ph.descent is None:
        session.step(phase, **fields)
        found = left_behind(session, phase, n)
    else:  # its step looks several times; here is the first look
        found = {Output("value", k): v for k, v in session.evaluate(ph.step, fields).items()}
    wanted = {Output(k.place, str(k.key)): v for k, v in wanted.items()}
    assert {k for k in wanted if k.place != "state"} <= found.keys()
    for name in wanted.keys() & found.keys():
        error = f"{phase} {name}"
        if name.place == "state" and name.key in ph.kept:
            found[name] = found[name][:n]
        np.testing.assert_allclose(found[name], wanted[name], 1e-9, 1e-12, err_msg=error)


def in_turn(session: Session) -> Iterator[str]:
    """The phases of a session, the parameters of each as they were first drawn."""
    first = {path: np.array(values) for path, values in session.params.items()}
    for phase in phases(session.plan.name):
        for path, values in first.items():
            session.params[path] = values
        yield phase


@pytest.mark.parametrize("name", SPECS)
def test_a_step_is_what_the_evaluator_says(name: str) -> None:
    """The program of a full batch serves a smaller one: it is laid out for the phase's batch; the
    memory is that of the larger run. The minibatches of a stream all have one window of each row.
    """
    session = opened(name)
    for phase in in_turn(session):
        assert_step(session, phase, EXAMPLES)
        if session.plan.phases[phase].order != "stream":
            assert_step(session, phase, 2)


# ---- CuPy's program, without a GPU -------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_the_cupy_program_gives_the_same(name: str, fake_cupy: Any) -> None:
    session = opened(name, "cupy", Gpu(fake_cupy()))
    for phase in in_turn(session):
        assert_step(session, phase, EXAMPLES)


@pytest.mark.gpu
@pytest.mark.parametrize("name", SPECS)
def test_the_gpu_gives_the_same(name: str) -> None:
    try:
        session = opened(name, "cupy", open_device("cupy"))
    except Fault as fault:
        pytest.skip(fault.message)
    for phase in in_turn(session):
        assert_step(session, phase, EXAMPLES)


# ---- memory ------------------------------------------------------------------------------------


@pytest.fixture
def small_buffers() -> Iterator[None]:
    """NumPy casts and broadcasts through a scratch of its own; this keeps that out of sight."""
    usual = np.setbufsize(16)
    yield
    np.setbufsize(usual)


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize(
    ("name", "phase"), [("mlp", "sse"), ("softmax", "fit"), ("vanishing", "curves")]
)
def test_a_step_allocates_nothing(name: str, phase: str) -> None:
    """Not even one number for each example."""
    session = Session(plan(name, dtype=None), Host(), 0, FILES.read)
    session.step(phase, **first_minibatch(session, phase, 600))
    executable = session.programs.executable(session.plan.phases[phase].step, phase)
    bound, clocks = executable.at(600), session.programs.clocks(executable.program)
    bound.run(*clocks)
    peaks = []
    for _ in range(3):  # what is made once and kept is not of a step
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        bound.run(*clocks)
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
        tracemalloc.stop()
    assert min(peaks) < 2000


# ---- training, short ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_every_phase_trains(name: str) -> None:
    """One epoch on a minibatch and one example more, so that the last batch is a short one."""
    session = Session(plan(name, dtype=None), Host(), 1, FILES.read)
    for phase in session.plan.phases.values():
        limit = 21 if phase.batch is None else phase.batch + 1
        result = session.train(phase.name, epochs=1, limit=limit)
        assert result.complete and all(np.isfinite(v).all() for v in result.watch.values())
        if phase.duration[0]:
            assert result.updates >= 1
