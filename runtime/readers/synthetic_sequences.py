"""Synthetic sets of sequences: the standard tasks on which memory is measured.

The sets of 1997 are those of Hochreiter and Schmidhuber, "Long short-term memory", Neural
Computation 9(8), sections 5.3 to 5.5; `latch` was Bengio, Simard and Frasconi's before (1994).
Their sequences are of unequal length: what lies past the end is 0, and `length` says where it is.
In shapes T is the number of steps, or the least number of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dln.runtime.readers.generators import Draws, Set, Values, Wrong, at_least, index, real

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GLYPHS = (
    "### .#. ### ### #.# ### ### ### ### ###",
    "#.# ##. ..# ..# #.# #.. #.. ..# #.# #.#",
    "#.# .#. ### ### ### ### ### ..# ### ###",
    "#.# .#. #.. ..# ..# ..# #.# ..# #.# ..#",
    "### ### ### ### ..# ### ### ..# ### ###",
)
"""The digits 0 to 9, 3 wide and 5 high."""


def most_steps(v: Values) -> int:
    """The longest of the sequences of 1997, which have T to T + T/10 steps."""
    return int(v["T"]) + int(v["T"]) // 10


def cut(x: NDArray[Any], length: NDArray[np.int64]) -> None:
    """Set to 0 what lies past the end of each sequence; x is [count, T] or [count, T, n]."""
    import numpy as np  # late: NumPy

    x[np.arange(x.shape[1]) >= length[:, None]] = 0.0


# ---- sums and products over a long lag ---------------------------------------------------------


def _adding(draws: Draws, v: Values) -> dict[str, Any]:
    """x[:, 0] uniform in [0, 1), x[:, 1] = 1 in one place of each half; t the sum of both."""
    import numpy as np  # late: NumPy

    steps, each = v["T"], np.arange(v["count"])
    x = np.zeros((v["count"], steps, 2))
    x[..., 0] = draws.unit("value", steps)
    first = draws.whole("first", steps // 2)
    second = steps // 2 + draws.whole("second", steps - steps // 2)
    x[each, first, 1] = x[each, second, 1] = 1.0
    return {"x": x, "t": x[each, first, 0] + x[each, second, 0]}


def _marked(
    draws: Draws, v: Values, low: float, neutral: float
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """x, length and the two marked values X1 and X2, as published.

    Values are uniform in [low, 1). The first mark is at one of the first ten pairs, the second at
    one of the first T/2 - 1 that are left; the first and the last pair have -1 where they are not
    marked. A marked first pair has the value `neutral`.
    """
    import numpy as np  # late: NumPy

    each = np.arange(v["count"])
    length = v["T"] + draws.whole("length", v["T"] // 10 + 1)
    x = np.zeros((v["count"], most_steps(v), 2))
    x[..., 0] = low + (1.0 - low) * draws.unit("value", most_steps(v))
    first = draws.whole("first", 10)
    second = draws.whole("second", v["T"] // 2 - 1)
    second += second >= first
    x[:, 0, 1] = x[each, length - 1, 1] = -1.0
    x[each, first, 1] = x[each, second, 1] = 1.0
    x[(first == 0) | (second == 0), 0, 0] = neutral
    cut(x, length)
    return x, length, x[each, first, 0], x[each, second, 0]


def _adding1997(draws: Draws, v: Values) -> dict[str, Any]:
    """t = 0.5 + (X1 + X2) / 4, which lies in [0, 1]; right where it is met to within 0.04."""
    x, length, one, two = _marked(draws, v, -1.0, 0.0)
    return {"x": x, "length": length, "t": 0.5 + (one + two) / 4.0}


def _multiplication(draws: Draws, v: Values) -> dict[str, Any]:
    """t = X1 X2, of values in [0, 1)."""
    x, length, one, two = _marked(draws, v, 0.0, 1.0)
    return {"x": x, "length": length, "t": one * two}


# ---- a first impression kept -------------------------------------------------------------------


def _latch(draws: Draws, v: Values) -> dict[str, Any]:
    """The first N steps are 1 for class 1 and -1 for class 0, the others normal of variance 0.2."""
    label = draws.whole("label", 2)
    length = v["T"] + draws.whole("length", v["T"] // 10 + 1)
    x = 0.2**0.5 * draws.normal("noise", most_steps(v))
    x[:, : v["N"]] = (2.0 * label - 1.0)[:, None]
    cut(x, length)
    return {"x": x, "length": length, "label": label}


def _first(draws: Draws, v: Values) -> dict[str, Any]:
    """A symbol, then `lag` others; the first is asked for at the end."""
    symbols = draws.whole("symbols", v["classes"], v["lag"] + 1)
    return {"symbols": symbols, "first": symbols[:, 0].copy()}


# ---- sequences to sequences --------------------------------------------------------------------


def _copy(draws: Draws, v: Values) -> dict[str, Any]:
    """At each step the symbol of `delay` steps before; before there is one, 0."""
    import numpy as np  # late: NumPy

    symbols = draws.whole("symbols", v["classes"], v["T"])
    target = np.zeros_like(symbols)
    target[:, v["delay"] :] = symbols[:, : v["T"] - v["delay"]]
    return {"symbols": symbols, "target": target}


def _reversal(draws: Draws, v: Values) -> dict[str, Any]:
    """n symbols, and the same from the last to the first."""
    source = draws.whole("source", v["classes"], v["n"])
    return {"source": source, "target": source[:, ::-1].copy()}


def _stutter(draws: Draws, v: Values) -> dict[str, Any]:
    """T/2 to T symbols, and the same with every odd one said twice: both of their own length."""
    import numpy as np  # late: NumPy

    steps = v["T"]
    source = draws.whole("source", v["classes"], steps)
    source_length = steps - draws.whole("length", steps // 2 + 1)
    times = 1 + source % 2
    times[np.arange(steps) >= source_length[:, None]] = 0
    ends = times.cumsum(1)
    cut(source, source_length)
    target_length = ends[:, -1].copy()
    places = np.minimum((ends[:, None, :] <= np.arange(2 * steps)[:, None]).sum(2), steps - 1)
    target = np.take_along_axis(source, places, 1)
    cut(target, target_length)
    return {"source": source, "source_length": source_length,
            "target": target, "target_length": target_length}  # fmt: skip


def _parity(draws: Draws, v: Values) -> dict[str, Any]:
    """Bits, and at each step whether the number of ones so far is odd."""
    bits = draws.whole("bits", 2, v["T"])
    return {"x": bits.astype("float64"), "label": bits.cumsum(1) % 2}


def _tags(draws: Draws, v: Values) -> dict[str, Any]:
    """A chain of tags, each as the one before with probability `stay`, else any other; and at each
    step a symbol that is the tag with probability `sure`, else any. T/2 to T steps."""
    import numpy as np  # late: NumPy

    steps, classes = v["T"], v["classes"]
    moves = 1 + draws.whole("moves", classes - 1, steps)
    moves[draws.unit("stay", steps) < v["stay"]] = 0
    moves[:, 0] = draws.whole("first", classes)
    tags = moves.cumsum(1) % classes
    symbols = np.where(
        draws.unit("sure", steps) < v["sure"], tags, draws.whole("other", classes, steps)
    )
    length = steps - draws.whole("length", steps // 2 + 1)
    cut(tags, length)
    cut(symbols, length)
    return {"symbols": symbols, "tags": tags, "length": length}


# ---- to and from a single thing ----------------------------------------------------------------


def _sign(draws: Draws, v: Values) -> dict[str, Any]:
    """Steps of 1 or -1, and whether their sum is positive."""
    x = 2.0 * draws.whole("steps", 2, v["T"]) - 1.0
    return {"x": x, "label": (x.sum(1) > 0.0).astype("int64")}


def _digits(draws: Draws, v: Values) -> dict[str, Any]:
    """A picture of n digits side by side, 3 x 5 each with an empty column between: what it says."""
    import numpy as np  # late: NumPy

    labels = draws.whole("labels", 10, v["n"])
    rows = np.array([[c == "#" for c in f"{row} "] for row in GLYPHS], np.float64)
    glyphs = rows.reshape(5, 10, 4).swapaxes(0, 1)  # [digit, 5, 4]
    wide = glyphs[labels].swapaxes(1, 2).reshape(len(labels), 5, -1)
    return {"image": wide[..., :-1].copy(), "labels": labels}


def _sign_wrong(v: Values) -> Wrong:
    what = f"T must be odd, or the sum may be 0; it is {v['T']}"
    return None if v["T"] % 2 else (what, f"T = {v['T'] + 1}")


def _tags_wrong(v: Values) -> Wrong:
    for key in ("stay", "sure"):
        if v[key] > 1:
            return f"{key} must be a probability, not {v[key]}", ""
    return at_least(v, "classes", 2)


SEQUENCES: dict[str, Set] = {
    "adding": Set(
        "the sum of the two marked numbers of T; always answering 1 errs by 1/6 in the mean square",
        {"T": 50, "count": 1000},
        lambda v: {"x": real(v["T"], 2), "t": real()},
        _adding,
        wrong=lambda v: at_least(v, "T", 2),
    ),
    "adding1997": Set(
        "the adding problem as published in 1997, T to T + T/10 steps",
        {"T": 100, "count": 1000},
        lambda v: {"x": real(most_steps(v), 2), "length": index(), "t": real()},
        _adding1997,
        wrong=lambda v: at_least(v, "T", 20),
    ),
    "copy": Set(
        "each symbol again, some steps later",
        {"T": 20, "delay": 3, "classes": 8, "count": 1000},
        lambda v: {"symbols": index(v["T"]), "target": index(v["T"])},
        _copy,
        classes="classes",
        wrong=lambda v: at_least(v, "T", v["delay"] + 1),
        peak=1.0,
    ),
    "digits-row": Set(
        "a picture of n digits side by side, and what they are",
        {"n": 3, "count": 1000},
        lambda v: {"image": real(5, 4 * v["n"] - 1), "labels": index(v["n"])},
        _digits,
        classes=10,
        peak=2.12,
    ),
    "first-symbol": Set(
        "which symbol came first, after as many others as the lag",
        {"lag": 40, "classes": 8, "count": 22000},
        lambda v: {"symbols": index(v["lag"] + 1), "first": index()},
        _first,
        classes="classes",
    ),
    "latch": Set(
        "the 2-sequence problem: the class is said in the first N steps, noise follows",
        {"T": 100, "N": 3, "count": 1000},
        lambda v: {"x": real(most_steps(v)), "length": index(), "label": index()},
        _latch,
        classes=2,
        wrong=lambda v: at_least(v, "T", v["N"] + 1),
        peak=1.14,
    ),
    "multiplication": Set(
        "the multiplication problem as published in 1997, T to T + T/10 steps",
        {"T": 100, "count": 1000},
        lambda v: {"x": real(most_steps(v), 2), "length": index(), "t": real()},
        _multiplication,
        wrong=lambda v: at_least(v, "T", 20),
    ),
    "parity-steps": Set(
        "at each step, whether the number of ones so far is odd",
        {"T": 10, "count": 1000},
        lambda v: {"x": real(v["T"]), "label": index(v["T"])},
        _parity,
        classes=2,
    ),
    "reversal": Set(
        "n symbols, and the same backwards",
        {"n": 5, "classes": 10, "count": 1000},
        lambda v: {"source": index(v["n"]), "target": index(v["n"])},
        _reversal,
        classes="classes",
        peak=1.0,
    ),
    "stutter": Set(
        "T/2 to T symbols, and the same with every odd one said twice",
        {"T": 8, "classes": 8, "count": 1000},
        lambda v: {
            "source": index(v["T"]),
            "source_length": index(),
            "target": index(2 * v["T"]),
            "target_length": index(),
        },
        _stutter,
        classes="classes",
    ),
    "tags": Set(
        "tags that seldom change, and symbols that often tell them; T/2 to T steps",
        {"T": 20, "classes": 3, "stay": 0.9, "sure": 0.5, "count": 1000},
        lambda v: {"symbols": index(v["T"]), "tags": index(v["T"]), "length": index()},
        _tags,
        classes="classes",
        wrong=_tags_wrong,
    ),
    "sign": Set(
        "whether the sum of T numbers, each 1 or -1, is positive",
        {"T": 9, "count": 1000},
        lambda v: {"x": real(v["T"]), "label": index()},
        _sign,
        classes=2,
        wrong=_sign_wrong,
    ),
}
