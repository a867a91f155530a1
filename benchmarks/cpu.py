"""dln beside its peers on CPUs, on every workload, in one run.

    python -m benchmarks.cpu [--quick] [-w mlp_b1,lenet_b64] [-i dln,JAX] [--rounds 7]
        [--threads 2] [--processor] [--python PATH] [--python tensorflow=PATH] [-o FOLDER]

Installs nothing: a peer that is not installed is named as absent, and so are data that are missing.
`--python` names the Python that has the peers, or one of them. A whole run writes its record and
`docs/performance.md`; a part of one does so with `-o` alone, into another folder. Every program
runs by itself for 1.5 s before its blocks of 0.5 s: a quarter of an hour in all. `--quick` takes
some workloads, starts their programs at once, and lets them run for 1 s and 0.25 s: under three
minutes on a machine that is quiet. On one that is not, `--threads 1 --processor` counts the time of
the processor on one core.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.comparison.machine import cores, described
from benchmarks.comparison.page import DOCS, keep
from benchmarks.comparison.rounds import Setting, absent, compared
from benchmarks.comparison.table import detailed, summary, table
from benchmarks.comparison.work import save
from benchmarks.comparison.workloads import QUICK, WORKLOADS
from benchmarks.peers import PROGRAMS
from dln import DlnError


def main(words: list[str]) -> None:
    given = asked(words)
    pythons = dict(w.split("=", 1) if "=" in w else ("", w) for w in given.python)
    rounds = given.rounds or (3 if given.quick else 7)
    setting = Setting(pythons, given.threads, rounds, given.quick, given.processor)
    names = given.w.split(",") if given.w else list(QUICK if given.quick else WORKLOADS)
    programs = re.split(r",(?! )", given.i) if given.i else list(PROGRAMS)
    unknown = {*names} - {*WORKLOADS} | {*programs} - {*PROGRAMS}
    if unknown:
        known = f"workloads: {', '.join(WORKLOADS)}\nprograms: {', '.join(PROGRAMS)}"
        sys.exit(f"there is no {', '.join(sorted(unknown))}\n{known}")
    record = run(names, programs, setting)
    whole = names == list(WORKLOADS) and programs == list(PROGRAMS) and not given.quick
    folder = Path(given.o) if given.o else DOCS if whole else None
    if folder is not None:
        keep("cpu", record, folder)
    entries = record["workloads"].values()
    print("\n" + summary(table(entry, record["machine"]) for entry in entries))


def asked(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks.cpu", description=__doc__.split("\n")[0])
    parser.add_argument("-w", metavar="NAMES", help=", ".join(WORKLOADS))
    parser.add_argument("-i", metavar="NAMES", help=", ".join(PROGRAMS))
    parser.add_argument("--rounds", type=int, metavar="N", help="blocks of each program [7]")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N", help="[all cores]")
    parser.add_argument("--python", action="append", default=[], metavar="[PACKAGE=]PATH")
    parser.add_argument("--processor", action="store_true", help="count time of the processor")
    parser.add_argument("--quick", action="store_true", help="a part, in under three minutes")
    parser.add_argument(
        "-o", metavar="FOLDER", help="where the record goes, and its page beside it"
    )
    return parser.parse_args(words)


def run(names: list[str], programs: list[str], setting: Setting) -> dict[str, Any]:
    """The record of a comparison; each table is printed as it is there."""
    machine, gone = described(setting.threads), absent(setting)
    record: dict[str, Any] = {"machine": machine, "processor": setting.processor, "versions": {},
                              "workloads": {}, "missing": {}}  # fmt: skip
    with TemporaryDirectory() as folder:
        for name in names:
            try:
                entry = measured(name, programs, gone, setting, Path(folder))
            except DlnError as error:
                record["missing"][name] = str(error.problems[0].message)
                print(f"{name}: left out, {record['missing'][name]}", flush=True)
                continue
            record["workloads"][name] = entry
            record["versions"] |= versions(entry)
            print(f"\n{detailed(table(entry, machine))}", flush=True)
    return record


def measured(
    name: str, programs: list[str], gone: Mapping[str, str], setting: Setting, folder: Path
) -> dict[str, Any]:
    """The record of one workload. Raises `DlnError` where its data are missing."""
    workload, path = WORKLOADS[name], folder / f"{name}.npz"
    work, least = workload.make(name)
    save(work, path)
    able = [p for p in programs if PROGRAMS[p].does(work.kind, work.infer)]
    found = compared(path, [p for p in able if p not in gone], setting)
    return {"title": workload.title, "kind": work.kind, "goal": workload.goal,
            "least": asdict(least), "absent": {p: gone[p] for p in able if p in gone},
            "programs": {p: m.data() for p, m in found.items()}}  # fmt: skip


def versions(entry: Mapping[str, Any]) -> dict[str, str]:
    """What the programs say that they are, by package."""
    found = entry["programs"].items()
    return {PROGRAMS[p].package: m["version"] for p, m in found if m["version"]}


if __name__ == "__main__":
    main(sys.argv[1:])
