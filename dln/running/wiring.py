"""What ranks would cost a run, for people and as data: `dln plan SPEC --mpi 8`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from dln.compiler.schema.quantities import said
from dln.grammar.diagnostics import Fault
from dln.printing.terminal import columns, plural
from dln.runtime.device.device import open_device
from dln.runtime.device.limits import limits
from dln.runtime.training.phase_run import refuse_uncut
from dln.runtime.wire import Link, Wire, wires
from dln.settings import Settings
from dln.spec import Compiled, Spec

USUAL = Link(10e-6, 10e9)


def divided(spec: Spec, given: Settings, ranks: int) -> Settings:
    """The settings of a plan for so many ranks: where nobody says how many shards a minibatch has,
    one for each rank."""
    fixed = given.shards or any(phase.shards for phase in spec.facts.phases.values())
    return given if fixed else replace(given, shards=ranks)


def foreseen(made: Compiled, ranks: int, link: Link) -> list[Wire]:
    """What each phase costs in ranks. Raises `Fault` E640 where no phase has shards, `DlnError`
    E437 where none can be cut into them."""
    dtype = made.plan.dtype
    found = list(wires(made.plan, ranks, link, limits(open_device("numpy"), dtype)))
    if found:
        return found
    refuse_uncut(made.plan, made.plan.phases)
    if not made.plan.phases:
        message = f"{made.spec.name} trains nothing that ranks could share"
        raise Fault(message, "leave out --mpi", "E640")
    message = f"{made.spec.name} has no phase whose minibatches are summed in shards"
    if ranks == 1:
        raise Fault(f"{message}, and one rank has nobody to share them with", "--mpi 2", "E640")
    raise Fault(message, f"--shards {ranks}", "E640")


def told(found: Sequence[Wire], link: Link) -> str:
    """A table of what ranks cost each phase."""
    first = found[0]
    head = f"in {plural(first.ranks, 'rank')}, of messages that take {time(link.latency)} and "
    head += f"{said(int(link.bandwidth))}/s, computing as quickly as this machine:"
    return f"{head}\n\n" + "\n\n".join(map(_phase, found))


def _phase(wire: Wire) -> str:
    gain = wire.alone / wire.together
    pays = "for no number of examples" if wire.pays is None else (
        f"from about {plural(wire.pays, 'example')} an update on")  # fmt: skip
    rows = [
        ("sums of a shard", f"{said(wire.sums)} in {plural(wire.rounds, 'round')} of messages"),
        ("a rank receives", f"{said(wire.received)} an update"),
        ("on the wire", f"{said(wire.wire)} an update, by all ranks"),
        ("messages", f"{time(wire.network)} an update"),
        ("computing", f"{time(wire.alone)} alone and undivided, {time(wire.divided)} in shards, "
                      f"{time(wire.rank)} in a rank"),
        ("an update", f"{time(wire.alone)} alone, {time(wire.together)} in ranks: "
                      f"{gain:.2g} times as fast"),
        ("it pays", pays if wire.ranks > 1 else "in several ranks"),
    ]  # fmt: skip
    head = f"{wire.phase}: {plural(wire.examples, 'example')} an update, in "
    return f"{head}{plural(wire.shards, 'shard')}\n{columns(rows, lead='  ')}"


def data(found: Sequence[Wire], link: Link) -> dict[str, Any]:
    """The same for programs."""
    phases = {w.phase: {**asdict(w), "together": w.together} for w in found}
    return {"latency": link.latency, "bandwidth": link.bandwidth, "phases": phases}


def time(seconds: float) -> str:
    """
    >>> time(1.2345e-5), time(0.0321), time(0.0)
    ('12.3 us', '32.1 ms', '0 us')
    """
    for unit, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 1e-6:.3g} us"
