"""Files with flipped bits, cuts, stretches put in, lying headers: refused, or read as they were."""

from __future__ import annotations

import gzip
import json
import random
import struct
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.schema.headers import DataSource
from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint import checkpoint
from dln.runtime.readers import readers

Data = bytes
Change = Callable[[random.Random, Data], Data]
NUMBERS = (0, 1, 255, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1)
WORDS = (
    "F32",
    "F64",
    "I64",
    "BOOL",
    "[]",
    "[3]",
    "-1",
    "1e9",
    "null",
    "{",
    "}",
    '"a":',
    "99999999",
)

# ---- changes of any bytes ------------------------------------------------------------------------


def flip(rng: random.Random, data: Data) -> Data:
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 8))):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def cut(rng: random.Random, data: Data) -> Data:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice((1, 7, 64, len(data))) :]


def insert(rng: random.Random, data: Data) -> Data:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 3, 64))) + data[at:]


def repeat(rng: random.Random, data: Data) -> Data:
    """A stretch of it a second time, elsewhere."""
    low, at = rng.randrange(len(data)), rng.randrange(len(data))
    return data[:at] + data[low : low + rng.choice((4, 40, 400))] + data[at:]


def number(rng: random.Random, data: Data) -> Data:
    """A number of four or eight bytes, most often among the first ones."""
    at = rng.randrange(min(len(data), rng.choice((16, 16, len(data)))))
    said = struct.pack("<Q", rng.choice(NUMBERS))
    said = said[: rng.choice((4, 8))][:: rng.choice((1, -1))]
    return data[:at] + said + data[at + len(said) :]


ANY: tuple[Change, ...] = (flip, cut, insert, repeat, number)

# ---- changes of a checkpoint's header ------------------------------------------------------------


def with_header(data: Data, change: Callable[[Data], Data]) -> Data:
    size = struct.unpack("<Q", data[:8])[0]
    header = change(data[8 : 8 + size])
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def swapped(rng: random.Random, data: Data) -> Data:
    """Two tensors by the name of one another, or one twice."""

    def change(header: Data) -> Data:
        names = [json.dumps(n).encode() for n in json.loads(header) if n != "__metadata__"]
        one, other = rng.sample(names, 2)
        if rng.random() < 0.5:
            return header.replace(one + b":{", other + b":{", 1)
        header = header.replace(one + b":{", b"@1", 1).replace(other + b":{", b"@2", 1)
        return header.replace(b"@1", other + b":{").replace(b"@2", one + b":{")

    return with_header(data, change)


def worded(rng: random.Random, data: Data) -> Data:
    """A word of the header replaced: types, shapes, offsets, braces."""

    def change(header: Data) -> Data:
        at = rng.randrange(len(header))
        return header[:at] + rng.choice(WORDS).encode() + header[at + rng.randrange(6) :]

    return with_header(data, change)


def offset(rng: random.Random, data: Data) -> Data:
    """A tensor's place in the file, its type or its shape."""

    def change(header: Data) -> Data:
        facts = json.loads(header)
        entry = facts[rng.choice([n for n in facts if n != "__metadata__"])]
        match rng.randrange(4):
            case 0:
                entry["data_offsets"][rng.randrange(2)] = rng.choice((0, -1, 8, 2**40, 2**70, 1.5))
            case 1:
                entry["dtype"] = rng.choice(("F16", "F64", "I32", "U8", "BF16", "F8_E4M3", "X", 7))
            case 2:
                entry["shape"] = rng.choice(([], [-1], [2**40, 2**40], [0], [1] * 99, "x", [None]))
            case _:
                entry.pop(rng.choice(list(entry)))
        return json.dumps(facts).encode()

    return with_header(data, change)


def deep(rng: random.Random, data: Data) -> Data:
    """Brackets without end, or a number of many digits, in the header."""
    said = rng.choice((b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000, b'"' + b"x" * 10**6))
    return with_header(data, lambda header: header[:1] + said + header[1:])


HEADER: tuple[Change, ...] = (swapped, worded, offset, deep)


