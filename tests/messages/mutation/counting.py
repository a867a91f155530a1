"""Many mutants, answered and mended; their table."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from dln.spec import Spec
from mutation import corpus
from mutation.edits import Edit, edited
from mutation.judging import FOLDER, Answer, Place, answer, either, place
from mutation.mending import ABSENT, ADVICE, ERROR, OTHER, RESTORED, Mended, mended

OUTCOMES = (RESTORED, OTHER, ERROR, ADVICE, ABSENT)


@dataclass(frozen=True)
class Tried:
    """A mutant that was refused: the edit, the answer, where it points, what the remedy did."""

    name: str
    edit: Edit
    answer: Answer
    place: Place
    mended: Mended


@cache
def original(name: str, text: str) -> Spec | None:
    """A text before any edit, read once; None for a slice that means nothing by itself."""
    return answer(text, name).made


def run(texts: Mapping[str, str], seed: int, count: int) -> Iterator[Tried | None]:
    """So many mutants of some texts, each with what became of it; None for one that is accepted."""
    rng = random.Random(seed)
    while count:
        name = corpus.one(texts, rng)
        edit = edited(texts[name], rng)
        if edit is None or original(name, edit.original) is None:
            continue
        count -= 1
        yield tried(name, edit)


def tried(name: str, edit: Edit) -> Tried | None:
    """A mutant answered, and mended where it is refused."""
    found = answer(edit.mutant, name)
    if found.made is not None:
        return None
    where, meant = place(edit, found.problems[0].span), original(name, edit.original)
    if either(found.problems[0], edit):
        where = Place(True, True, True)
    assert meant is not None
    return Tried(name, edit, found, where, mended(found, edit, name, meant))


# ---- the table ---------------------------------------------------------------------------------


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:5.1f}" if whole else "    -"


def table(found: Iterable[Tried], by: Callable[[Tried], str]) -> str:
    """A row for each kind: how many, per cent on line and token, problems, what remedies did."""
    groups: dict[str, list[Tried]] = {}
    for one in found:
        groups.setdefault(by(one), []).append(one)
    rows = sorted(groups.items(), key=lambda row: -len(row[1]))
    head = f"{'':24}  refused  line  token  problems  " + "  ".join(f"{o:>8}" for o in OUTCOMES)
    return "\n".join([head, *(f"{name:24}  {_row(some)}" for name, some in rows)])


def _row(some: list[Tried]) -> str:
    count = len(some)
    line, token = (sum(getattr(t.place, k) for t in some) for k in ("line", "token"))
    many = sum(len(t.answer.problems) for t in some) / count
    outcomes = Counter(t.mended.outcome for t in some)
    counts = "  ".join(f"{outcomes[o]:8}" for o in OUTCOMES)
    return f"{count:7}  {share(line, count)}  {share(token, count)}  {many:8.1f}  {counts}"


def examples(found: Iterable[Tried], most: int = 3) -> str:
    """Of each code some answers that point elsewhere, and remedies that do not mend."""
    shown: dict[tuple[str, str], list[str]] = {}
    for one in found:
        wrong = [] if one.place.token else ["off the token" if one.place.line else "off the line"]
        wrong += [one.mended.outcome] if one.mended.outcome in (OTHER, ERROR) else []
        for kind in wrong:
            shown.setdefault((one.answer.code, kind), []).append(_example(one))
    parts = []
    for (code, kind), some in sorted(shown.items(), key=lambda row: -len(row[1])):
        parts.append(f"==== {code}, {kind}: {len(some)}")
        parts += some[:most]
    return "\n".join(parts)


def _example(one: Tried) -> str:
    edit = one.edit
    line = edit.mutant.count("\n", 0, edit.start) + 1
    what = f"-- {one.name}:{line}: {edit.operator}: {edit.old!r} -> {edit.text!r}"
    return f"{what}\n{one.answer.problems[0]}\n".replace(f"{FOLDER}/", "")
