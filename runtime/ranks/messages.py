"""The messages of one exchange of rows: made ready once, straight from the arrays and into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dln.runtime.device.device import DeviceArray
from dln.runtime.ranks.ranks import Parts

ROWS = 11  # what messages of rows are about: their tag

SLICED = 1 << 19  # bytes of sums from which on they may be added up in slices


def sliced(parts: int, ranks: int, size: int) -> bool:
    """Whether sums of so many parts, of so many bytes each, are added up in slices: each rank adds
    up its own, and the slices are gathered. Fewer bytes go that way, in one more message."""
    return size >= SLICED and parts - parts // ranks > 1


class Content(NamedTuple):
    """What a message holds, as mpi4py takes it, and its bytes."""

    held: Any
    size: int


class Exchange:
    """Messages that are `received` from other ranks and `sent` to them, by their numbers."""

    host: Any = None

    def __init__(
        self, mpi: Any, comm: Any, received: Mapping[int, Content], sent: Mapping[int, Content]
    ) -> None:
        self._mpi, self.senders = mpi, list(received)
        self._from = [comm.Recv_init(c.held, i, ROWS) for i, c in received.items()]
        self._all = self._from + [comm.Send_init(c.held, i, ROWS) for i, c in sent.items()]
        self._status = [mpi.Status() for _ in self._all]
        self._sizes = [c.size for c in received.values()]
        self.received = sum(self._sizes)
        self.active = False
        self.gone: list[int] = []

    def run(self, wait: Callable[[Exchange], None]) -> None:
        """Send and receive."""
        self.active, self.gone = True, []
        self._mpi.Prequest.Startall(self._all)
        wait(self)

    def complete(self) -> bool:
        """Whether all has been sent and received; the ranks that have sent nothing in the place of
        rows are then `gone`."""
        if not self.active:
            return True
        if not self._mpi.Request.Testall(self._all, self._status):
            return False
        self.active, byte = False, self._mpi.BYTE
        came = zip(self.senders, self._status, self._sizes, strict=False)
        self.gone = [i for i, status, size in came if status.Get_count(byte) != size]
        return True

    def free(self) -> None:
        """Give back what MPI holds of them, unless they are under way."""
        for request in self._all if not self.active else ():
            request.Free()

    def waiting(self) -> list[int]:
        """The ranks whose rows have not come."""
        return [i for i, r in zip(self.senders, self._from, strict=True) if not r.Get_status()]

    def empty_from(self, rank: int) -> bool:
        """Whether a rank has sent nothing in the place of rows."""
        status = self._mpi.Status()
        at = self.senders.index(rank) if rank in self.senders else None
        come = at is not None and bool(self._from[at].Get_status(status))
        return come and not status.Get_count(self._mpi.BYTE)


def whole_rows(mpi: Any, comm: Any, rows: DeviceArray, parts: Parts) -> Exchange:
    """From each rank that has some of the rows [n, ...] to each other one."""
    index, each = comm.Get_rank(), rows.nbytes // max(1, len(rows))
    held = {
        i: Content(rows[p.start : p.stop], each * len(p)) for i, p in enumerate(parts) if len(p)
    }
    mine = held.pop(index, None)
    others = [i for i in range(len(parts)) if i != index]
    return Exchange(mpi, comm, held, dict.fromkeys(others, mine) if mine else {})


def slices(mpi: Any, comm: Any, rows: DeviceArray, parts: Parts, cuts: Parts) -> Exchange:
    """Of the rows [n, numbers], from each rank that has some to each other one those numbers that
    are cut out for it."""
    index, flat = comm.Get_rank(), rows.reshape(-1)
    item, long = flat.itemsize, rows.shape[1]
    kind = mpi.BYTE.Create_contiguous(item).Commit()

    def content(of: range, cut: range) -> Content:
        start = of.start * long + cut.start
        span = flat[start : start + (len(of) - 1) * long + len(cut)]
        pieces = kind.Create_vector(len(of), len(cut), long).Commit()
        return Content([span, 1, pieces], item * len(of) * len(cut))

    others = [i for i in range(len(parts)) if i != index]
    received = {i: content(parts[i], cuts[index]) for i in others if len(parts[i])}
    sent = {i: content(parts[index], cuts[i]) for i in others if len(parts[index])}
    return Exchange(mpi, comm, received, sent)
