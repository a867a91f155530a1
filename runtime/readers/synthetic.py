"""Synthetic sets: named generators, each a pure function of its parameters and its seed.

A set is a record in `SETS`: its parameters with their defaults, the fields it makes (known
without NumPy) and the function that makes them. A spec writes `synthetic("gaussians", 3, 2, 600)`
or names the parameters; `seed` is a parameter of every set, 0 unless given. The sets of sequences
stand in `synthetic_sequences`. Faults are E508 (too large) and E510 (no such set, wrong
parameters).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, cast

from dln.compiler.schema.headers import DataSource, HeaderField, Schema
from dln.grammar.diagnostics import Fault, nearest
from dln.runtime.readers.generators import Draws, Set, Values, index, real
from dln.runtime.readers.synthetic_sequences import SEQUENCES

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 1 << 28  # numbers in one set


def probe(decl: DataSource) -> Schema:
    """What a set holds, by its parameters alone. Raises `Fault` E508 for one too large, E510 for
    one that there is not, or wrong parameters."""
    found, values = _bind(decl)
    name, wrong, classes = decl.args[0], found.wrong(values), found.classes
    if wrong is not None:
        raise Fault(f'"{name}": {wrong[0]}', wrong[1], "E510")
    fields, count = found.fields(values), found.count(values)
    if count < 1:
        raise Fault(f'"{name}" with count = {count} has no examples', "ask for some", "E510")
    numbers = count * sum(prod(shape) for shape, _ in fields.values())
    if numbers > MOST:
        message = f"the synthetic set would hold {numbers:,} numbers, more than {MOST:,}"
        raise Fault(message, "ask for fewer examples", "E508")
    classes = values[classes] if isinstance(classes, str) else classes
    return Schema({n: HeaderField(*f) for n, f in fields.items()}, count, classes)


def read(decl: DataSource) -> dict[str, NDArray[Any]]:
    """The arrays of a set, [example, ...] by field. Raises `Fault` E508 or E510."""
    probe(decl)
    found, values = _bind(decl)
    return found.make(Draws(str(decl.args[0]), values), values)


def peak(decl: DataSource) -> float:
    """The memory that making a set takes, in that of its arrays."""
    return _bind(decl)[0].peak


def _bind(decl: DataSource) -> tuple[Set, Values]:
    """The set that is meant and a value for each of its parameters."""
    name, *args = decl.args or ("",)
    if not isinstance(name, str) or name not in SETS:
        near = nearest(str(name or ""), SETS)
        remedy = f'"{near}"' if near else f"one of {', '.join(sorted(SETS))}"
        raise Fault(f'there is no synthetic set "{name or ""}"', remedy, "E510")
    known = {**SETS[name].parameters, "seed": 0}
    if len(args) > len(known):
        message = f'"{name}" takes at most {len(known)} parameters: {", ".join(known)}'
        raise Fault(message, code="E510")
    given = dict(zip(known, args, strict=False))
    for key, value in decl.options.items():
        if key not in known:
            near = nearest(key, known) or f"one of {', '.join(known)}"
            raise Fault(f'"{name}" has no parameter "{key}"', near, "E510")
        given[key] = value
    for key, value in given.items():
        _check(name, key, value, known[key])
    return SETS[name], {**known, **given}


def _check(name: str, key: str, value: object, default: int | float) -> None:
    whole = isinstance(default, int)
    least = 0 if key in ("seed", "count") or not whole else 1
    right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not right or not least <= cast(float, value) < float("inf"):
        wanted = f"a whole number of at least {least}" if whole else "a number of at least 0"
        raise Fault(f'"{name}": {key} must be {wanted}, not {value!r}', code="E510")


# ---- the sets ----------------------------------------------------------------------------------


def _parity(draws: Draws, v: Values) -> dict[str, Any]:
    """All 2^n patterns in counting order, or `count` drawn ones; t = 1 where the sum is odd."""
    import numpy as np  # late: NumPy

    n = v["n"]
    codes = draws.whole("", 1 << n) if v["count"] else np.arange(1 << n)
    bits = (codes[:, None] >> np.arange(n - 1, -1, -1)) & 1
    return {"x": bits.astype(np.float64), "t": (bits.sum(1) % 2).astype(np.float64)}


def _gaussians(draws: Draws, v: Values) -> dict[str, Any]:
    """Classes in turn; x = centre of its class (standard normal) + spread times normal noise."""
    import numpy as np  # late: NumPy

    centres = Draws(draws.name, {**v, "count": v["classes"]}).normal("centres", v["dim"])
    label = np.arange(v["count"]) % v["classes"]
    x = draws.normal("noise", v["dim"])
    x *= v["spread"]
    x += centres[label]
    return {"x": x, "label": label.astype(np.int64)}


SETS: dict[str, Set] = {
    "gaussians": Set(
        "clouds around one centre for each class",
        {"classes": 3, "dim": 2, "count": 300, "spread": 0.5},
        lambda v: {"x": real(v["dim"]), "label": index()},
        _gaussians,
        classes="classes",
    ),
    "parity": Set(
        "is the number of ones odd? count = 0 gives every pattern once",
        {"n": 3, "count": 0},
        lambda v: {"x": real(v["n"]), "t": real()},
        _parity,
        wrong=lambda v: (f"n must be at most 62, not {v['n']}", "") if v["n"] > 62 else None,
        count=lambda v: v["count"] or 1 << v["n"],
    ),
    "xor": Set(
        "parity of two inputs: 00, 01, 10, 11",
        {},
        lambda v: {"x": real(2), "t": real()},
        lambda draws, v: _parity(draws, {"n": 2, "count": 0}),
        count=lambda v: 4,
    ),
    **SEQUENCES,
}
