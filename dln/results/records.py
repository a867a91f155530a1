"""What was measured of a spec, in one small JSON file, from one run to the next.

    spec             whose figures they are
    runs             when, seed, versions, machine, the digest of the spec: those still referred to
    figures          one for each expectation: what was found, how long it took, in which run; with
                     `seeds` that phases fix, and of one that was not reached how far it `reached`
    sweeps           rows by sweep: constants, reports, expectations, and in which run
    problem          why the last run gave nothing, where it did not

A run takes the place of what it measured again, and of nothing else.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from dln.grammar import syntax
from dln.grammar.diagnostics import Fault
from dln.grammar.printer import to_text
from dln.printing.files import allowed, as_json, put
from dln.printing.terminal import present
from dln.running.training import closure
from dln.runtime.checkpoint.rundir import machine

Data = dict[str, Any]
Item = TypeVar("Item")
ELSEWHERE = "give another file by --to"
MOST = 64  # numbers of a value that are written down
OF_FIGURE = ("expect", "op", "status", "value", "expected", "within", "reason", "phases")


@dataclass
class Measurements:
    """The measurements of one spec."""

    spec: str
    runs: list[Data] = field(default_factory=list)
    figures: list[Data] = field(default_factory=list)
    sweeps: dict[str, list[Data]] = field(default_factory=dict)
    problem: str = ""

    def take_run(self, found: Mapping[str, Any], run: Data) -> None:
        """The figures that `dln run --json` printed; one that it did not reach stays as it was."""
        before, phases = _by_key(self.figures), found["phases"]
        after = {name: p.get("after", ()) for name, p in phases.items()}
        new = []
        for check in found["checks"]:
            rests_on = sorted(closure(check["phases"], after) & phases.keys())
            figure = {
                "check": check["text"], **{k: check[k] for k in OF_FIGURE},
                "seconds": round(sum(phases[p]["seconds"] for p in rests_on), 3),
                "run": len(self.runs),
                **present(seeds={p: phases[p]["seed"] for p in rests_on if "seed" in phases[p]},
                          reached=check.get("reached")),
            }  # fmt: skip
            new.append(_shortened(figure))
        for key, figure in _by_key(new).items():
            earlier = before.get(key, figure)
            further = "reached" in earlier and "reached" not in figure
            if figure["status"] == "not run" and (earlier["status"] != "not run" or further):
                figure |= earlier
        self.figures, self.problem = new, ""
        self.runs.append(run)
        self._tidy()

    def take_sweeps(self, found: Mapping[str, Any], run: Data) -> None:
        """The rows that `dln sweep --json` printed."""
        for name, rows in found["sweeps"].items():
            new = {_constants(r): {**_row(r), "run": len(self.runs)} for r in rows}
            kept = {_constants(r): r for r in self.sweeps.get(name, ())}
            self.sweeps[name] = list({**kept, **new}.values())
        self.runs.append(run)
        self._tidy()

    def _tidy(self) -> None:
        """Drop the runs that nothing refers to, and count the others anew."""
        kept = [*self.figures, *self.rows]
        used = sorted({k["run"] for k in kept})
        for each in kept:
            each["run"] = used.index(each["run"])
        self.runs = [self.runs[i] for i in used]

    def changes(self, found: Mapping[str, Any], sweep: str = "") -> list[str]:
        """Where the misses of a new run, or of a new row of a sweep, are not those recorded: one
        that is new, one that is met at last. What the new one has not measured is passed over."""
        constants = _constants(found) if sweep else ""
        same = [r for r in self.sweeps.get(sweep, ()) if _constants(r) == constants]
        before = [{**c, "check": ""} for r in same for c in r["checks"]] if sweep else self.figures
        old = {k: f["status"] for k, f in _by_key(before).items()}
        new = _by_key({**c, "check": "" if sweep else c["text"]} for c in found["checks"])
        where = f" with {constants}" if sweep else ""
        said = {"failed": "newly missed", "passed": "no longer missed"}
        return [f"{said[f['status']]}: {f['expect']}{where}" for k, f in new.items()
                if f["status"] != "not run"
                and (f["status"] == "failed") != (old.get(k) == "failed")]  # fmt: skip

    @property
    def rows(self) -> list[Data]:
        """The rows of all sweeps."""
        return [r for rows in self.sweeps.values() for r in rows]

    def run_of(self, figure: Mapping[str, Any]) -> Data:
        """The run that a figure or a row comes from."""
        found: Data = self.runs[figure["run"]]
        return found

    def only(self, sweeps: Collection[str]) -> None:
        """Forget the sweeps that the spec no longer has."""
        self.sweeps = {k: self.sweeps[k] for k in self.sweeps if k in sweeps}
        self._tidy()

    def as_data(self) -> Data:
        return {k: v for k, v in vars(self).items() if v or k != "problem"}


def _by_key(figures: Iterable[Data]) -> dict[tuple[str, str, int], Data]:
    """Figures by check, expectation and, where a loop repeats it, its turn."""
    turns: dict[tuple[str, str], int] = defaultdict(int)
    found = {}
    for f in figures:
        pair = f["check"], f["expect"]
        found[*pair, turns[pair]] = f
        turns[pair] += 1
    return found


def grouped(items: Iterable[Item], key: Callable[[Item], str]) -> dict[str, list[Item]]:
    """Items of one key together, in the order of the first of each."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _row(row: Mapping[str, Any]) -> Data:
    checks = [{k: c[k] for k in OF_FIGURE if k != "phases"} for c in row["checks"]]
    problem = next((p["message"] for p in row.get("problems", ())), "")
    return {"constants": row["constants"], "reports": row["reports"],
            "seconds": round(row["seconds"], 3), "checks": checks,
            **present(seeds=row.get("seeds"), problem=problem)}  # fmt: skip


