"""Why a computation left the numbers: which operand did it, its value and place, and what helps.

What a statement was given when it failed is found by running the program once more (`replayed`):
then the very operation is done again, and the first element that is no number says which values
went in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import Line

SLOWER = "a smaller learning rate"
RATE = f"{SLOWER}, smaller first values, or data of a smaller scale"
LONGEST = 40
SMALL = "1e-8"
INSIDE_LOG = re.compile(r"log\(")
ATOM = re.compile(r"[\w.]+'?(\([^()]*\)|\[[^\[\]]*\])?|\([^()]*\)")
LOSSES = {
    "nll": "cross_entropy of what softmax is applied to, which takes no logarithm of 0",
    "binary_cross_entropy": "binary_cross_entropy of sigmoid(z), with z a logit: of a probability"
    " that is 0 or 1 otherwise, keep it between 1e-8 and 1 - 1e-8",
}
"""Losses of probabilities, and what goes without their logarithm."""


@dataclass(frozen=True)
class Cause:
    """What happened in a few words, what was found, what helps, and the element of the result."""

    what: str
    found: str
    remedy: str
    at: tuple[int, ...] = ()


@dataclass(frozen=True)
class FailedOperands:
    """The values of one element's operands and what they are called; `text` is what the spec says
    at the place of the line: a sign that it lacks is inside a function that it calls."""

    line: Line
    text: str
    values: Sequence[float]
    names: Sequence[str]
    dtype: Any

    def short(self, i: int, other: str = "x") -> str:
        """An operand's name where it can be put into a line of text."""
        name = self.names[i]
        return name if fits(name) and not re.fullmatch(r"[-+.\de]+", name) else other

    def said(self, i: int) -> str:
        value = number(self.values[i])
        return "" if value == self.names[i] else f"{self.short(i, 'the operand')} is {value}"


Words = tuple[str, str]
"""What happened, and what helps."""


def fits(text: str) -> bool:
    """Whether a text is short and complete."""
    return 0 < len(text) <= LONGEST and "..." not in text and "\n" not in text


def diagnosed(line: Line, text: str, values: Sequence[Any] | None) -> Cause | None:
    """The cause of a failure of a line that was given these values, an array or number for each
    operand; None where it does not show."""
    name = line.call.function if line.call and line.call.whole else ""
    if values is None or name not in WORDS or len(values) > 2:
        return None
    if name == "divide" and values[0] is None:  # the quotient stands in its place
        values = [1.0, values[1]]
    if any(v is None for v in values):
        return None
    arrays = list(map(np.asarray, values))
    with np.errstate(all="ignore"):
        result = np.asarray(getattr(np, name)(*arrays))
    bad = np.argwhere(~np.isfinite(result))
    if not len(bad):
        return None
    at = tuple(map(int, bad[0]))
    numbers = [float(np.broadcast_to(a, result.shape)[at]) for a in arrays]
    given = FailedOperands(line, text, numbers, _names(line, text, numbers), result.dtype)
    lost = [i for i, v in enumerate(numbers) if not np.isfinite(v)]
    if lost:
        what = f"{number(numbers[lost[0]])} came in"
        return Cause(what, given.said(lost[0]), "look where it comes from", at)
    if name == "log1p":
        name, given = "log", _as_log(given)
    if name in ("divide", "reciprocal") and not numbers[-1] and INSIDE_LOG.match(text):
        name, given = "log", replace(given, values=numbers[-1:], names=[_of_log(text)])
    what, remedy = WORDS[name](given)
    return Cause(what, given.said(_worst(name, given.values)), remedy, at)


def ranges(line: Line, values: Sequence[Any] | None) -> tuple[str, ...]:
    """What a line was given, as the range of each operand."""
    if values is None or len(values) != len(line.operands):
        return ()
    known = zip(line.operands, values, strict=True)
    spans = [(name, extent(np.asarray(value), 6)) for name, value in known if value is not None]
    facts = (f"{name if fits(name) else 'the operand'} goes {said}" for name, said in spans if said)
    return tuple(dict.fromkeys(facts))


