"""A loop of mutation that is led by what it reaches.

An input is kept where it reaches a line that no input before has reached. What is reached is seen
through `sys.setprofile`: the lines of the watched folder that call anything, and those at which
functions return. It slows the watched code down by half where tracing every line would take ten
times as long, leaves `sys.settrace` to debuggers and to coverage, and needs no package.
"""

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import CodeType, FrameType
from typing import TypeAlias

Mutate: TypeAlias = Callable[[bytes, random.Random], bytes]
Reached: TypeAlias = set[tuple[CodeType, int]]
LARGEST = 4096  # bytes of an input that is kept


@dataclass
class Growing:
    """A corpus that grows. `target` raises AssertionError, or anything that it may not raise."""

    target: Callable[[bytes], None]
    watched: Path
    mutate: Mutate
    rng: random.Random
    corpus: list[bytes] = field(default_factory=list)
    tried: int = 0

    def __post_init__(self) -> None:
        self.reached: Reached = set()
        self._ours: dict[CodeType, bool] = {}
        self._folder = str(self.watched.resolve())

    def seeded(self, seeds: Sequence[bytes]) -> None:
        for seed in seeds:
            self.attempt(seed, keep=True)

    def run(self, rounds: int = 0, seconds: float = 0.0) -> list[bytes]:
        """So many mutants, or as many as there is time for; the inputs that were new."""
        end, before, stop = self.tried + rounds, len(self.corpus), monotonic() + seconds
        while self.tried < end or monotonic() < stop:
            latest = self.rng.random() < 0.3
            parent = self.rng.choice(self.corpus[-20:] if latest else self.corpus)
            if self.rng.random() < 0.2:
                parent = spliced(parent, self.rng.choice(self.corpus), self.rng)
            self.attempt(self.mutate(parent, self.rng))
        return self.corpus[before:]

    def attempt(self, given: bytes, keep: bool = False) -> None:
        """One input; the target is watched while it works on it."""
        self.tried += 1
        known = len(self.reached)
        old = sys.getprofile()
        sys.setprofile(self._seen)
        try:
            self.target(given)
        finally:
            sys.setprofile(old)
        if (keep or len(self.reached) > known) and len(given) <= LARGEST:
            self.corpus.append(given)

    def _seen(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            where = str(Path(code.co_filename).resolve())
            ours = self._ours[code] = where.startswith(self._folder)
        if ours:
            self.reached.add((code, frame.f_lineno))


def spliced(one: bytes, other: bytes, rng: random.Random) -> bytes:
    """The beginning of one and the end of another."""
    return one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :]


ODD = [b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff",
       b"-1", b"nan", b"inf", b"1e999", b",", b";", b"\t", b"\r", b"\n", b'"', b"\x1f\x8b", b"PK",
       b"\xef\xbb\xbf", b"0x10", b"9" * 400]  # fmt: skip


def mangled(given: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, lost, doubled or put in."""
    made = bytearray(given)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(made) + 1)
        stop = min(len(made), at + rng.choice((1, 1, 2, 4, 16)))
        match rng.randrange(5):
            case 0:
                del made[at:stop]
            case 1:
                made[at:at] = made[at:stop]
            case 2:
                made[at:stop] = rng.choice(ODD)
            case 3:
                made[at:at] = rng.choice(ODD)
            case _:
                made[at:stop] = bytes(b ^ 1 << rng.randrange(8) for b in made[at:stop])
    return bytes(made)
