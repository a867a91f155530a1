"""A map that is proposed, for a person to read and put right: by names and shapes, never used
without being asked for. What may be meant in several ways stands in comments.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from math import prod

from dln.weights.held import WeightsFile
from dln.weights.taking import Shape, ways

KINDS = {
    "weight": "weight kernel w weights coefs coef k wx u wh e embeddings",
    "bias": "bias b biases intercepts intercept beta offset bh",
    "scale": "gamma g scale",
    "mean": "running_mean moving_mean mean m",
    "variance": "running_var moving_variance variance var s",
}  # fmt: skip
KIND = {word: kind for kind, words in KINDS.items() for word in words.split()}
"""What the last word of a name tells of an array."""


def proposed(there: WeightsFile, here: Mapping[str, Shape]) -> str:
    """The text of a map."""
    theirs = {k: a.shape for k, a in there.arrays.items()}
    pairs = _pairs(theirs, here)
    used = {ours for ours, _, _ in pairs.values()}
    free = [k for k in here if k not in used]
    rows: list[list[str] | str] = [["theirs", "ours", "how", "why"]]
    for name, shape in theirs.items():
        if name in pairs:
            ours, how, why = pairs[name]
            seen = f"{list(shape)} to {list(here[ours])}: {why}"
            if not how and ways(shape, here[ours]):
                seen += "; a square, which may be transposed"
            rows.append([name, ours, how, seen])
            continue
        rows.append([name, "", "", f"{list(shape)}: not clear"])
        rows += _comments(name, shape, {k: here[k] for k in free})
    rows += [["", k, "", f"{list(here[k])}: not clear"] for k in free]
    rows += [f"# {k} {why}" for k, why in there.others.items()]
    return "".join(f"{r}\n" if isinstance(r, str) else line(r) for r in rows)


def line(cells: Iterable[str]) -> str:
    """A line of CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _pairs(
    theirs: Mapping[str, Shape], here: Mapping[str, Shape]
) -> dict[str, tuple[str, str, str]]:
    """By their name ours, how, and why: the same name, the only ones that fit each other, or as
    many of a kind on either side, in order."""
    found = dict[str, tuple[str, str, str]]()
    for name, shape in theirs.items():
        if here.get(name) == shape:
            found[name] = (name, "", "the same name")
    _alone(theirs, here, found)
    for kind, why in ((_kind, "as many of its kind, in this order"),
                      (lambda name: "", "as many of its shape, in this order")):  # fmt: skip
        _in_order(theirs, here, found, kind, why)
        _alone(theirs, here, found)
    return found


Found = dict[str, tuple[str, str, str]]


def _open(theirs: Mapping[str, Shape], here: Mapping[str, Shape], found: Found) -> tuple[
    dict[str, Shape], dict[str, Shape]
]:  # fmt: skip
    """What is not paired yet, on either side."""
    used = {ours for ours, _, _ in found.values()}
    return ({k: s for k, s in theirs.items() if k not in found},
            {k: s for k, s in here.items() if k not in used})  # fmt: skip


def _alone(theirs: Mapping[str, Shape], here: Mapping[str, Shape], found: Found) -> None:
    """Pair what fits nothing else on either side."""
    left, free = _open(theirs, here, found)
    for name, shape in left.items():
        fits = [k for k, s in free.items() if _how(shape, s) is not None]
        if len(fits) != 1:
            continue
        back = [k for k, s in left.items() if _how(s, free[fits[0]]) is not None]
        if back == [name] and _kind(name) in ("", _kind(fits[0])):
            found[name] = (fits[0], _how(shape, free[fits[0]]) or "", "alone of its shape")


def _in_order(
    theirs: Mapping[str, Shape], here: Mapping[str, Shape], found: Found,
    kind: Callable[[str], str], why: str,
) -> None:  # fmt: skip
    """Pair those of a shape and a kind, where there are as many on either side."""
    left, free = _open(theirs, here, found)
    groups: tuple[dict[object, list[str]], dict[object, list[str]]] = {}, {}
    for group, side in zip(groups, (left, free), strict=True):
        for name, shape in side.items():
            plain = tuple(sorted(n for n in shape if n > 1))
            group.setdefault((plain, kind(name)), []).append(name)
    for key, names in groups[0].items():
        other = groups[1].get(key, [])
        hows = [_how(left[a], free[b]) for a, b in zip(names, other, strict=False)]
        if len(names) == len(other) and None not in hows:
            for a, b, how in zip(names, other, hows, strict=True):
                found[a] = (b, how or "", why)


def _kind(name: str) -> str:
    """What the last word of a name tells; nothing where it tells nothing."""
    words = re.split(r"[./:\[\]]+", name.lower().strip("]"))
    last = next((w for w in reversed(words) if w and not w.isdigit()), "")
    return KIND.get(last, KIND.get(re.sub(r"(_?l?\d+)+$|_[ih]h_l\d+$", "", last), ""))


def _how(shape: Shape, target: Shape) -> str | None:
    """The one way of an array into a parameter; None where there is none. Numbers keep their order
    where only axes of 1 differ; elsewhere a shape of as many numbers means nothing."""
    if shape == target:
        return ""
    found = ways(shape, target)
    if [n for n in shape if n > 1] == [n for n in target if n > 1] and found:
        return "reshaped"
    turns = [w for w in found if w != "reshaped"]
    return turns[0] if len(turns) == 1 or (turns and _windows(shape, target)) else None


def _windows(shape: Shape, target: Shape) -> bool:
    """Whether a kernel has its windows in front there and behind here, as Keras has."""
    return len(shape) == len(target) == 4 and shape[:2] == target[2:] and shape[3] == target[0]


def _comments(name: str, shape: Shape, free: Mapping[str, Shape]) -> list[str]:
    """Lines that may be meant, each behind a `#`."""
    made = list[str]()
    for ours, target in free.items():
        many, step = target[:2] if len(target) > 1 else (0, 0)
        if many > 1 and shape == (many * step, *target[2:]):
            made.append(f"# perhaps {name} in parts, in the order of the gates of {ours}:\n")
            made += ["# " + line([f"{name}[{i * step}:{i * step + step}]", f"{ours}[{i}]", "", ""])
                     for i in range(many)]  # fmt: skip
        elif prod(shape) == prod(target):
            turns = [""] if shape == target else ways(shape, target)
            made += ["# perhaps " + line([name, ours, how, ""]) for how in turns[:3]]
    return [text.rstrip("\n") for text in made[:24]]
