"""What is put in the place of an operation of another tool, worked out from its parts."""

from __future__ import annotations

import re

from dln.grammar.idioms.names import arguments, options, same

Holes = dict[str, str]
# Axes that a batch has moved: along them a sum is of one example.
BY_AXIS = ("sum", "mean", "max", "min")
ALONG = frozenset("argmax argmin softmax log_softmax norm std var prod median all any".split())
NUMBER = re.compile(r"-?\d[\w.]*")
MADE = frozenset("dense conv rnn lstm gru max_pool mean_pool".split())
LAYER = re.compile(r"((?:dense|conv)\([^()]*)\)")
KEPT = re.compile(r"keepdims? = .*")
OWN_AXES = frozenset({"", "1", "-1", "axis = 1", "axis = -1", "dim = 1", "dim = -1"})
OVER_ALL = "what is measured over all examples of the data is standardised(...) or scaled(...)"
OVER_RUNS = "a sweep tells the mean and the deviation of what it reports over its runs"
OF_ONE = "all is of one example, without an axis of the batch; others are named: sum(i: W[i, j])"


ACTIVATIONS = ("relu", "tanh", "sigmoid", "softmax")


def called(h: Holes) -> str | None:
    """`np.exp(z)`, of which there is the same here."""
    name, known = same(h["f"], h["known"].split()), h["known"].split()
    kept = [
        a for a in arguments(h["inside"]) if plain(a) not in OWN_AXES and not KEPT.match(plain(a))
    ]
    if len(kept) == 2 and plain(kept[1]) in ("axis = 0", "dim = 0") and name in BY_AXIS:
        return along({"f": name, "a": kept[0].strip(), "k": "0"})
    given = options(", ".join(kept), known, lambda text: text).removeprefix(", ")
    return f"{name}({given})" if name and given else None


def other_name(h: Holes) -> str | None:
    """`reduce_sum(x)`, of which there is the same under another name."""
    return called(h) if h["f"] != same(h["f"], h["known"].split()) else None


def activated(h: Holes) -> str | None:
    """`dense(100).relu`."""
    known = h["g"] in ("dense", "conv", "conv1d") and h["method"] in ACTIVATIONS
    return f"{h['g']}({h['inside']}, act = {h['method']})" if known else None


def method(h: Holes) -> str | None:
    """`x.sum(1)`, of which there is a function here."""
    name, given = same(h["method"], h["known"].split()), plain(h["inside"])
    own = all(plain(a) in OWN_AXES for a in arguments(given))
    if name in MADE and given:
        return f"({h['x']} -> {name}({given}))"
    if name in BY_AXIS and given == "0":
        return f"{name}(batch: {h['x']})"
    if (layer := LAYER.fullmatch(h["x"])) is not None and name and not given:
        return f"{layer[1]}, act = {name})"
    return f"{name}({h['x']})" if name and own else None


def plain(text: str) -> str:
    return " ".join(text.replace("=", " = ").split())


def by_axis(h: Holes) -> str | None:
    """`x.mean(dim=0)`."""
    name = same(h["method"], h["known"].split())
    own = name in BY_AXIS or (name in ALONG and h["k"] != "0")
    return along({"f": name, "a": h["x"], "k": h["k"]}) if own else None


def along(h: Holes) -> str | None:
    """An operation along an axis: the last is that of one example, the first that of the batch,
    which a list has not. What is written out has other axes, a number has none."""
    name, k, a = h["f"].rpartition(".")[2], h["k"], h["a"].strip()
    if name not in (*BY_AXIS, *ALONG) or k not in ("0", "1", "-1") or NUMBER.fullmatch(a):
        return None
    if k == "0" and (a.startswith("[") or name not in BY_AXIS):
        return None
    return f"{h['f']}({a})" if k != "0" else f"{h['f']}(batch: {a})"


def of_list(h: Holes) -> str | None:
    """`sum([1, 2, 3], axis = 0)`: of a list of numbers there is one axis."""
    numbers = h["f"] in (*BY_AXIS, *ALONG) and not re.search(r"[\[\]]", h["inside"])
    return f"{h['f']}([{h['inside']}])" if numbers and h["k"] in ("0", "-1") else None


def indexed(name: str, h: Holes) -> str | None:
    """`sum(i, x[i])`."""
    return None if NUMBER.fullmatch(h["a"].strip()) else f"{name}({h['index']}: {h['a']})"


def summing(h: Holes) -> str:
    """`sum_ij(W[i, j])`."""
    name, _, index = h["summing"].partition("_")
    return f"{name}({', '.join(index)}: {h['inside']})"


def upto(stop: str, first: str = "0") -> str:
    """A range up to a number that is not in it."""
    return f"{first}..{int(stop) - 1}" if stop.isdigit() else f"{first}..{stop} - 1"


def joined(h: Holes) -> str:
    """What is joined, out of its list."""
    lists = arguments(h["all"])
    bare = h["all"].strip()
    return f"concat({bare[1:-1] if len(lists) == 1 and bare.startswith('[') else bare})"


def spaced(h: Holes) -> str:
    """`linspace(a, b, n)` as a list."""
    first, last, n = h["a"].strip(), h["b"].strip(), int(h["k"]) - 1
    return f"[for k in 0..{n}: {first} + k * ({last} - {first}) / {n}]"


def of_runs(h: dict[str, str]) -> str | None:
    """`std(fit.error)`, of a report, which is one number in each run."""
    plain_report = re.fullmatch(r"\s*[a-z_]\w*\.[a-z_]\w*\s*", h["a"]) is not None
    return f": report {h['a'].strip()}, in a sweep that varies seed" if plain_report else None


def of_columns(h: dict[str, str]) -> str | None:
    """`std(raw[:4])`, in a data set."""
    raw = re.search(r"\braw\b[\w.]*(?:\[[^\[\]]*\])?", h["a"])
    return None if raw is None else f": standardised({raw[0]}) for (raw - mean) / deviation"
