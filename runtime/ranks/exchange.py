"""Messages between ranks: from each to each, straight from the arrays, without a copy.

One message goes from rank to rank for all rows that are gathered. Each waits for those of the
others by name, so that one which does not answer can be told. A message without any content in the
place of rows says that a rank has left, and a second one says why: what one rank raises is raised
by all, wherever they are. Before they part each has received all that was sent to it.

Waiting looks again and again and lets others have the core in between; so signals are heard, and
the process of a rank that is silent can be looked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, cast

import numpy as np

from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.runtime.device.device import DeviceArray
from dln.runtime.ranks.messages import ROWS, SINGLE, Exchange, single_rows, sliced, whole_rows
from dln.runtime.ranks.mpi import mpi
from dln.runtime.ranks.ranks import Elsewhere, Meanwhile, Parts, Plain, Summed, nothing, shares

WORDS, VALUE = 12, 13  # what messages are about beside rows: their tags
SPIN, PAUSE = 0.005, 0.0005  # seconds: looked without a pause for so long; then with pauses
LOOK = 0.25  # seconds between two looks at what may be wrong
SILENT = (10.0, 60.0, 600.0)  # seconds after which it is said that a rank is waited for
KEPT = 512  # arrays whose messages are kept ready

LOST = "E644"  # a rank that has died
Place = tuple[int, tuple[int, ...], str, tuple[int, ...]]
Telling = Callable[[str], None]


class Mpi:
    """The ranks of a communicator of mpi4py. `tell` is told of ranks that are waited for, `aside`
    where the first one, which would be heard, is stopped.

    Arrays of a GPU go as they are where `direct` says that this MPI takes them, else through the
    host. Making one, every method but `share`, and leaving are done by all ranks at once.
    """

    def __init__(self, comm: Any, tell: Telling | None = None, direct: bool = False) -> None:
        self._mpi, self._comm, self.direct = mpi(), comm.Dup(), direct
        self.index, self.count = int(comm.Get_rank()), int(comm.Get_size())
        self.tell = self.aside = tell or (lambda text: None)
        here = (os.uname().nodename, os.getpid())
        self._places: list[tuple[str, int]] = self._comm.allgather(here)
        self._ready: dict[Place, Exchange] = {}
        self._staged: dict[int, Any] = {}
        self._windows: list[Any] = []
        self._depth, self._era = 0, 0  # blocks within one another; how often they have parted
        self._gone: dict[int, Elsewhere | None] = {}
        self._said = np.zeros((self.count, 1), np.int64)
        self._rows: Exchange | None = None  # of the sums that were begun, and how they are cut
        self._cuts: Parts | None = None
        self.bytes, self.seconds, self.messages = 0, 0.0, 0  # received; spent on it; rounds

    # ---- what is shared out --------------------------------------------------------------------

    def share(self, n: int) -> range:
        """Which of n things in a row are this rank's."""
        return range(n * self.index // self.count, n * (self.index + 1) // self.count)

    def gather(self, rows: DeviceArray, parts: Parts | None = None, once: bool = False) -> None:
        """Fill in the rows [n, ...] of the other ranks. Raises `Elsewhere`, `Fault` E644."""
        self._gathered(rows, parts, once=once)

    def _gathered(
        self, rows: DeviceArray, parts: Parts | None, meanwhile: Meanwhile = nothing,
        once: bool = False,
    ) -> None:  # fmt: skip
        began = perf_counter()
        if on_host(rows) or self.direct:
            exchange = self._exchange(rows, parts)
        else:
            exchange = self._staging(rows, parts)
        exchange.begin()
        self._ran(exchange, began, meanwhile)
        if exchange.host is not None:
            rows.set(exchange.host)
        if once:
            self._ready = {k: e for k, e in self._ready.items() if e is not exchange}
            exchange.free()

    def _ran(self, exchange: Exchange, began: float, meanwhile: Meanwhile) -> None:
        """What has begun to be received is sent and received to the end."""
        exchange.send_all()
        meanwhile()
        self._waited(exchange)
        self.bytes += exchange.received
        self.messages += 1
        self.seconds += perf_counter() - began

    def begin(self, sums: Summed) -> None:
        """Receive parts of sums from here on. Large ones go one by one, each when it is there."""
        single = sums.whole.nbytes >= SINGLE and (self.direct or on_host(sums.parts))
        self._rows, self._cuts = None, None
        if single:
            self._cuts = self._slices(sums)
            cuts = self._cuts or [range(len(sums.whole))] * self.count
            self._rows = self._exchange(sums.parts, None, cuts)
            self._rows.begin()

    def hand_on(self, part: int) -> None:
        if self._rows is not None:
            self._rows.send(part)

    def add_up(self, sums: Summed, meanwhile: Meanwhile) -> None:
        """Add up the parts of sums, in their order, of which this rank has filled in those of its
        share. Where fewer bytes go that way, each rank adds up a slice of the numbers, and the
        slices are gathered."""
        if self._rows is None:
            self._gathered(sums.parts, None, meanwhile)
        else:
            self._ran(self._rows, perf_counter(), meanwhile)
        if self._cuts is None:
            sums.add()
        else:
            sums.add(self._cuts[self.index])
            self.gather(sums.whole, self._cuts)

    def _slices(self, sums: Summed) -> Parts | None:
        """The numbers that each rank adds up; None where each adds up all."""
        if not sliced(len(sums.parts), self.count, sums.whole.nbytes):
            return None
        blocks = shares(len(sums.whole) // sums.line, self.count)
        return [range(b.start * sums.line, b.stop * sums.line) for b in blocks]

    def forget(self) -> None:
        """Let go of the arrays whose messages were made ready."""
        for exchange in self._ready.values():
            exchange.free()
        self._ready = {key: e for key, e in self._ready.items() if e.active}
        self._staged.clear()

    def window(self, memory: Any) -> Any:
        """A window of MPI through which others may read some memory of this rank, or none."""
        made = self._mpi.Win.Create(memory, 1, comm=self._comm)
        made.Lock_all(self._mpi.MODE_NOCHECK)
        self._windows.append(made)
        return made

    def shut(self) -> None:
        """Close all windows."""
        for window in self._windows:
            window.Unlock_all()
            window.Free()
        self._windows.clear()

    def agree(self, said: int) -> int:
        """What any of the ranks says, bit by bit."""
        self._said[self.index] = said
        self.gather(self._said)
        return int(np.bitwise_or.reduce(self._said[:, 0]))

    def first(self, value: Plain) -> Plain:
        """What rank 0 has, any plain data. Raises `Elsewhere`, `Fault` E644."""
        if self.index == 0:
            sent = [self._comm.isend((self._era, value), i, VALUE) for i in self._others()]
            self._until(lambda: self._mpi.Request.testall(sent)[0], self._others())
            return value
        era = -1
        while era < self._era:  # one of before they parted is for nobody
            self._until(lambda: bool(self._comm.Iprobe(0, VALUE)), [0])
            era, found = self._comm.recv(source=0, tag=VALUE)
        return cast(Plain, found)

    # ---- messages of rows ----------------------------------------------------------------------

    def _others(self) -> list[int]:
        return [i for i in range(self.count) if i != self.index]

    def _exchange(self, rows: DeviceArray, parts: Parts | None, cuts: Parts = ()) -> Exchange:
        """The messages of an array, made ready once for each place in memory; row by row where it
        is cut."""
        address = rows.ctypes.data if isinstance(rows, np.ndarray) else rows.data.ptr
        bounds = tuple(p.stop for p in parts or cuts)
        key = (address, tuple(rows.shape), str(rows.dtype), bounds)
        if key not in self._ready:
            if len(self._ready) >= KEPT:
                self.forget()
            parts, with_whom = parts or shares(len(rows), self.count), (self._mpi, self._comm)
            made = single_rows(*with_whom, rows, parts, cuts) if cuts else whole_rows(
                *with_whom, rows, parts)  # fmt: skip
            self._ready[key] = made
        return self._ready[key]

    def _staging(self, rows: DeviceArray, parts: Parts | None) -> Exchange:
        """The messages of an array of a device, by way of one on the host."""
        host = self._staged.setdefault(rows.nbytes, None)
        if host is None or host.shape != rows.shape or host.dtype != rows.dtype:
            host = self._staged[rows.nbytes] = np.empty(rows.shape, rows.dtype)
        own = parts[self.index] if parts else self.share(len(rows))
        host[own.start : own.stop] = rows[own.start : own.stop].get()
        exchange = self._exchange(host, parts)
        exchange.host = host
        return exchange

    def _waited(self, exchange: Exchange) -> None:
        """Wait for the messages of an exchange. Raises what another rank has raised."""
        self._until(exchange.complete, exchange.senders, exchange)
        if exchange.gone:
            raise self._why(exchange.gone[0])

    def _until(
        self, done: Callable[[], bool], ranks: Sequence[int], exchange: Exchange | None = None
    ) -> None:
        """Wait until something is done which takes some other ranks. Raises `Elsewhere` where one
        of them has left instead, `Fault` E644 where one has died."""
        if done():
            return
        began = looked = perf_counter()
        silences = list(SILENT)
        while not done():
            now = perf_counter()
            if now - began < SPIN:
                os.sched_yield()
                continue
            sleep(PAUSE)
            if now - looked < LOOK:
                continue
            looked = now
            waiting = ranks if exchange is None else exchange.waiting() or ranks
            for i in waiting:
                if self._has_left(i, exchange):
                    raise self._why(i)
                if not self._alive(i):
                    raise died(self.named(i))
            if silences and waiting and now - began > silences[0]:
                self._say(waiting, silences.pop(0))

    def _say(self, waiting: Sequence[int], seconds: float) -> None:
        """Say who is waited for. Where rank 0, which does so, is stopped itself, others do."""
        stopped = {i for i in waiting if self._state(i) in ("T", "t")}
        names = (self.named(i) + ", which is stopped," * (i in stopped) for i in waiting)
        tell = self.aside if 0 in stopped else self.tell
        tell(f"waiting for {', '.join(names)} for {seconds:.0f} s")

    def _state(self, rank: int) -> str:
        """The letter that the system has for what a process of this machine does; nothing where it
        does not say."""
        host, process = self._places[rank]
        if host != self._places[self.index][0]:
            return ""
        with suppress(OSError):
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return ""

    def named(self, rank: int) -> str:
        """`rank 2 of 4 (process 123 on node7)`."""
        host, process = self._places[rank]
        return f"rank {rank} of {self.count} (process {process} on {host})"

    def _alive(self, rank: int) -> bool:
        """Whether the process of a rank is there, as far as that can be seen from this machine."""
        host, process = self._places[rank]
        if host != self._places[self.index][0]:
            return True
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass
        return True

    # ---- failing together ----------------------------------------------------------------------

    def _has_left(self, rank: int, exchange: Exchange | None) -> bool:
        """Whether a rank has sent what says so, in the place of rows or before them."""
        if rank in self._gone or (exchange is not None and exchange.empty_from(rank)):
            return True
        status = self._mpi.Status()
        return bool(self._comm.Iprobe(rank, ROWS, status)) and not status.Get_count(self._mpi.BYTE)

    def _why(self, rank: int) -> Elsewhere:
        """What a rank that has left has raised."""
        if rank not in self._gone:
            self._gone[rank] = self._words(rank)
        found = self._gone[rank]
        if found is None:
            text = f"{self.named(rank)} has ended while others went on"
            found = Elsewhere([Problem("E644", text)])
        return found

    def _words(self, rank: int) -> Elsewhere | None:
        said = self._comm.recv(source=rank, tag=WORDS)
        return None if said is None else Elsewhere(*said)

    def together(self) -> AbstractContextManager[None]:
        """What one rank raises in here all of them raise, the others as `Elsewhere`."""
        return self._carried(always=True)

    def failing(self) -> AbstractContextManager[None]:
        """As `together`, but who fails nowhere does not wait for the others."""
        return self._carried(always=False)

    @contextmanager
    def _carried(self, always: bool) -> Iterator[None]:
        self._depth += 1
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
        self._depth -= 1
        lost = isinstance(error, Fault) and error.code == LOST
        if not self._depth and not lost and (always or error is not None):
            others = self._part(error)
            if others and error is None:
                raise others[0]
        if error is not None:
            raise error

    def _part(self, error: BaseException | None) -> list[Elsewhere]:
        """Tell all that this rank leaves, and why; receive what they have sent up to there. What
        they have raised, by rank."""
        words = None if error is None else self._told(error)
        for exchange in self._ready.values():  # before another goes on, and sends what is new
            exchange.give_up()
        nothing = np.empty(0, np.uint8)
        sent = [self._comm.Isend(nothing, i, ROWS) for i in self._others()]
        sent += [self._comm.isend(words, i, WORDS) for i in self._others()]
        for exchange in self._ready.values():
            self._until(exchange.complete, [])
            for i in exchange.gone:
                self._why(i)
        for i in self._others():
            while i not in self._gone:
                self._take(i)
        self._until(lambda: self._mpi.Request.testall(sent)[0], [])
        found = [self._gone[i] for i in sorted(self._gone)]
        self._gone.clear()
        self._era += 1
        self.forget()
        return [e for e in found if e is not None]

    def _take(self, rank: int) -> None:
        """Receive a message of a rank that nobody waits for any more, or that it has left."""
        status = self._mpi.Status()
        self._until(lambda: bool(self._comm.Iprobe(rank, ROWS, status)), [])
        size = status.Get_count(self._mpi.BYTE)
        self._comm.Recv(np.empty(size, np.uint8), rank, ROWS)
        if not size:
            self._gone[rank] = self._words(rank)

    def _told(self, error: BaseException) -> tuple[list[Problem], int]:
        """What the others are told of an error: its problems, by the name of the rank; the exit
        code."""
        if isinstance(error, Elsewhere):
            return error.problems, error.exit_code
        where = f"on {self.named(self.index)}"
        if isinstance(error, Fault):
            error = error.at(None)
        if isinstance(error, DlnError):
            code = int(getattr(error, "exit_code", 2))
            return [_from_there(p, where) for p in error.problems], code
        if isinstance(error, KeyboardInterrupt):
            return [Problem("E645", f"interrupted {where}")], 130
        text = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        return [Problem("E999", f"a defect of dln: {text}", facts=(where,))], 1


def on_host(rows: DeviceArray) -> bool:
    """Whether an array [n, ...] is in the memory of the machine itself."""
    return type(rows) is np.ndarray


def died(name: str) -> Fault:
    """What the others say of a rank, by its name, whose process is there no more."""
    remedy = "--resume, which goes on from the last checkpoint with any number of ranks"
    return Fault(f"{name} has died", remedy, LOST)


def _from_there(problem: Problem, where: str) -> Problem:
    """A problem with the rank where it was found."""
    return Problem(
        problem.code, problem.message, problem.span, problem.label, problem.notes,
        (*problem.facts, where), problem.remedy, problem.word,
    )  # fmt: skip