def _constants(row: Mapping[str, Any]) -> str:
    return json.dumps(row["constants"], sort_keys=True)


def _shortened(figure: Data) -> Data:
    """A figure whose long lists are replaced by how far apart they are at most."""
    value, expected = numbers(figure["value"]), numbers(figure["expected"])
    if isinstance(figure["value"], list):
        figure["count"] = len(value)
        if figure["op"] == "==" and value and expected:
            figure["off"] = largest(value, expected)
        if len(value) > MOST:
            figure["value"] = None
    if len(expected) > MOST:
        figure["expected"] = None
    return figure


def left(figure: Data) -> str:
    """The measured side of an expectation, in the words of the spec."""
    text: str = figure["expect"].split(f" {figure['op']} ")[0]
    return text.strip()


def numbers(value: Any) -> list[float]:
    """The numbers of a value, row by row; nothing where there is none.

    >>> numbers([[1, 2], [3.5]]), numbers("nan")[0] != numbers("nan")[0], numbers(None)
    ([1.0, 2.0, 3.5], True, [])
    """
    if isinstance(value, list | tuple):
        return [x for v in value for x in numbers(v)]
    if value in ("nan", "inf", "-inf") or isinstance(value, int | float):
        return [float(value)]
    return []


def largest(value: list[float], expected: list[float]) -> float:
    """The largest difference of two lists, or of a list and a number."""
    long = max(len(value), len(expected))
    pairs = zip(value * (long // len(value)), expected * (long // len(expected)), strict=False)
    return max(abs(a - b) for a, b in pairs)


# ---- files -------------------------------------------------------------------------------------


def read(folder: Path, spec: str) -> Measurements:
    """The record of a spec; an empty one where there is none. Raises `Fault` for a damaged one."""
    path = folder / f"{spec}.json"
    if not path.exists():
        return Measurements(spec)
    with allowed("read", path, ELSEWHERE):
        text = path.read_bytes()
    try:
        data = json.loads(text)
        return Measurements(
            spec, data["runs"], data["figures"], data["sweeps"], data.get("problem", "")
        )
    except (ValueError, KeyError, TypeError) as e:
        raise Fault(f"{path} is damaged: {e!r}", "remove it, and run the spec again") from e


def save(folder: Path, record: Measurements) -> None:
    """Write the record of a spec. Raises `Fault` E542."""
    put(folder / f"{record.spec}.json", as_json(record.as_data()), ELSEWHERE)


# ---- a run in words ----------------------------------------------------------------------------


def provenance(
    text: str, seed: int, seconds: float, backend: str, options: str,
    facts: Mapping[str, Any] | None = None, day: str = "",
) -> Data:  # fmt: skip
    """When and where a run was, in neutral words: now and here, where nothing else is said."""
    facts = facts or machine()
    versions = {k: facts[k] for k in ("dln", "python", "numpy")}
    return {"date": day or date.today().isoformat(), "seed": seed, "seconds": round(seconds, 1),
            **versions, "machine": in_words(facts, backend), "options": options,
            "text": text}  # fmt: skip


WIDEST = (("AVX512", "AVX-512"), ("AVX2", "AVX2"), ("AVX", "AVX"), ("SVE", "SVE"),
          ("ASIMD", "NEON"), ("NEON", "NEON"), ("VSX", "VSX"))  # fmt: skip


def in_words(facts: Mapping[str, Any], backend: str) -> str:
    """
    >>> in_words({"cpus": 2, "simd": ["SSE42", "AVX2", "AVX512F"]}, "numpy")
    '2 cores, AVX-512 CPU'
    """
    found = " ".join(facts["simd"])
    widest = next((f"{name} " for word, name in WIDEST if word in found), "")
    cores = f"{facts['cpus']} cores" if facts["cpus"] != 1 else "1 core"
    gpu = ", CUDA GPU" if backend == "cupy" else ""
    return f"{cores}, {widest}CPU{gpu}"


def digest(module: syntax.Module) -> str:
    """The digest of a spec's text, whatever its comments, its layout and its tasks: these decide no
    figure."""
    items = tuple(item for item in module.items if not isinstance(item, syntax.Task))
    return sha256(to_text(module.changed(items=items)).encode()).hexdigest()[:16]