def read(arrays: Iterable[NDArray[Any]]) -> tuple[str, ...]:
    """What a line read, as shape and range of each array of real numbers."""
    held = [array for array in arrays if array.size]
    said = [extent(a, 4) or f"nothing finite, {a.size} not finite" for a in held]
    facts = (f"read {list(a.shape)}: {text}" for a, text in zip(held, said, strict=True))
    return tuple(dict.fromkeys(facts))


def extent(array: NDArray[Any], digits: int) -> str:
    """The range of an array of any shape, `from -1 to 2, 1 not finite`; empty of what has no finite
    real number."""
    if array.dtype.kind != "f":
        return ""
    fine = array[np.isfinite(array)]
    lost = f", {array.size - fine.size} not finite" if fine.size < array.size else ""
    return f"from {fine.min():.{digits}g} to {fine.max():.{digits}g}{lost}" if fine.size else ""


def _names(line: Line, text: str, numbers: Sequence[float]) -> list[str]:
    """The operands as the spec calls them; a number that the spelling put in front stands for
    itself."""
    names = list(line.operands)
    inner = re.fullmatch(r"(?:log|sqrt|exp)\((.*)\)", text)
    if inner and line.call and line.call.function in ("log", "sqrt", "exp") and fits(inner[1]):
        return [inner[1]]
    if len(names) > len(numbers):  # several operations in one: which is which does not show
        return [""] * len(numbers)
    if len(names) != len(numbers):
        names = [number(n) for n in numbers[: len(numbers) - len(names)]] + names
    return names[-len(numbers) :]


def _worst(name: str, numbers: Sequence[float]) -> int:
    """The operand to speak of: the divisor, the base, the larger one."""
    if name == "divide":
        return 1
    if name in ("multiply", "add", "subtract"):
        return max(range(len(numbers)), key=lambda i: abs(numbers[i]))
    return 0


def general(kind: str) -> str:
    """A remedy where no cause shows, for what NumPy calls such a failure."""
    if "divide by zero" in kind or "division by zero" in kind:
        return "look for a divisor that is 0 there, or the logarithm of one"
    if "invalid" in kind or "domain" in kind:
        return "look for a root or logarithm of what is not positive there, or for 0 / 0"
    return RATE


def number(value: float) -> str:
    """
    >>> number(-0.25), number(0.0)
    ('-0.25', '0')
    """
    return f"{value:.6g}"


# ---- in words ----------------------------------------------------------------------------------


def _divide(given: FailedOperands) -> Words:
    top, bottom = given.values
    if bottom:
        return _too_large(given, "divide", f"{number(top)} / {number(bottom)}")
    if given.line.slope and re.match(r"sqrt\(|.*\^", given.text):
        return _root_at_0(given)
    x = _divisor(given)
    if "/" not in given.text or not x:
        return "a division by 0", _keep(given, x, "away from 0")
    whole = given.text if fits(given.text) else "the quotient"
    remedy = f"a choice: {whole} if {x} != 0 else 0; or a small number added: {x} + {SMALL}"
    return ("a division by 0" if top else "0 / 0"), remedy


def _divisor(given: FailedOperands) -> str:
    """What is divided by, where it can be put into a line of text."""
    atom = ATOM.fullmatch(given.text.rpartition(" / ")[2])
    return atom[0] if atom and fits(atom[0]) else given.short(1, "")


def _of_log(text: str) -> str:
    """What a logarithm is taken of, as the text says it."""
    inner = re.fullmatch(r"log\((.*)\)", text)
    return inner[1] if inner else ""


