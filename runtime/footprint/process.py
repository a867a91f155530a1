"""What this process takes itself, beside the arrays of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from dln.runtime.footprint.ledger import Item

MODULES = {
    "numpy": 24_000_000,
    "dln.runtime.session": 6_000_000,
    "numpy.random": 2_400_000,
    "hashlib": 2_500_000,
    "safetensors": 3_000_000,
    "matplotlib": 39_000_000,
}
"""What is resident once a module is loaded with all that it loads, measured on Linux."""
LETTER = 16
"""What a letter of a program's text takes once that is code."""


def resident() -> int:
    """Bytes of this process that are in memory now; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError, ImportError):
        import resource  # late: Unix alone

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * resource.getpagesize()
    return 0


def loading(names: Iterable[str]) -> int:
    """What modules take that are installed and not loaded yet."""
    return sum(MODULES[name] for name in names if name not in sys.modules and find_spec(name))


def process(before: int, saves: bool, letters: int) -> tuple[Item, ...]:
    """This process as it was `before` the run took anything, and what it still loads: modules,
    and programs of so many `letters`."""
    kept = ("hashlib", "safetensors") if saves else ()
    size = loading(("numpy", "dln.runtime.session", "numpy.random", *kept)) + LETTER * letters
    coming = Item("modules still to be loaded, and programs", size)
    return Item("this process itself", before), coming
