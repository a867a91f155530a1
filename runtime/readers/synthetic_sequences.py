"""Synthetic sets of sequences: the standard tasks on which memory is measured.

The sets of 1997 are those of Hochreiter and Schmidhuber, "Long short-term memory", Neural
Computation 9(8), sections 5.3 to 5.5; `latch` was Bengio, Simard and Frasconi's before (1994).
Their sequences are of unequal length: what lies past the end is 0, and `length` says where it is.
In shapes T is the number of steps, or the least number of them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dln.grammar.diagnostics import Fault
from dln.runtime.readers.generators import Draws, Set, Shapes, Values

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


def at_least(name: str, key: str, v: Values, least: int) -> None:
    """Raise `Fault` where a parameter is too small for the task."""
    if v[key] < least:
        raise Fault(f'"{name}": {key} must be at least {least}, not {v[key]}', code="E510")


def most_steps(v: Values) -> int:
    """The longest of the sequences of 1997, which have T to T + T/10 steps."""
    return int(v["T"]) + int(v["T"]) // 10


def cut(x: NDArray[Any], length: NDArray[np.int64]) -> None:
    """Set to 0 what lies past the end of each sequence; x is [count, T] or [count, T, n]."""
    import numpy as np  # late: NumPy

    x[np.arange(x.shape[1]) >= length[:, None]] = 0.0


# ---- sums and products over a long lag ---------------------------------------------------------


def _adding_shapes(v: Values) -> Shapes:
    at_least("adding", "T", v, 2)
    return {"x": ((v["T"], 2), "real"), "t": ((), "real")}, v["count"], None


def _adding(v: Values) -> dict[str, Any]:
    """x[:, 0] uniform in [0, 1), x[:, 1] = 1 in one place of each half; t the sum of both."""
    import numpy as np  # late: NumPy

    draws, steps, each = Draws("adding", v), v["T"], np.arange(v["count"])
    x = np.zeros((v["count"], steps, 2))
    x[..., 0] = draws.unit("value", steps)
    first = draws.whole("first", steps // 2)
    second = steps // 2 + draws.whole("second", steps - steps // 2)
    x[each, first, 1] = x[each, second, 1] = 1.0
    return {"x": x, "t": x[each, first, 0] + x[each, second, 0]}


def _marked_shapes(name: str, v: Values) -> Shapes:
    at_least(name, "T", v, 20)
    fields: dict[str, Any] = {
        "x": ((most_steps(v), 2), "real"),
        "length": ((), "index"),
        "t": ((), "real"),
    }
    return fields, v["count"], None


def _marked(
    name: str, v: Values, low: float, neutral: float
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """x, length and the two marked values X1 and X2, as published.

    Values are uniform in [low, 1). The first mark is at one of the first ten pairs, the second at
    one of the first T/2 - 1 that are left; the first and the last pair have -1 where they are not
    marked. A marked first pair has the value `neutral`.
    """
    import numpy as np  # late: NumPy

    draws, each = Draws(name, v), np.arange(v["count"])
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


def _adding1997(v: Values) -> dict[str, Any]:
    """t = 0.5 + (X1 + X2) / 4, which lies in [0, 1]; right where it is met to within 0.04."""
    x, length, one, two = _marked("adding1997", v, -1.0, 0.0)
    return {"x": x, "length": length, "t": 0.5 + (one + two) / 4.0}


def _multiplication(v: Values) -> dict[str, Any]:
    """t = X1 X2, of values in [0, 1)."""
    x, length, one, two = _marked("multiplication", v, 0.0, 1.0)
    return {"x": x, "length": length, "t": one * two}


# ---- a first impression kept -------------------------------------------------------------------


def _latch_shapes(v: Values) -> Shapes:
    at_least("latch", "T", v, v["N"] + 1)
    fields: dict[str, Any] = {
        "x": ((most_steps(v),), "real"),
        "length": ((), "index"),
        "label": ((), "index"),
    }
    return fields, v["count"], 2


def _latch(v: Values) -> dict[str, Any]:
    """The first N steps are 1 for class 1 and -1 for class 0, the others normal of variance 0.2."""
    draws = Draws("latch", v)
    label = draws.whole("label", 2)
    length = v["T"] + draws.whole("length", v["T"] // 10 + 1)
    x = 0.2**0.5 * draws.normal("noise", most_steps(v))
    x[:, : v["N"]] = (2.0 * label - 1.0)[:, None]
    cut(x, length)
    return {"x": x, "length": length, "label": label}


def _first_shapes(v: Values) -> Shapes:
    fields: dict[str, Any] = {"symbols": ((v["lag"] + 1,), "index"), "first": ((), "index")}
    return fields, v["count"], v["classes"]


def _first(v: Values) -> dict[str, Any]:
    """A symbol, then `lag` others; the first is asked for at the end."""
    symbols = Draws("first-symbol", v).whole("symbols", v["classes"], v["lag"] + 1)
    return {"symbols": symbols, "first": symbols[:, 0].copy()}


# ---- sequences to sequences --------------------------------------------------------------------


def _copy_shapes(v: Values) -> Shapes:
    at_least("copy", "T", v, v["delay"] + 1)
    fields: dict[str, Any] = {"symbols": ((v["T"],), "index"), "target": ((v["T"],), "index")}
    return fields, v["count"], v["classes"]


def _copy(v: Values) -> dict[str, Any]:
    """At each step the symbol of `delay` steps before; before there is one, 0."""
    import numpy as np  # late: NumPy

    symbols = Draws("copy", v).whole("symbols", v["classes"], v["T"])
    target = np.zeros_like(symbols)
    target[:, v["delay"] :] = symbols[:, : v["T"] - v["delay"]]
    return {"symbols": symbols, "target": target}


def _reversal_shapes(v: Values) -> Shapes:
    fields: dict[str, Any] = {"source": ((v["n"],), "index"), "target": ((v["n"],), "index")}
    return fields, v["count"], v["classes"]


def _reversal(v: Values) -> dict[str, Any]:
    """n symbols, and the same from the last to the first."""
    source = Draws("reversal", v).whole("source", v["classes"], v["n"])
    return {"source": source, "target": source[:, ::-1].copy()}


def _parity_shapes(v: Values) -> Shapes:
    fields: dict[str, Any] = {"x": ((v["T"],), "real"), "label": ((v["T"],), "index")}
    return fields, v["count"], 2


def _parity(v: Values) -> dict[str, Any]:
    """Bits, and at each step whether the number of ones so far is odd."""
    bits = Draws("parity-steps", v).whole("bits", 2, v["T"])
    return {"x": bits.astype("float64"), "label": bits.cumsum(1) % 2}


# ---- to and from a single thing ----------------------------------------------------------------


def _sign_shapes(v: Values) -> Shapes:
    if v["T"] % 2 == 0:
        message = f'"sign": T must be odd, or the sum may be 0; it is {v["T"]}'
        raise Fault(message, f"T = {v['T'] + 1}", "E510")
    fields: dict[str, Any] = {"x": ((v["T"],), "real"), "label": ((), "index")}
    return fields, v["count"], 2


def _sign(v: Values) -> dict[str, Any]:
    """Steps of 1 or -1, and whether their sum is positive."""
    x = 2.0 * Draws("sign", v).whole("steps", 2, v["T"]) - 1.0
    return {"x": x, "label": (x.sum(1) > 0.0).astype("int64")}


def _digits_shapes(v: Values) -> Shapes:
    fields: dict[str, Any] = {
        "image": ((5, 4 * v["n"] - 1), "real"),
        "labels": ((v["n"],), "index"),
    }
    return fields, v["count"], 10


def _digits(v: Values) -> dict[str, Any]:
    """A picture of n digits side by side, 3 x 5 each with an empty column between: what it says."""
    import numpy as np  # late: NumPy

    labels = Draws("digits-row", v).whole("labels", 10, v["n"])
    rows = np.array([[c == "#" for c in f"{row} "] for row in GLYPHS], np.float64)
    glyphs = rows.reshape(5, 10, 4).swapaxes(0, 1)  # [digit, 5, 4]
    wide = glyphs[labels].swapaxes(1, 2).reshape(len(labels), 5, -1)
    return {"image": wide[..., :-1].copy(), "labels": labels}


SEQUENCES: dict[str, Set] = {
    "adding": Set(
        "the sum of the two marked numbers of T; always answering 1 errs by 1/6 in the mean square",
        {"T": 50, "count": 1000},
        _adding_shapes,
        _adding,
    ),
    "adding1997": Set(
        "the adding problem as published in 1997, T to T + T/10 steps",
        {"T": 100, "count": 1000},
        partial(_marked_shapes, "adding1997"),
        _adding1997,
    ),
    "copy": Set(
        "each symbol again, some steps later",
        {"T": 20, "delay": 3, "classes": 8, "count": 1000},
        _copy_shapes,
        _copy,
    ),
    "digits-row": Set(
        "a picture of n digits side by side, and what they are",
        {"n": 3, "count": 1000},
        _digits_shapes,
        _digits,
    ),
    "first-symbol": Set(
        "which symbol came first, after as many others as the lag",
        {"lag": 40, "classes": 8, "count": 22000},
        _first_shapes,
        _first,
    ),
    "latch": Set(
        "the 2-sequence problem: the class is said in the first N steps, noise follows",
        {"T": 100, "N": 3, "count": 1000},
        _latch_shapes,
        _latch,
    ),
    "multiplication": Set(
        "the multiplication problem as published in 1997, T to T + T/10 steps",
        {"T": 100, "count": 1000},
        partial(_marked_shapes, "multiplication"),
        _multiplication,
    ),
    "parity-steps": Set(
        "at each step, whether the number of ones so far is odd",
        {"T": 10, "count": 1000},
        _parity_shapes,
        _parity,
    ),
    "reversal": Set(
        "n symbols, and the same backwards",
        {"n": 5, "classes": 10, "count": 1000},
        _reversal_shapes,
        _reversal,
    ),
    "sign": Set(
        "whether the sum of T numbers, each 1 or -1, is positive",
        {"T": 9, "count": 1000},
        _sign_shapes,
        _sign,
    ),
}
