"""A command that several processes carry out as one: `mpirun -n 4 dln run SPEC --mpi`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial

from dln.flags import read_flags
from dln.grammar.diagnostics import Fault
from dln.printing.terminal import Terminal
from dln.runtime.interrupts import WARNINGS
from dln.runtime.ranks.exchange import LOST, Mpi
from dln.runtime.ranks.launched import ended, opened


def in_ranks(terminal: Terminal, work: Callable[[Mpi], int]) -> int:
    """The exit code of what all ranks do. What one of them raises all raise, and the first one says
    it; the others say nothing. Raises `Fault` E642, E643 where there is no MPI to do it with."""
    for each in WARNINGS:  # as Ctrl-C has it from the start
        signal.signal(each, signal.getsignal(signal.SIGTERM))
    ranks = opened(os.environ, terminal.say, read_flags().direct)
    terminal.silent = ranks.index > 0
    if ranks.index == 1:  # who speaks where the first one cannot
        ranks.aside = partial(print, file=sys.stderr, flush=True)
    terminal.ending = partial(ended, ranks, lost=False)
    try:
        with ranks.together():
            return work(ranks)
    except Fault as fault:
        if fault.code == LOST:
            terminal.ending = partial(ended, ranks, lost=True)
        raise
