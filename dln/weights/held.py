"""What a file holds: arrays of real numbers by name, known by their headers. Faults: E629."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dln.grammar.diagnostics import Fault


@dataclass(frozen=True)
class OutsideArray:
    """An array of real numbers of a file: its shape, and how its numbers are read."""

    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]


@dataclass(frozen=True)
class WeightsFile:
    """What a file holds: arrays of real numbers by name, and why others are none."""

    path: Path
    arrays: Mapping[str, OutsideArray]
    others: Mapping[str, str]


def damaged(path: Path, why: object) -> Fault:
    """A file that does not hold what it says."""
    return Fault(f"{path} is damaged or cut short: {why}", "save it once more", "E629")
