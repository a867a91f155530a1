"""The ranks of a command that `mpirun` or a scheduler has started several times, and their end.

Faults: E641 several processes that were not told to be one run, E642 processes that know nothing of
one another.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from dln.grammar.diagnostics import Fault
from dln.runtime.ranks.exchange import Mpi
from dln.runtime.ranks.mpi import mpi

LAUNCHERS = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
    ("PMI_RANK", "PMI_SIZE"),  # MPICH and what comes of it; SLURM with --mpi=pmi2
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  # srun
)
ENDING = 5.0  # seconds after which a rank ends though MPI has not
TELLING = 2.0  # seconds that other ranks give the first one to say what is wrong
Environment = Mapping[str, str]


class Launched(NamedTuple):
    """What a launcher says: this process is number `rank` of `size`."""

    rank: int
    size: int


def launched(environment: Environment) -> Launched:
    """What the launcher of this process says of it; alone without one."""
    for rank, size in LAUNCHERS:
        found = environment.get(rank, ""), environment.get(size, "")
        if all(text.isascii() and text.isdigit() for text in found):
            return Launched(int(found[0]), int(found[1]))
    return Launched(0, 1)


def refuse_apart(environment: Environment) -> None:
    """Raise `Fault` E641 where a launcher of MPI has started several processes of a command that
    was not told so: each of them would do all of it."""
    for rank, size in LAUNCHERS[:2]:
        if rank in environment and environment.get(size, "1") not in ("", "0", "1"):
            message = f"this is one of {environment[size]} processes, each of which would do it all"
            raise Fault(message, "--mpi, which makes one run of them", "E641")


def opened(environment: Environment, tell: Callable[[str], None], direct: bool = False) -> Mpi:
    """The ranks of this command; `tell` and `direct` are those of `Mpi`. Raises `Fault` E642 where
    each process stands alone, E643 where there is no MPI."""
    world = mpi().COMM_WORLD
    said, size = launched(environment), int(world.Get_size())
    if said.size > 1 and size == 1:
        message = f"{said.size} processes were started, and this one knows of no other"
        remedy = "start them by the mpirun of the MPI that mpi4py is made for, or srun --mpi=pmix"
        raise Fault(message, remedy, "E642")
    return Mpi(world, tell, direct)


def ended(ranks: Mpi, code: int, lost: bool) -> int:
    """End MPI with the exit code of rank 0, for which the others wait; that code. Where a rank is
    `lost`, for which MPI would wait, it ends all processes here and now."""
    if lost:
        time.sleep(TELLING * (ranks.index > 0))
        mpi().COMM_WORLD.Abort(code)
    found = ranks.first(code)
    timer = threading.Timer(ENDING, os._exit, [found])
    timer.daemon = True
    timer.start()
    ranks.shut()
    mpi().Finalize()
    timer.cancel()
    return found
