"""A session opened on a device, as Python or a command asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from dln.compiler.plan import Plan
from dln.compiler.schema import arguments
from dln.grammar.diagnostics import Fault
from dln.runtime.data.raw import Read
from dln.runtime.device.device import open_device
from dln.runtime.ranks.ranks import Ranks
from dln.runtime.session import Session


def opened(
    plan: Plan, backend: str, threads: int | None, seed: int, read: Read | None,
    memory_limit: int | None, given: Mapping[str, Any], comm: object, poisons: bool, direct: bool,
) -> Session:  # fmt: skip
    """A session with the first values of its parameters. `comm` is a communicator of mpi4py, or the
    ranks themselves; each of several ranks has one thread where nothing is said. Raises `DlnError`
    E563 for what is no seed, reader or communicator, E520 where the device cannot be had."""
    seed = arguments.whole("seed", seed)
    if read is not None and not callable(read):
        arguments.refuse(f"read must be a function, not {arguments.shown(read)}")
    ranks = None if comm is None else ranks_of(comm, direct)
    if threads is None and ranks is not None and ranks.count > 1:
        threads = 1
    try:
        device = open_device(backend, threads, poisons)
        return Session(plan, device, seed, read, memory_limit, given, ranks)
    except Fault as fault:
        raise fault.at(None) from None


def ranks_of(comm: object, direct: bool) -> Ranks:
    """The ranks of a communicator of mpi4py, or those that are given as such; `direct` as `Mpi` has
    it. Raises `DlnError` E563 for what is neither."""
    if arguments.method(comm, "gather") and arguments.method(comm, "share"):
        return cast(Ranks, comm)
    if not (arguments.method(comm, "Dup") and arguments.method(comm, "Recv_init")):
        what = f"comm is a communicator of mpi4py, not {arguments.shown(comm)}"
        arguments.refuse(what, "comm=MPI.COMM_WORLD")
    from dln.runtime.ranks.exchange import Mpi  # late: with a communicator alone

    return Mpi(comm, direct=direct)
