"""The page `docs/performance.md`, made of the records in `docs/performance/`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.comparison.machine import told
from benchmarks.comparison.rounds import ROOT
from benchmarks.comparison.table import detailed, markdown, number, summary, table
from benchmarks.comparison.workloads import WORKLOADS

DOCS = ROOT / "docs" / "performance"
BUSY = 0.15  # cores; from here on the page says so
Record = Mapping[str, Any]

HEAD = """# Performance

Written by `python -m benchmarks.cpu`, `benchmarks.scale` and `benchmarks.memory` from what they
measure ([benchmarks/](../benchmarks/README.md) says how); the numbers are in
[performance/](performance/). Compare within a table only: what is in one was measured in turns, in
one run."""


EXPLAINED = """The floor is the time that the machine needs for the products, the bytes of weights
and activations, and the curves of a dense step. `differs` is how far the sum of the first four
losses (or outputs) is from the median program's, in parts of it: all start from the same weights.
The first step counts from the start of the process; the peak is all memory of it."""
PROCESSOR = (
    """Time is that of the processor, all threads together, since others used the machine."""
)


RATIOS = """Time of a step, or of a call, as a ratio to the best peer of the same run: below 1 is
quicker. `memory` is the peak of the whole process as a ratio to the least of the peers."""
README = re.compile(r"(?<=<!-- benchmarks.cpu -->\n).*?(?=<!-- end -->)", re.DOTALL)


def keep(name: str, record: Record, folder: Path = DOCS) -> None:
    """Write a record, and the page anew; of the comparison the table of the README as well."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1)
    (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    folder.with_suffix(".md").write_text(page(folder), encoding="utf-8")
    if folder == DOCS and name == "cpu":
        readme = ROOT / "README.md"
        text = README.sub(lambda _: f"{front(record)}\n", readme.read_text(encoding="utf-8"))
        readme.write_text(text, encoding="utf-8")


def page(folder: Path = DOCS) -> str:
    parts = [HEAD]
    for name, part in PARTS.items():
        path = folder / f"{name}.json"
        if path.exists():
            parts.append(part(json.loads(path.read_text(encoding="utf-8"))))
    notes = folder / "notes.md"
    if notes.exists():
        parts.append(notes.read_text(encoding="utf-8").strip())
    return "\n\n".join(parts) + "\n"


def cpu(record: Record) -> str:
    """Side by side with peers."""
    tables = [table(entry, record["machine"]) for entry in record["workloads"].values()]
    parts = ["## Beside other programs", front(record), EXPLAINED, *map(detailed, tables)]
    return "\n\n".join(parts)


def front(record: Record) -> str:
    """The table in short, in ratios alone, and what it was measured on: the README has it too."""
    machine = record["machine"]
    tables = [table(entry, machine) for entry in record["workloads"].values()]
    versions = ", ".join(f"{name} {v}" for name, v in record["versions"].items())
    busy = max((t.others for t in tables), default=0.0)
    disturbed = ""
    if busy > BUSY:
        disturbed = f" **The machine was busy**: others used up to {busy:.1f} cores in the median "
        disturbed += f"block. {PROCESSOR if record['processor'] else 'Only large ratios count.'}"
    left_out = [f"{WORKLOADS[n].title} ({why})" for n, why in record["missing"].items()]
    left_out += [w.title for n, w in WORKLOADS.items()
                 if n not in record["workloads"] and n not in record["missing"]]  # fmt: skip
    not_run = f" Not in this run: {', '.join(left_out)}." if left_out else ""
    return "\n\n".join([f"{RATIOS}{not_run}", summary(tables),
                        f"{told(machine)} {versions}.{disturbed}"])  # fmt: skip


def scale(record: Record) -> str:
    """How time grows."""
    rows = [
        [r["what"], ", ".join(f"{n:,}" for n in r["sizes"]), ", ".join(map(number, r["ratios"])),
         number(r["wanted"])]
        for r in record["rows"]
    ]  # fmt: skip
    titles = ("what grows", "sizes", "time", "the last is to be")
    return "\n\n".join(["## Scale", record["said"], markdown(titles, rows)])


def memory(record: Record) -> str:
    """The arena against what is alive at once."""
    rows = [
        [r["spec"], r["program"], f"{r['arena']:,}", f"{r['alive']:,}", number(r["ratio"])]
        for r in record["rows"]
    ]
    titles = ("spec", "program", "arena, bytes", "alive at once", "ratio")
    return "\n\n".join(["## Memory", record["said"], markdown(titles, rows)])


PARTS: dict[str, Callable[[Record], str]] = {"cpu": cpu, "scale": scale, "memory": memory}
