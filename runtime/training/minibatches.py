"""Which examples make up each minibatch of a phase: a pure function of the update's number."""

from __future__ import annotations

from math import ceil

from dln.compiler.plan import PhaseSpec, site_number
from dln.grammar.diagnostics import Fault
from dln.runtime.data.part import DataPart
from dln.runtime.device.device import Device, DeviceArray
from dln.runtime.readers import sampling_order


class Minibatches:
    """The minibatches of a phase over a part of a data set.

    `size` examples each but for a short last one in the epoch, `per_epoch` of them in an epoch,
    in which `visited` examples are seen. Raises `Fault` where a stream has more rows than the
    part has windows.
    """

    def __init__(self, spec: PhaseSpec, part: DataPart, device: Device, seed: int) -> None:
        self.spec, self.part, self.device, self.seed = spec, part, device, seed
        self.per_epoch = updates_of_epoch(spec, part.n, part.name)
        self.size = part.n if spec.batch is None else min(spec.batch, part.n)
        self.visited = self.per_epoch * self.size if spec.order == "stream" else part.n
        self._site = site_number(f"{spec.name}.order")
        self._order: tuple[int, DeviceArray] = (-1, None)

    def indices(self, update: int) -> DeviceArray:
        """The minibatch of an update, as indices [n] into the part, on the device."""
        low = update % self.per_epoch * self.size
        return self.of_epoch(update // self.per_epoch)[low : low + self.size]

    def alike(self, update: int) -> int:
        """The update before which minibatches are in one epoch and of one size with this one."""
        place = update % self.per_epoch
        short = self.visited % self.size != 0 and place < self.per_epoch - 1
        return update + self.per_epoch - place - short

    def seen(self, update: int) -> int:
        """Examples in all minibatches before an update."""
        epochs, place = divmod(update, self.per_epoch)
        return epochs * self.visited + place * self.size

    def of_epoch(self, epoch: int) -> DeviceArray:
        """The order of an epoch, [visited], on the device."""
        if self._order[0] != epoch:
            self._order = (epoch, self.device.array(self._drawn(epoch), "int64"))
        return self._order[1]

    def _drawn(self, epoch: int) -> sampling_order.Indices:
        n, at = self.part.n, (self.seed, self._site, epoch)
        if n == 1:
            return sampling_order.file_order(1)
        match self.spec.order:
            case "stream":
                return sampling_order.stream(n, self.size)
            case "file":
                return sampling_order.file_order(n)
            case "replacement":
                return sampling_order.replacement(n, n, *at)
            case "balanced":
                assert self.spec.balanced is not None
                labels = self.part.field(self.spec.balanced, self.device)
                return sampling_order.balanced(self.device.to_host(labels), *at)
            case "even":
                assert self.spec.balanced is not None
                labels = self.part.field(self.spec.balanced, self.device)
                return sampling_order.even(self.device.to_host(labels), *at)
        return sampling_order.permutation(n, *at)


def updates_of_epoch(spec: PhaseSpec, n: int, name: str = "the data") -> int:
    """Updates in an epoch over n examples. A stream leaves out what does not fill its rows.

    Raises `Fault` where it has more rows than there are windows.
    """
    if spec.order != "stream" or spec.batch is None:
        return ceil(n / (n if spec.batch is None else min(spec.batch, n)))
    return windows_of_row(n, spec.batch, name)


def windows_of_row(n: int, rows: int, name: str) -> int:
    """Windows that each row of a stream has. Raises `Fault` where some would have none."""
    if n < rows:
        message = f"a stream of {rows:,} rows takes at least {rows:,} windows, {name} has {n:,}"
        remedy = f"stream {n}" if n > 1 else "a longer text, or shorter windows"
        raise Fault(message, remedy, "E557")
    return n // rows