def _root_at_0(given: FailedOperands) -> Words:
    of = given.text if fits(given.text) else "a root"
    inner = re.fullmatch(r"sqrt\((.*)\)", given.text)
    x = inner[1] if inner and fits(inner[1]) else given.short(0)
    squares = re.fullmatch(r"sum\((?:\((.*)\)|(\w+))\^2\)", x)
    known = f"norm({squares[1] or squares[2]}), which has slope 0 there; or " if squares else ""
    more = f"sqrt({x} + {SMALL})" if inner else f"{SMALL} added to what the power is taken of"
    return f"{of} has no slope where it is 0", f"{known}{more}"


def _keep(given: FailedOperands, x: str, how: str) -> str:
    """A remedy where the operation stands inside a function that the spec only calls."""
    inside = f" in {given.text}" if fits(given.text) else ""
    head = given.text.partition("(")[0]
    return LOSSES.get(head) or f"keep {x or 'it'} {how}{inside}"


def _log(given: FailedOperands) -> Words:
    x, value = given.short(0, ""), given.values[0]
    what = f"log of {number(value)}"
    if "log(" not in given.text or not x:
        return what, _keep(given, x, "above 0")
    return what, f"a choice: log({x}) if {x} > 0 else 0; or a least value: log(max({x}, {SMALL}))"


def _as_log(given: FailedOperands) -> FailedOperands:
    """log1p(x) as the log(1 + x) that it stands for."""
    inner = re.fullmatch(r"log\((.*)\)", given.text)
    x = inner[1] if inner and fits(inner[1]) else f"1 + {given.short(0)}"
    return replace(given, values=[1.0 + given.values[0]], names=[x])


def _sqrt(given: FailedOperands) -> Words:
    x, what = given.short(0), f"sqrt of {number(given.values[0])}"
    if "sqrt(" not in given.text:
        return what, _keep(given, x, "at 0 or above")
    return what, f"sqrt(max({x}, 0)); or a choice: sqrt({x}) if {x} > 0 else 0"


def _power(given: FailedOperands) -> Words:
    base, power = given.values
    x, what = given.short(0), f"{number(base)} to the power {number(power)}"
    if base < 0.0 and not power.is_integer():
        return what, f"a base that is not negative: max({x}, 0), or abs({x})"
    if base:
        return _too_large(given, "power", f"{number(base)}^{number(power)}")
    whole = given.text if fits(given.text) else "the power"
    if -1.0 < power < 0.0:
        what += ", which a power below 1 has as its slope"
    return what, f"a choice: {whole} if {x} > 0 else 0; or a small number added: {x} + {SMALL}"


def _exp(given: FailedOperands) -> Words:
    x, most = given.short(0), int(np.log(np.finfo(given.dtype).max))
    what = f"exp of {number(given.values[0])}, more than {most}"
    if "exp(" not in given.text:
        return what, _keep(given, given.short(0, ""), f"below {most - 8}")
    others = "softmax, softplus and cross_entropy, which do not overflow"
    return what, f"exp(min({x}, {most - 8})); or {others}; or a smaller learning rate"


def _too_large(given: FailedOperands, name: str, text: str) -> Words:
    single = given.dtype == np.float32
    return f"overflow in {name}: {text}", f"{RATE}{', or dtype float64' if single else ''}"


def _sign(name: str, sign: str) -> Callable[[FailedOperands], Words]:
    def words(given: FailedOperands) -> Words:
        a, b = (*given.values, *given.values)[:2]
        return _too_large(given, name, f"{number(a)} {sign} {number(b)}")

    return words


WORDS: Mapping[str, Callable[[FailedOperands], Words]] = {
    "divide": _divide,
    "reciprocal": lambda g: _divide(replace(g, values=[1.0, *g.values], names=["1", *g.names])),
    "log": _log,
    "log1p": _log,
    "sqrt": _sqrt,
    "power": _power,
    "exp": _exp,
    "expm1": _exp,
    "square": _sign("square", "*"),
    "multiply": _sign("multiply", "*"),
    "add": _sign("add", "+"),
    "subtract": _sign("subtract", "-"),
}
