"""What a file that stands alone needs beside its programs. Each is copied into it as text.

So they are self-contained, short, and lean on NumPy and the standard library alone.
"""

from __future__ import annotations

import gzip
import json
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

# ---- data ---------------------------------------------------------------------------------------


def idx(path: Any) -> Any:
    """The array of an IDX file of bytes, packed or not."""
    raw = Path(path).read_bytes()
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    return np.frombuffer(raw[4 + 4 * raw[3] :], "u1").reshape(np.frombuffer(raw, ">u4", raw[3], 4))


def idx_of(path: Any) -> Any:
    """The array of an IDX file, packed or not."""
    raw = Path(path).read_bytes()
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    kind = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}[raw[2]]
    return np.frombuffer(raw[4 + 4 * raw[3] :], kind).reshape(np.frombuffer(raw, ">u4", raw[3], 4))


def tensors(path: Any) -> Any:
    """The arrays of real numbers of a safetensors file, by name."""
    raw = Path(path).read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    kinds, found = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}, {}
    for name, said in json.loads(raw[8:start]).items():
        if said.get("dtype") in kinds:
            low, high = said["data_offsets"]
            array = np.frombuffer(raw[start + low : start + high], kinds[said["dtype"]])
            found[name] = array.reshape(said["shape"])
    return found


def handed(given: Any, name: str, fields: Any) -> Any:
    """The arrays that a data set is given."""
    held = (given or {}).get(name, {})
    if missing := [k for k in fields if k not in held]:
        raise SystemExit(f"{name} is given no {missing[0]}: --data {name}=FILE.npz")
    if len({len(held[k]) for k in fields}) > 1:
        raise SystemExit(f"the arrays of {name} have different numbers of examples")
    for k, shape in fields.items():
        if np.shape(held[k])[1:] != tuple(shape):
            said = f"has examples of {list(np.shape(held[k])[1:])}, and {shape} is wanted"
            raise SystemExit(f"{name}: {k} {said}")
    return {k: np.asarray(held[k]) for k in fields}


def sets_of(said: Any) -> Any:
    """Arrays of files by data set, as NAME=FILE.npz says."""
    found = {}
    for text in said:
        name, _, file = text.partition("=")
        try:
            with np.load(file) as held:
                found[name] = {k: held[k] for k in held}
        except Exception as e:  # whatever it is, it is no file of arrays
            raise SystemExit(f"--data {text}: no SET=FILE.npz of arrays: {e}") from None
    return found


def fields(program: Any, raw: Any, rows: Any, real: Any) -> Any:
    """The fields of some rows, made by a program, 200 at a time."""
    chunks = [rows[low : low + 200] for low in range(0, len(rows), 200)]
    made = [program(**{k: a[rows] for k, a in raw.items()}) for rows in chunks]
    kinds = {k: real if a.dtype.kind == "f" else a.dtype for k, a in made[0].items()}
    return {k: np.concatenate([m[k] for m in made]).astype(kind) for k, kind in kinds.items()}


def drawn(program: Any, raw: Any, rows: Any, real: Any) -> Any:
    """Rows of raw fields, and what draws the fields of some of them at an update."""
    part = {k: a[rows] for k, a in raw.items()}

    def draw(which: Any, update: int) -> Any:
        made = program(update, **{k: a[which] for k, a in part.items()})
        return {k: a.astype(real) if a.dtype.kind == "f" else a for k, a in made.items()}

    return {**part, "draw": draw}


def settled(part: Any, ends: Any) -> Any:
    """A part whose sequences stay at their last step, past where each one ends."""
    for key, end in ends.items():
        array, steps = part[key], np.arange(part[key].shape[1])
        steps = np.minimum(steps, part[end][:, None].astype(int) - 1)
        part[key] = array[np.arange(len(array))[:, None], steps]
    return part


def pick(part: Any, which: Any, update: int) -> Any:
    """Some examples of a part, field by field: as they are, or as they are drawn at an update."""
    return part["draw"](which, update) if "draw" in part else {k: a[which] for k, a in part.items()}


# ---- what is random -----------------------------------------------------------------------------


def philox(seed: int, site: int, update: int) -> Any:
    """Random bits that follow from a seed, a place in the spec and an update."""
    key, counter = np.array([[seed % 2**64, 0, 0, 0], [0, update, site, 0]], np.uint64)
    return np.random.Philox(key=key[:2], counter=counter)


