"""The records of the specs as one readable page: an overview, tables of published figures, and a
section for each spec.

A row is what one expectation says, with all its turns where a loop repeats it. A spec of many
expectations has its checks drawn together, a row each, with the last figure of each as the key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dln.printing.files import markdown
from dln.printing.terminal import cut, number, plural
from dln.reading.facts import Facts
from dln.reading.mentions import SEED
from dln.results.published import About, comparison
from dln.results.records import Data, Measurements, grouped, left, numbers
from dln.results.sweep_table import SweepTable, by_cell, same, seeds_of, title
from dln.results.verdicts import beyond, duration, verdict

MOST = 6  # rows of one spec
WIDE = 34  # characters of a value that is printed whole
OLDER = "[^older]"
SIGNS = {"==": "", "<=": "≤ ", ">=": "≥ ", "!=": "≠ "}

HEAD = """# Results

What the specs measure, beside what was published. `dln results` runs them and writes this page;
with `--slow` it runs the full recipes and the sweeps. A figure that is *missed by* some amount lies
that far outside of its tolerance. A time is that of the training which a figure rests on. A seed is
that of the run, then that of each phase which fixes its own.
"""

MISSES = """## What is missed

Every published figure or bound that was run and is not met. The tests expect these misses and no
others: one that is new fails, and so does one that is met after all, until it is recorded.

