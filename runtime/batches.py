"""Which examples make up each minibatch of a phase: a pure function of the update's number."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from dln.compiler.plan import PhaseSpec, site_number
from dln.runtime import order
from dln.runtime.datasets import Part
from dln.runtime.device import Device


class Batches:
    """The minibatches of a phase over a part of a data set.

    `size` examples each but for a short last one in the epoch, `per_epoch` of them in an epoch.
    """

    def __init__(self, spec: PhaseSpec, part: Part, device: Device, seed: int) -> None:
        self.spec, self.part, self.device, self.seed = spec, part, device, seed
        self.size = part.n if spec.batch is None else min(spec.batch, part.n)
        self.per_epoch = ceil(part.n / self.size)
        self._site = site_number(f"{spec.name}.order")
        self._order: tuple[int, Any] = (-1, None)

    def indices(self, update: int) -> Any:
        """The minibatch of an update, as indices into the part, on the device."""
        low = update % self.per_epoch * self.size
        return self.of_epoch(update // self.per_epoch)[low : low + self.size]

    def alike(self, update: int) -> int:
        """The update before which minibatches are in one epoch and of one size with this one."""
        place = update % self.per_epoch
        short = self.part.n % self.size != 0 and place < self.per_epoch - 1
        return update + self.per_epoch - place - short

    def seen(self, update: int) -> int:
        """Examples in all minibatches before an update."""
        epochs, place = divmod(update, self.per_epoch)
        return epochs * self.part.n + place * self.size

    def of_epoch(self, epoch: int) -> Any:
        """The order of an epoch, on the device."""
        if self._order[0] != epoch:
            self._order = (epoch, self.device.array(self._drawn(epoch), "int64"))
        return self._order[1]

    def _drawn(self, epoch: int) -> order.Indices:
        n, at = self.part.n, (self.seed, self._site, epoch)
        if n == 1:
            return order.file_order(1)
        match self.spec.order:
            case "file":
                return order.file_order(n)
            case "replacement":
                return order.replacement(n, n, *at)
            case "balanced":
                assert self.spec.balanced is not None
                everything = self.device.array(np.arange(n), "int64")
                labels = self.part.fields(everything, 0.0)[self.spec.balanced]
                return order.balanced(self.device.to_host(labels), *at)
        return order.permutation(n, *at)