def uniform(out: Any, seed: int, site: int, update: int) -> Any:
    """Fill an array with numbers in [0, 1)."""
    return np.random.Generator(philox(seed, site, update)).random(out=out, dtype=out.dtype)


def permutation(count: int, seed: int, site: int, epoch: int) -> Any:
    """The numbers from 0 to count - 1, shuffled."""
    return np.argsort(philox(seed, site, epoch).random_raw(count), kind="stable")


def replacement(count: int, seed: int, site: int, epoch: int) -> Any:
    """As many draws of numbers from 0 to count - 1."""
    bits = philox(seed, site, epoch).random_raw(count) >> np.uint64(11)
    return np.floor(bits.astype(np.float64) * 2.0**-53 * count).astype(np.int64)


# ---- arrays -------------------------------------------------------------------------------------


def cast(param: Any, real: Any) -> Any:
    """Parameters in a precision: those that have it are the arrays themselves."""
    return {path: array.astype(real, copy=False) for path, array in param.items()}


def marks(text: str, low: Any, high: Any, kind: Any) -> Any:
    """An array of two numbers, a row for each word: high where it has an X."""
    return np.where([[c == "X" for c in word] for word in text.split()], high, low).astype(kind)


# ---- shards -------------------------------------------------------------------------------------


def in_shards(program: Any, n: int, kept: Any, real: Any) -> Any:
    """What shards of n examples come to, added up in their order; rows of each go to `kept`."""
    joins = {
        "added": (np.add, 0),
        "largest": (np.maximum, -np.inf),
        "smallest": (np.minimum, np.inf),
    }
    made: list[Any] = []
    for i, rows in enumerate(kept):
        low, high = n * i // len(kept), n * (i + 1) // len(kept)
        made.append(program(low, high, rows) if low < high else {})
        rows.update(made[-1])
    known = {}
    for key, like in max(made, key=len).items():
        if key.partition(":")[0] in joins:
            join, nothing = joins[key.partition(":")[0]]
            empty = np.full(np.shape(like), nothing, real)
            known[key] = reduce(join, [np.asarray(m.get(key, empty), real) for m in made])
    return known


# ---- what is watched ----------------------------------------------------------------------------


def over(program: Any, part: Any, which: Any, size: int, update: int) -> Any:
    """The sum of what a program finds, over so many examples at a time."""
    cut = (pick(part, which[i : i + size], update) for i in range(0, len(which), size))
    return sum((np.float64(program(some)) for some in cut), np.array(0.0))


def tallied(program: Any, part: Any, which: Any, size: int, update: int) -> Any:
    """What a program leaves of so many examples at a time, added up in double precision."""
    sums: dict[str, Any] = {}
    for i in range(0, len(which), size):
        for key, array in program(pick(part, which[i : i + size], update)).items():
            sums[key] = sums.get(key, 0.0) + np.asarray(array, np.float64)
    return sums


def estimate(program: Any, part: Any, which: Any, size: int, update: int, state: Any) -> None:
    """States that are means over some examples, so many at a time."""
    for low in range(0, len(which), size):
        some = which[low : low + size]
        for path, value in program(pick(part, some, update)).items():
            share = value * (len(some) / len(which))
            state[path][...] = share if not low else state[path] + share


def report(told: Any, name: str, update: int, epoch: int, value: Any) -> None:
    """Remember what was watched after an update."""
    told.setdefault(name, []).append((update, epoch, np.asarray(value).tolist()))


def heard(rows: Any, first: Any, at: Any, entry: Any) -> Any:
    """What an update hears of the reports of a watch; before there are any, what it was first."""
    if rows and (at is None or at >= 0):
        first = rows[-1 if at is None else min(at, len(rows) - 1)][2]
    elif at is not None and len(rows) + at > 0:
        first = rows[at - 1][2]
    return first[entry or 0] if isinstance(first, list) else first


def fold(rows: Any, what: str, sign: int, rules: Any, entry: Any) -> Any:
    """What follows from all reports of a watch: how far back the best lies, or, of a plateau, by
    what a rate is multiplied."""
    factor, patience, least, cooldown = rules if what == "plateau" else (1, np.inf, *rules, 0)
    best, at, bad, cooling, scale = np.inf, (0, 0), 0, 0, 1.0
    for update, epoch, value in rows:
        value, bad = sign * (value[entry or 0] if isinstance(value, list) else value), bad + 1
        if value < best - least:
            best, at, bad = value, (update, epoch), 0
        if cooling:
            cooling, bad = cooling - 1, 0
        if bad >= patience:
            scale, cooling, bad = scale * factor, int(cooldown), 0
    last = rows[-1] if rows else (0, 0)
    return scale if what == "plateau" else float(last[what == "epoch"] - at[what == "epoch"])