"""

FOOT = """
[^older]: Measured before the last change of the spec's text.
"""


@dataclass(frozen=True)
class Known:
    """What a spec's text says: facts, digest, figures as yet without values, and the runs of
    its sweeps; `problem` where it cannot be read. `seeds` are the constants that are seeds, each
    with its value; `remarks` what comments say of a check or a sweep."""

    facts: Facts
    digest: str
    waiting: list[Data]
    sweeps: dict[str, list[Data]]
    problem: str = ""
    seeds: Mapping[str, Any] = field(default_factory=lambda: {SEED: None})
    remarks: Mapping[tuple[str, str], str] = field(default_factory=dict)


def is_page(path: Path) -> bool:
    """Whether a file is such a page, which may be written anew."""
    with suppress(OSError), open(path, "rb") as file:
        return file.read(len(HEAD)).startswith(HEAD[:100].encode())
    return False


def document(
    known: Mapping[str, Known], records: Mapping[str, Measurements], about: About | None = None
) -> str:
    """The whole page; `about` is what is said of all specs together."""
    about = about or About()
    rows = {name: records[name].figures or k.waiting for name, k in known.items()}
    others = {name: r.figures for name, r in records.items() if name not in known}
    parts = [HEAD, overview(known, records, rows)]
    parts += [comparison(t, {**rows, **others}) for t in about.tables]
    parts += [misses(known, records)]
    parts += [section(k, records[name], rows[name], about) for name, k in known.items()]
    text = "\n".join(part for part in parts if part)
    return text + FOOT if OLDER in text else text


# ---- the overview ------------------------------------------------------------------------------


def overview(
    known: Mapping[str, Known],
    records: Mapping[str, Measurements],
    rows: Mapping[str, Sequence[Data]],
) -> str:
    """A line for each spec; with its slides, where some have such."""
    slides = any(k.facts.slides for k in known.values())
    lines = []
    for name, k in known.items():
        figures = [*rows[name], *(c for r in records[name].rows for c in r["checks"])]
        lines.append([f"[`{name}`](#{name})", *([k.facts.slides or "–"] * slides), k.facts.title,
                      k.facts.source, counts(figures, records[name])])  # fmt: skip
    return markdown(["spec", *(["slide"] * slides), "network", "source", "expectations"], lines)


def counts(figures: Sequence[Data], record: Measurements) -> str:
    """`4 of 5 passed, 1 not run`."""
    if record.problem and not record.runs:
        return "failed"
    found = Counter(f["status"] for f in figures)
    if found["not run"] == len(figures):
        return "not run"
    more = [
        f"{found[s]} {s}".replace("failed", "missed") for s in ("failed", "not run") if found[s]
    ]
    return ", ".join([f"{found['passed']} of {len(figures)} passed", *more])


# ---- a spec ------------------------------------------------------------------------------------


def section(known: Known, record: Measurements, figures: Sequence[Data], about: About) -> str:
    """Title, slide and source of a spec, its figures, its sweeps, when and where they were run."""
    facts = known.facts
    slides = f"Slide{'s' if len(facts.slides.split(', ')) > 1 or '-' in facts.slides else ''}"
    where = f"{slides} {facts.slides}." if facts.slides else about.beyond
    source = f"Source: {facts.source}." if facts.source else ""
    about_it = " ".join(filter(None, [f"{facts.title}.", where, source]))
    parts = [f"## {facts.name}\n", f"{about_it}\n"]
    problem = known.problem or record.problem
    if problem:
        parts.append(f"**{problem[:1].upper()}{problem[1:]}.**\n")
    head = ["figure", "published or bound", "measured", "tolerance", "time", "seed", "verdict"]
    if figures:
        parts.append(markdown(head, (_row(r, known, record) for r in drawn_together(figures))))
        said = {text: known.remarks.get(("check", text)) for text in (f["check"] for f in figures)}
        parts.append("".join(f"- {text}: {remark}\n" for text, remark in said.items() if remark))
    parts += [swept(name, runs, known, record) for name, runs in known.sweeps.items()]
    parts.append(origins(record))
    return "\n".join(p for p in parts if p)


def origins(record: Measurements) -> str:
    """The runs that the figures come from, each once."""
    found = dict.fromkeys(
        f"{r['date']}, {r['machine']}, NumPy {r['numpy']}, Python {r['python']}, dln {r['dln']}"
        for r in record.runs
    )
    return f"Run: {'; '.join(found)}.\n" if found else ""


@dataclass(frozen=True)
class FigureGroup:
    """Figures that share a row: of one expectation, or of a whole check. `key` is the last."""

    figures: list[Data]
    whole: bool = False
    title: str = ""

    @property
    def key(self) -> Data:
        return self.figures[-1]


def drawn_together(figures: Sequence[Data]) -> list[FigureGroup]:
    """The rows of a spec: expectation by expectation; then, check by check until there are few
    enough, what is no published figure of a training in one row."""
    checks = grouped(figures, lambda f: f["check"])
    rows = {text: [FigureGroup(alike) for alike in grouped(found, lambda f: f["expect"]).values()]
            for text, found in checks.items()}  # fmt: skip
    minor = {text: [g for g in groups if not is_key(g.key)] for text, groups in rows.items()}
    for text in sorted(rows, key=lambda t: (len(minor[t]), t), reverse=True):
        if sum(map(len, rows.values())) > MOST and len(minor[text]) > 1:
            others = [f for g in minor[text] for f in g.figures]
            keys = [g for g in rows[text] if is_key(g.key)]
            rows[text] = [*keys, FigureGroup(others, whole=True)]
    return [replace(group, title="" if i else text)
            for text, groups in rows.items() for i, group in enumerate(groups)]  # fmt: skip


def is_key(f: Data) -> bool:
    """Whether a training is known by a figure: equal, within a tolerance worth saying."""
    expected, within = numbers(f["expected"]), numbers(f["within"])
    wide = bool(expected and within) and max(within) > 1e-4 * max(map(abs, expected))
    return bool(f["phases"]) and f["op"] == "==" and wide


def _row(group: FigureGroup, known: Known, record: Measurements) -> list[str]:
    seconds = max(f["seconds"] for f in group.figures)
    ran = [f for f in group.figures if f["status"] != "not run"]
    return [_named(group), *_values(group), _tolerance(group), duration(seconds) if ran else "",
            seeds_of(ran, [record.run_of(f)["seed"] for f in ran]) if seconds else "",
            verdict(group.figures) + older(ran, known, record)]  # fmt: skip


def older(figures: Iterable[Data], known: Known, record: Measurements) -> str:
    """The footnote of a figure that an earlier text of the spec gave."""
    return OLDER if any(record.run_of(f)["text"] != known.digest for f in figures) else ""


def _named(group: FigureGroup) -> str:
    """The sentence of the check, and what is measured, in the words of the spec."""
    n = len(group.figures)
    if group.whole:
        what = f"{n} figures, the last is" if group.title else f"{n} further figures, the last is"
    else:
        what = "" if n == 1 else f"{n} cases of"
    what = f"{what} {_left(group.key)}".strip()
    return f"{group.title}: {what}" if group.title else what


def _left(figure: Data) -> str:
    return f"`{cut(left(figure), 60)}`"


def _values(group: FigureGroup) -> list[str]:
    """What was published and what was measured, case by case where that is short."""
    figures = group.figures[-1:] if group.whole else group.figures
    wanted, found = [_expected(f) for f in figures], [_measured(f) for f in figures]
    off = max((f["off"] for f in figures if "off" in f), default=None)
    more = "" if off is None else ", equal" if off == 0 else f", off by {off:.2g} at most"
    return [_joined(wanted, [f["expected"] for f in figures], _sign(figures[0])),
            _joined(found, [f["value"] for f in figures], "", more)]  # fmt: skip


def _joined(cells: Sequence[str], values: Sequence[Any], sign: str, more: str = "") -> str:
    """Cells one after another; where that is too long, their range or number, and `more`."""
    alike = len(set(cells)) == 1
    text = cells[0] if alike else ", ".join(cells)
    if alike and text.endswith(" numbers"):
        return text + more
    if len(text) <= WIDE or len(cells) == 1:
        return text
    found = [x for v in values for x in numbers(v)]
    if len(found) == len(cells) and not more:
        return f"{sign}{number(min(found))} to {number(max(found))}"
    return f"{len(cells)} cases{more}"


def _expected(f: Data) -> str:
    if f["expected"] is None:
        if f.get("count"):
            return f"{f['count']} numbers"
        right = f["expect"].partition(f" {f['op']} ")[2].split(" within ")[0]
        return f"{_sign(f)}`{cut(right, WIDE)}`"
    if f["expected"] is True and f["op"] == "==":
        return "holds"
    return _sign(f) + _short(f["expected"], f["within"])


def _sign(f: Data) -> str:
    return SIGNS.get(f["op"], f"{f['op']} ")


def _measured(f: Data) -> str:
    if f["status"] == "not run":
        return "not run"
    if f["expected"] is True and f["op"] == "==":
        return "holds" if f["value"] is True else "does not hold"
    return f"{f['count']} numbers" if f["value"] is None else _short(f["value"], f["within"])


def _short(value: Any, within: float | None) -> str:
    text = number(value, max(numbers(within), default=None))
    long = isinstance(value, list) and (len(text) > WIDE or "..." in text)
    return f"{len(numbers(value))} numbers" if long else text


def _tolerance(group: FigureGroup) -> str:
    equal = [f for f in group.figures if f["op"] == "=="]
    widest = max((w for f in equal for w in numbers(f["within"])), default=None)
    if widest is None:
        return "exact" if equal else "bound"
    return "± " + number(widest).replace("e-0", "e-")


# ---- sweeps ------------------------------------------------------------------------------------


def swept(name: str, runs: Sequence[Data], known: Known, record: Measurements) -> str:
    """The table of a sweep, and what the spec says of it."""
    rows = record.sweeps.get(name, [])
    if not rows:
        command = f"`dln sweep {known.facts.name} {name}`"
        return f"Sweep `{name}`: {plural(len(runs), 'run')}, not run ({command}).\n"
    found = SweepTable(runs, known.seeds, rows)
    lines = found.lines(record, lambda some: older(some, known, record))
    remark = known.remarks.get(("sweep", name), "")
    said = f"{title(name, runs, known.seeds, rows)} {remark}".strip()
    return f"{said}\n\n" + markdown(found.head(), lines)


# ---- misses ------------------------------------------------------------------------------------


def misses(known: Mapping[str, Known], records: Mapping[str, Measurements]) -> str:
    """Every figure that was missed, and of each sweep the runs that missed one."""
    lines = []
    for name, k in known.items():
        link = f"[`{name}`](#{name})"
        lines += [[link, *_missed(f, "")] for f in records[name].figures if f["status"] == "failed"]
        for sweep, runs in k.sweeps.items():
            lines += [[link, *cells] for cells in _missed_in(sweep, runs, k, records[name])]
    head = ["spec", "figure", "published or bound", "measured", "tolerance", "missed"]
    return MISSES + markdown(head, lines) if lines else ""


def _missed(f: Data, where: str) -> list[str]:
    """A figure that was missed, and by how much."""
    group = FigureGroup([f])
    by = beyond(f)
    amount = "" if by is None else f"by {by:.3g}" if by else "just at the bound"
    return [_left(f) + where, *_values(group), _tolerance(group), amount]


def _missed_in(
    sweep: str, runs: Sequence[Data], known: Known, record: Measurements
) -> Iterator[list[str]]:
    """What the runs of a sweep missed: those of one cell together, the worst of them in figures."""
    rows = {same(r["constants"]): r for r in record.sweeps.get(sweep, ())}
    ran = [run for run in runs if same(run) in rows]
    for cell, alike in by_cell(ran, known.seeds).items():
        found = [rows[same(run)] for run in alike]
        for i in range(max(len(r["checks"]) for r in found)):
            checks = [r["checks"][i] for r in found if i < len(r["checks"])]
            failed = [c for c in checks if c["status"] == "failed"]
            if failed:
                worst = max(failed, key=lambda c: beyond(c) or 0.0)
                many = f", {len(failed)} of {len(checks)} runs" if len(checks) > 1 else ""
                where = f" of `{sweep}`{': ' if cell else ''}{cell}{many}"
                yield _missed(worst, where)
