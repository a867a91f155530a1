"""dln: a step as its training loop does it, and through the verbs of Python."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

import dln
from benchmarks.comparison.work import FIRST, Array, Batch, Running, Work
from dln.compiler.plan import LOOKED
from dln.runtime.execution.executable import Executable
from dln.runtime.session import Session
from dln.runtime.training.inner_loop import looked_at
from dln.runtime.training.phase_run import begin

DEALT = False
SPECS = Path(__file__).parents[1] / "networks"

CONSTANTS = {"lstm": ("L", "H", "B", "S"), "lenet": ("B", "S")}
FIELDS = {"mlp": ("x", "label"), "lenet": ("image", "label"), "lstm": ("c", "next")}
NAMES = {
    "mlp": {"W1": "h.W", "b1": "h.b", "W2": "y.W", "b2": "y.b"},
    "autoencoder": {"W1": "h.W", "b1": "h.b", "W2": "z.W", "b2": "z.b"},
    "rbm": {"W": "W", "a": "a", "b": "b"},
    "lenet": {
        **{"C1": "c1[0].K", "c1": "c1[0].b", "C3": "c3[0].K", "c3": "c3[0].b"},
        **{f"{p}{k + 5}": f"z[{k}].{p}" for k in range(3) for p in "Wb"},
    },
}
"""Our names of the weights, below `net`, by theirs."""


def version() -> str:
    from importlib.metadata import version as of  # late: the table alone asks

    return of("dln")


def make(work: Work, variant: str, threads: int) -> Running:
    sizes: dict[str, Any] = {k: work.size(k) for k in CONSTANTS.get(work.kind, ("B",))}
    if "S" in sizes:  # as many shards as pay with two threads, not more than there may be
        sizes["S"] = min(sizes["S"], threads)
    spec = dln.load(SPECS / f"{work.kind}.dln", **sizes)
    session = spec.compile().session(seed=0)  # it chooses how many of the threads a step gets
    set_params(session, work)
    fields = [fields_of(work, b) for b in work.batches]
    if work.infer:
        run = applied(session, fields) if variant == "loop" else None
        arrays = [next(iter(f.values())) for f in fields]
        net, key = session.net, session.applied("net").program
        call = run or (lambda i: net(arrays[i]))
        chosen = threads_of(lambda: session.programs.executable(key), len(arrays[0]))
        return Running(call, lambda y: float(y.sum()), threads=chosen)
    if variant == "python":
        own = work.kind == "rbm"  # its loss is a difference of energies, which nobody else has
        step = session.phase("fit").step
        chosen = threads_of(lambda: session.programs.executable(step, "fit"), work.size("B"))
        return Running(lambda i: session.step("fit", **fields[i]), lambda y: nan if own else y,
                       threads=chosen)  # fmt: skip
    return looped(session, work, fields)


def threads_of(ready: Callable[[], Executable], n: int) -> Callable[[], int]:
    """Asks how many a program that is `ready` by then has chosen for n examples."""

    def asked() -> int:
        governor = ready().governors.get(n)
        return 1 if governor is None else governor.threads

    return asked


def fields_of(work: Work, batch: Batch) -> dict[str, Array]:
    """A minibatch by the names of its fields; time stands behind the example."""
    arrays = list(batch)
    if work.kind == "mlp":
        arrays[1] = batch[1].argmax(1)
    if work.kind == "lstm":
        arrays = [np.ascontiguousarray(a.T) for a in batch]
    return dict(zip(FIELDS.get(work.kind, ("x",)), arrays, strict=False))


def set_params(session: Session, work: Work) -> None:
    """The first weights, laid out as dln has them: [out, in], and gates along an axis of their
    own."""
    if work.kind == "lstm":
        size = work.size("H")
        for k in range(work.size("L")):
            for name, ours in (("Wx", "W"), ("Wh", "U"), ("b", "b")):
                given = work.params[f"{name}{k}"].T
                cell = session.params[f"net.cells[{k}].{ours}"]
                cell[...] = given.reshape(4, size, *given.shape[1:])
        session.params["net.z.W"][...] = work.params["Wy"].T
        session.params["net.z.b"][...] = work.params["by"]
        return
    for name, ours in NAMES[work.kind].items():
        given = work.params[name]
        layer = name.startswith("W") and work.kind != "rbm"
        session.params[f"net.{ours}"][...] = given.T if layer else given


def looped(session: Session, work: Work, fields: list[dict[str, Array]]) -> Running:
    """A step as the training loop takes it: fill in the inputs, run the program. The loss is worked
    out where somebody looks: in the first steps, whose losses are compared, and from then on as
    often as the loop looks."""
    spec = session.phase("fit")
    begin(session.state, spec)
    executable = session.programs.executable(spec.step, "fit")
    bound = executable.at(work.size("B"))
    clocks = session.programs.clocks(executable.program)
    names = list(executable.program.clocks)
    at = names.index("update") if "update" in names else None
    looked = names.index(LOOKED) if LOOKED in names else None
    each = looked_at(executable.program, work.size("B"))
    filled = [[(into, f[k]) for k, into in bound.inputs.items() if k in f] for f in fields]
    left, update = bound.values["loss"], 0
    if work.kind == "rbm":
        left = bound.values["watch:recon"]  # summed over the examples

    def call(i: int) -> Any:
        nonlocal update
        for into, values in filled[i]:
            np.copyto(into, values)
        if at is not None:
            clocks[at] = float(update)
        update += 1
        if looked is not None:
            clocks[looked] = update <= FIRST or update % each == 0
        bound.run(*clocks)
        return left

    each = work.size("B") if work.kind == "rbm" else 1
    return Running(call, lambda y: float(y) / each, threads=threads_of(lambda: executable, bound.n))


def applied(session: Session, fields: list[dict[str, Array]]) -> Any:
    """The outputs of the net as a loop over minibatches takes them."""
    first = next(iter(fields[0].values()))
    bound = session.programs.executable(session.applied("net").program).at(len(first))
    [into], [left] = bound.inputs.values(), bound.values.values()
    arrays = [next(iter(f.values())) for f in fields]

    def call(i: int) -> Any:
        np.copyto(into, arrays[i])
        bound.run()
        return left

    return call