def finished(
    told: Any, phase: str, updates: int, epochs: int, seconds: float, ended: str = ""
) -> None:
    """Say what a phase has come to."""
    told[phase] = {"updates": updates, "epochs": epochs, "seconds": seconds}
    last = {k: v[-1][2] for k, v in told.items() if k.startswith(f"{phase}.")}
    said = [f"{k[len(phase) + 1 :]} {v:.6g}" for k, v in last.items() if isinstance(v, float)]
    print(f"{phase:<WIDE}  {epochs:>6}  {updates:>9,}  {seconds:>7.2f}  {', '.join(said)}{ended}")


def picked(program: Any, part: Any, keys: Any, size: int, most: Any = None) -> Any:
    """What a program makes of examples that its condition holds for, at most so many of them."""
    found, update, count = [], 0, 0
    which = np.arange(len(next(iter(part.values()))))
    for i in range(0, len(which), size):
        left = program(pick(part, which[i : i + size], update))
        some = left["where"] != 0 if "where" in left else slice(None)
        found.append([np.asarray(left[k])[some] for k in keys])
        count += len(found[-1][0])
        if most is not None and count >= most:
            break
    return [np.concatenate(arrays)[:most] for arrays in zip(*found, strict=True)]


def shown(value: Any) -> str:
    """Numbers as a person reads them; a text as it is."""
    if isinstance(value, str):
        return f"\n{value}"
    if np.ndim(value) > 1:
        rows = np.reshape(value, (len(value), -1))
        return "\n" + "\n".join("  ".join(f"{x:.6g}" for x in row) for row in rows)
    return f"{value:.6g}" if np.ndim(value) == 0 else f"[{', '.join(f'{x:.6g}' for x in value)}]"


def save(task: str, name: str, made: Any) -> None:
    """Write a text or numbers to a file; in place of a picture its numbers."""
    path = Path(name)
    if isinstance(made, str):
        path.write_text(made, "utf-8")
    elif path.suffix in (".csv", ".txt"):
        rows = np.reshape(made, (-1, 1) if np.ndim(made) < 2 else (len(made), -1)).tolist()
        sign = "," if path.suffix == ".csv" else " "
        path.write_text("".join(sign.join(map(repr, row)) + "\n" for row in rows), "utf-8")
    else:
        np.save(path := path.with_suffix(".npy"), made)
    print(f"{task}: wrote {path}")


def wide(held: Any) -> Any:
    """Arrays in double precision, whole numbers as they are."""
    return {k: a.astype(float) if a.dtype.kind == "f" else a for k, a in held.items()}


def checked(cut: bool, checks: Any) -> None:
    """Print what was measured beside what is expected; exit code 1 where something fails."""
    words = list[str]()
    for title, *rows in checks:
        print(f"\n{title}")
        found = [(text, *verdict(cut and phase, sides)) for text, phase, sides in rows]
        wide = [max(map(len, column)) for column in zip(*found, strict=True)]
        for text, word, measured, wanted in found:
            print(f"  {word:<7}  {text:<{wide[0]}}  {measured:<{wide[2]}}  {wanted}".rstrip())
            words.append(word)
    states = [w for w in ("passed", "failed", "not run") if w in words]
    print("\n" + ", ".join(f"{words.count(w)} {w}" for w in states))
    raise SystemExit("failed" in words)


def verdict(cut: Any, sides: Any) -> Any:
    """Whether something holds, what was measured and what is expected; or why it was not run."""
    if cut or isinstance(sides, str):
        return "not run", sides if isinstance(sides, str) else f"the phase {cut} was shortened", ""
    a, sign, b, near = sides()
    a, b = np.asarray(a, float), np.asarray(b, float)
    holds = {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "": abs(a - b) <= near}
    word, near = "passed" if np.all(holds[sign]) else "failed", f" within {near:g}" * (near > 0)
    return word, f"measured {brief(a)}", f"expected {sign}{' ' * bool(sign)}{brief(b)}{near}"


def brief(x: Any) -> str:
    """A number as a person reads it; a few in brackets, or how many there are."""
    if np.ndim(x):
        return f"[{', '.join(map(brief, x))}]" if np.size(x) < 5 else f"{np.size(x)} numbers"
    return f"{int(x)}" if abs(x) < 1e12 and x == np.round(x) else f"{x:.6g}"
