"""The messages of one exchange of rows: made ready once, straight from the arrays and into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dln.runtime.device.device import DeviceArray
from dln.runtime.ranks.ranks import Parts

ROWS = 11  # what messages of rows are about: their tag

SLICED = 1 << 19  # bytes of sums from which on they may be added up in slices
SINGLE = 1 << 15  # bytes of a row from which on it goes by itself, as soon as it is there


def sliced(parts: int, ranks: int, size: int) -> bool:
    """Whether sums of so many parts, of so many bytes each, are added up in slices: each rank adds
    up its own, and the slices are gathered. Fewer bytes go that way, in one more message."""
    return size >= SLICED and parts - parts // ranks > 1


class Posted(NamedTuple):
    """To or from a rank: what is held, as mpi4py takes it, and its bytes; when the row `after` is
    there."""

    rank: int
    after: int
    held: Any
    size: int


class Exchange:
    """Messages that are `received` from other ranks and `sent` to them. Those to one rank go in
    the order of their rows, and are received in that order."""

    host: Any = None

    def __init__(
        self, mpi: Any, comm: Any, received: Sequence[Posted], sent: Sequence[Posted]
    ) -> None:
        self._mpi, self.senders = mpi, [m.rank for m in received]
        self._from = [comm.Recv_init(m.held, m.rank, ROWS) for m in received]
        to = [comm.Send_init(m.held, m.rank, ROWS) for m in sent]
        self._to = {
            row: [request for m, request in zip(sent, to, strict=True) if m.after == row]
            for row in sorted({m.after for m in sent})
        }
        self._all, self._rest = self._from + to, list[int]()
        self._status = [mpi.Status() for _ in self._all]
        self._sizes = [m.size for m in received]
        self.received = sum(self._sizes)
        self.active = False
        self.gone: list[int] = []

    def begin(self) -> None:
        """Receive from here on."""
        self.active, self.gone, self._rest = True, [], [*self._to]
        self._mpi.Prequest.Startall(self._from)

    def send(self, row: int) -> None:
        """Send what is there after a row, and after those before it."""
        while self._rest and self._rest[0] <= row:
            self._mpi.Prequest.Startall(self._to[self._rest.pop(0)])

    def send_all(self) -> None:
        """Send what has not been sent."""
        for row in self._rest:
            self._mpi.Prequest.Startall(self._to[row])
        self._rest = []

    def give_up(self) -> None:
        """Receive nothing but what is coming already. What others have sent is left for whoever
        asks."""
        for request in self._from if self.active else ():
            request.Cancel()

    def complete(self) -> bool:
        """Whether all that was begun has been sent and received; the ranks that have sent nothing
        in the place of rows are then `gone`."""
        if not self.active:
            return True
        if not self._mpi.Request.Testall(self._all, self._status):
            return False
        self.active, byte = False, self._mpi.BYTE
        came = zip(self.senders, self._status, self._sizes, strict=False)
        found = (i for i, s, n in came if not s.Is_cancelled() and s.Get_count(byte) != n)
        self.gone = list(dict.fromkeys(found))
        return True

    def free(self) -> None:
        """Give back what MPI holds of them, unless they are under way."""
        for request in self._all if not self.active else ():
            request.Free()

    def waiting(self) -> list[int]:
        """The ranks of which rows have not come."""
        pairs = zip(self.senders, self._from, strict=True)
        return list(dict.fromkeys(i for i, r in pairs if not r.Get_status()))

    def empty_from(self, rank: int) -> bool:
        """Whether a rank has sent nothing in the place of rows."""
        return any(
            map(
                self._empty, (r for i, r in zip(self.senders, self._from, strict=True) if i == rank)
            )
        )

    def _empty(self, request: Any) -> bool:
        status = self._mpi.Status()
        return bool(request.Get_status(status)) and not status.Get_count(self._mpi.BYTE)


def whole_rows(mpi: Any, comm: Any, rows: DeviceArray, parts: Parts) -> Exchange:
    """From each rank that has some of the rows [n, ...] to each other one, in one message."""
    index, each = comm.Get_rank(), rows.nbytes // max(1, len(rows))
    held = [(rows[p.start : p.stop], each * len(p)) for p in parts]
    others = [i for i in range(len(parts)) if i != index]
    received = [Posted(i, 0, *held[i]) for i in others if len(parts[i])]
    return Exchange(
        mpi, comm, received, [Posted(i, 0, *held[index]) for i in others if parts[index]]
    )


def single_rows(mpi: Any, comm: Any, rows: DeviceArray, parts: Parts, cuts: Parts) -> Exchange:
    """Each of the rows [n, numbers] by itself, from the rank that has it to each other one: those
    numbers that are cut out for that one."""
    index, item = comm.Get_rank(), rows.itemsize

    def message(rank: int, row: int, cut: range) -> Posted:
        return Posted(rank, row, rows[row, cut.start : cut.stop], item * len(cut))

    others = [i for i in range(len(parts)) if i != index]
    received = [message(i, row, cuts[index]) for i in others for row in parts[i]]
    return Exchange(
        mpi, comm, received, [message(i, row, cuts[i]) for row in parts[index] for i in others]
    )