def checkpoints(count: int, seed: int = 0) -> Counter[str]:
    """So many damaged checkpoints: each is refused, or what was saved."""
    rng, found = random.Random(seed), Counter[str]()
    arrays: dict[str, NDArray[Any]] = {
        "net.W": np.arange(12, dtype=np.float32).reshape(3, 4), "net.b": np.zeros(3),
        "state:fit:v": np.ones((3, 4), np.float32), "n": np.array(7), "m": np.array([True, False]),
        "other": np.arange(12, dtype=np.float32).reshape(3, 4)[::-1],
    }  # fmt: skip
    meta = {"seed": 3, "updates": {"fit": 12}, "running": {"phase": "fit", "best": [0.5]}}
    good = checkpoint.encode(arrays, meta)
    for _ in range(count):
        change = rng.choice((*ANY, *HEADER)) if rng.random() < 0.98 else deep
        data = change(rng, good)
        if rng.random() < 0.2:
            data = rng.choice(ANY)(rng, data or b"x")
        try:
            read, facts = checkpoint.decode(data, "file")
        except Fault as fault:
            found["refused" if fault.code in ("E530", "E531") else f"as {fault.code}"] += 1
            continue
        same = read.keys() == arrays.keys() and facts == meta
        same = same and all(
            read[k].dtype == a.dtype and np.array_equal(read[k], a) for k, a in arrays.items()
        )
        found["as it was" if same else f"other contents by {change.__name__}"] += 1
    return found


# ---- data files ----------------------------------------------------------------------------------


def _npz(packed: bool) -> Data:
    out = BytesIO()
    x, label = np.arange(24, dtype=np.float32).reshape(6, 4), np.arange(6) % 3
    (np.savez_compressed if packed else np.savez)(out, x=x, label=label)
    return out.getvalue()


IMAGES = b"\0\0\x08\3" + struct.pack(">3I", 5, 2, 3) + bytes(range(30))
TABLE = 'a;b;"c d"\n' + "".join(f"{i};{i / 7:.3f};{-i}e-2\n" for i in range(12))
FILES: dict[str, tuple[str, str, Data]] = {
    "idx": ("idx", "a.idx", IMAGES),
    "idx.gz": ("idx", "a.idx.gz", gzip.compress(IMAGES, mtime=0)),
    "npz": ("npz", "a.npz", _npz(packed=False)),
    "npz, packed": ("npz", "b.npz", _npz(packed=True)),
    "table": ("table", "a.csv", TABLE.encode()),
    "table.gz": ("table", "a.csv.gz", gzip.compress(TABLE.encode(), mtime=0)),
    "text": ("text", "a.txt", ("To be, or not to be: that is the question. é" * 4).encode()),
    "glyphs": ("glyphs", "g.txt", b"a\n.#.\n#.#\n\nb\n##.\n#.#\n"),
}
"""What is damaged: its reader, its name, its bytes."""

SUMMED = ("idx.gz", "npz", "npz, packed", "table.gz")
"""Formats with a sum of their own: what is read of them is what was written."""

CODES = {"E501", "E502", "E503", "E504", "E505", "E506", "E507", "E508", "E509", "E511", "E514",
         "E554"}  # fmt: skip
"""What data files are refused with; E514 where a damaged table can be read in two ways."""


def data_files(folder: Path, count: int, seed: int = 0) -> Counter[str]:
    """So many damaged files of data: each is refused, or read; where it has a sum, as it was."""
    rng, found = random.Random(seed), Counter[str]()
    folder.mkdir(parents=True, exist_ok=True)
    good = {kind: _read(folder, kind, data) for kind, (_, _, data) in FILES.items()}
    for _ in range(count):
        kind = rng.choice(list(FILES))
        data = rng.choice(ANY)(rng, FILES[kind][2])
        try:
            got = _read(folder, kind, data)
        except Fault as fault:
            found["refused" if fault.code in CODES else f"{kind} as {fault.code}"] += 1
            continue
        same = got.keys() == good[kind].keys() and all(
            got[k].dtype == a.dtype and np.array_equal(got[k], a, equal_nan=a.dtype.kind == "f")
            for k, a in good[kind].items()
        )
        if same:
            found["as it was"] += 1
        else:
            found[f"{kind}: other contents" if kind in SUMMED else "as the file says"] += 1
    return found


def _read(folder: Path, kind: str, data: Data) -> dict[str, Any]:
    """What the reader of a kind makes of some bytes, its header first, as a command does."""
    reader, name, _ = FILES[kind]
    (folder / name).write_bytes(data)
    if reader == "glyphs":
        return {"": np.array(readers.drawing(name, str(folder))[1])}
    options = {"window": 8} if reader == "text" else {}
    source = DataSource(reader, (name,), options, str(folder))
    readers.probe(source)
    return readers.read(source)
