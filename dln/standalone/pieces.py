"""What a file that stands alone needs beside its programs. Each is copied into it as text.

So they are self-contained, and lean on NumPy and the standard library alone.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np


def idx(path: Path) -> Any:
    """The array of an IDX file, packed or not."""
    raw = path.read_bytes() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes())
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    kind = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}[raw[2]]
    shape = np.frombuffer(raw, ">u4", raw[3], 4)
    return np.frombuffer(raw, kind, -1, 4 + 4 * raw[3]).reshape(shape)


def fields(
    program: Any, raw: Any, start: int, count: int, dtype: Any, whole: Any = ()
) -> dict[str, Any]:
    """The fields of some examples, made by their program, 200 at a time; some are whole numbers."""
    made: dict[str, Any] = {}
    for low in range(0, count, 200):
        size = min(200, count - low)
        run, into, left = program(size, 0, {})
        for key, array in into.items():
            array[...] = raw[key][start + low : start + low + size]
        run(*[0.0] * run.__code__.co_argcount)
        for key, array in left.items():
            array = np.rint(array).astype(np.int64) if key in whole else array
            kind = dtype if array.dtype.kind == "f" else array.dtype
            made.setdefault(key, np.empty((count, *array.shape[1:]), kind))
            made[key][low : low + size] = array
    return made


def drawn(
    program: Any, raw: Any, start: int, count: int, seed: int, whole: Any = ()
) -> dict[str, Any]:
    """Raw fields, and a function that draws the fields of some examples at an update."""
    kinds = {key: array.dtype for key, array in program(1, seed, {})[1].items()}
    part = {key: raw[key][start : start + count].astype(kind) for key, kind in kinds.items()}

    def draw(which: Any, update: int) -> dict[str, Any]:
        run, into, left = program(len(which), seed, {})
        for key, array in into.items():
            part[key].take(which, 0, array, "clip")
        run(*[update] * run.__code__.co_argcount)
        return {key: np.rint(array) if key in whole else array for key, array in left.items()}

    return {**part, "draw": draw}


def gather(part: Any, which: Any, into: Any, update: int) -> None:
    """Fill in some examples: those of a part, or as they are drawn at an update."""
    made = part["draw"](which, update) if "draw" in part else None
    for key, array in into.items():
        if made is None:
            part[key].take(which, 0, array, "clip")
        else:
            np.copyto(array, made[key], casting="unsafe")


def cast(param: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Parameters in a precision: those that have it are the arrays themselves."""
    return {path: array.astype(dtype, copy=False) for path, array in param.items()}


def over(
    program: Any, data: dict[str, Any], which: Any, size: int, clocks: Any, update: int
) -> Any:
    """The sum of what a program finds, over so many examples at a time, and how often it ran."""
    total, times, bound = np.array(0.0), 0, None
    for low in range(0, len(which), size):
        some = which[low : low + size]
        if bound is None or len(some) != size:
            bound = program(len(some))
        run, into, left = bound
        gather(data, some, into, update)
        run(*clocks)
        total, times = total + np.array(left["watch"], np.float64), times + 1
    return total, times


def estimate(
    program: Any, data: Any, which: Any, size: int, clocks: Any, update: int, state: Any, paths: Any
) -> None:
    """States that are means over some examples, so many at a time."""
    for low in range(0, len(which), size):
        some = which[low : low + size]
        run, into, left = program(len(some))
        gather(data, some, into, update)
        run(*clocks)
        for path in paths:
            share = left[path] * (len(some) / len(which))
            state[path][...] = share if not low else state[path] + share


def report(told: Any, phase: str, watch: str, update: int, epoch: int, value: Any) -> None:
    """Remember what was watched after an update."""
    value = np.asarray(value).tolist()
    told.setdefault(f"{phase}.{watch}", []).append((update, epoch, value))


def finished(told: Any, phase: str, updates: int, epochs: int, seconds: float) -> None:
    """Say what a phase has come to."""
    told[phase] = {"updates": updates, "epochs": epochs, "seconds": seconds}
    mine = {k[len(phase) + 1 :]: v for k, v in told.items() if k.startswith(f"{phase}.")}
    said = "".join(f", {k} {v[-1][2]:.5g}" for k, v in mine.items() if isinstance(v[-1][2], float))
    print(f"{phase}: {updates:,} updates in {seconds:.1f} s{said}")


def expect(text: str, found: Any, sign: str, wanted: Any, within: float = 0.0) -> None:
    """Say whether what was found is what is expected."""
    signs = {"<": found < wanted, "<=": found <= wanted, ">": found > wanted, ">=": found >= wanted}
    signs |= {"==": abs(found - wanted) <= within, "!=": found != wanted}
    near = f" within {within:.5g}" if within else ""
    said = f"measured {found:.5g}  expected {sign} {wanted:.5g}{near}"
    print(f"  {'passed' if signs[sign] else 'FAILED'}   {text}  {said}")
