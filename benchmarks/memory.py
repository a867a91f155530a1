"""The arena of each shipped spec against the most bytes that are alive at once in it.

    python -m benchmarks.memory [-o FOLDER]

Of each spec the step with the largest arena, at the number of examples that it was laid out for.
What is alive is read off the text of the program, so without asking the schedule that laid it out.
Prints the table, and writes its record and `docs/performance.md`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dln
from benchmarks.comparison.page import DOCS, keep, memory
from dln.compiler.plan import Program, arena_bytes, buffer_bytes, slot_offsets
from dln.spec import LIBRARIES, lecture

NAME = re.compile(r"\b[a-z]+\d+\b")  # of a buffer, a view, or a prepared call
LEAST = 2**16  # bytes of an arena of which the bytes lost between its pieces say nothing


def alive(program: Program, n: int) -> int:
    """The most bytes of the arena that are alive at once, for n examples.

    A buffer is alive from the first statement that touches it to the last; where a loop and what
    stands outside of it both do, or where the loop reads it first, all through the loop. What
    buffers share that are alive together, as one is written over another, counts once.
    """
    starts = slot_offsets(program, n)
    lies = {b.name: (starts[b.slot], starts[b.slot] + buffer_bytes(program, b, n))
            for b in program.buffers if b.place == "arena"}  # fmt: skip
    roots = views(program, lies)
    touched: dict[str, list[int]] = {}
    for i, line in enumerate(program.lines):
        for name in NAME.findall(line.code):
            for root in roots.get(name, ()):
                touched.setdefault(root, []).append(i)
    held: list[list[tuple[int, int]]] = [[] for _ in program.lines]
    for name, places in touched.items():
        for i in spanned(program, name, places):
            held[i].append(lies[name])
    return max(map(covered, held), default=0)


def covered(stretches: list[tuple[int, int]]) -> int:
    """How many bytes lie in one of several stretches of memory."""
    total = reached = 0
    for low, high in sorted(stretches):
        total += max(high - max(low, reached), 0)
        reached = max(reached, high)
    return total


def views(program: Program, slots: Iterable[str]) -> dict[str, set[str]]:
    """The arena buffers that each name of the text looks into."""
    roots: dict[str, set[str]] = {name: {name} for name in slots}
    for line in program.setup:
        target, _, made = line.code.partition(" = ")
        seen = set().union(*(roots.get(name, set()) for name in NAME.findall(made)))
        if seen:
            roots[target] = seen
    return roots


def spanned(program: Program, name: str, places: list[int]) -> range:
    """The statements through which a buffer is alive that is touched at these."""
    low, high = places[0], places[-1]
    for start, stop in loops(program):
        inside = [i for i in places if start < i <= stop]
        if not inside:
            continue
        line = program.lines[inside[0]]
        carried = not line.code.strip().endswith(f"out={name})")
        if low < start or high > stop or carried:
            low, high = min(low, start), max(high, stop)
    return range(low, high + 1)


def loops(program: Program) -> Iterator[tuple[int, int]]:
    """Where loops begin, inner ones first, and their last statements."""
    depth = [len(x.code) - len(x.code.lstrip()) for x in program.lines]
    for i in reversed(range(len(depth))):
        if program.lines[i].code.lstrip().startswith("for "):
            rest = (j for j in range(i + 1, len(depth)) if depth[j] <= depth[i])
            yield i, next(rest, len(depth)) - 1


def of_spec(name: str) -> dict[str, Any] | None:
    """The row of a spec: None where no step needs an arena."""
    plan = dln.load(name).compile().plan
    steps = [plan.programs[phase.step] for phase in plan.phases.values()]
    largest = max(steps, key=lambda p: arena_bytes(p, p.capacity), default=None)
    if largest is None or not largest.slots:
        return None
    n = largest.capacity
    taken, needed = arena_bytes(largest, n), alive(largest, n)
    return {"spec": name, "program": largest.name, "arena": taken, "alive": needed,
            "ratio": taken / needed}  # fmt: skip


def record() -> Mapping[str, Any]:
    rows = [row for n in lecture() if n not in LIBRARIES for row in [of_spec(n)] if row]
    large = [row for row in rows if row["arena"] >= LEAST]
    within = sum(row["ratio"] <= 1.15 for row in large)
    said = "The arena of the step that has the largest of a spec, and the most bytes in it that are"
    said += f"\nalive at once. Of {len(large)} arenas of 64 KiB and more {within} are within 1.15;"
    said += "\nin smaller ones the bytes between pieces count, each of which begins at a multiple"
    said += " of 256."
    return {"said": said, "rows": sorted(rows, key=lambda row: -row["arena"])}


if __name__ == "__main__":
    found = record()
    folder = Path(sys.argv[2]) if sys.argv[1:2] == ["-o"] else DOCS
    keep("memory", found, folder)
    print(memory(found))
