"""Arrays of `.npz` and `.npy` files as a set: several files are one after the other, in order of
their names.

A set that is larger than `LARGE`, or says `set mapped = yes`, is not read: its arrays are looked at
through a map, minibatch by minibatch. Faults: those of `members`, E505 where numbers of examples
differ, E527 where files do not agree, E528 for what cannot be mapped.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dln.compiler.schema.headers import DataSource, HeaderField, Schema, Stretch
from dln.grammar.diagnostics import Fault
from dln.runtime.readers import files
from dln.runtime.readers.binary import exact, taken
from dln.runtime.readers.folders.patterns import files_meant
from dln.runtime.readers.npz.members import LARGE, Member, members

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dln.runtime.readers.npz.file_rows import FileRows

Segments = Mapping[str, Sequence[Member]]
"""The arrays of a set by name, each in the files that hold its examples, in their order."""


def probe(decl: DataSource) -> Schema:
    """What the headers say. Raises `Fault` E501 to E505, E508, E509, E527."""
    found = segments(decl)
    mapped(decl, found)
    fields = {name: HeaderField(some[0].shape[1:], some[0].kind) for name, some in found.items()}
    return Schema(fields, count_of(found))


def count_of(found: Segments) -> int:
    """How many examples there are."""
    return sum(m.shape[0] for m in next(iter(found.values())))


def segments(decl: DataSource) -> Segments:
    """The arrays of a set by name. Raises `Fault` E509, E527, and those of `members`."""
    found: dict[str, list[Member]] = {}
    for arg in decl.args:
        for name, some in _of_files([f.path for f in files_meant(decl, arg)]).items():
            if name in found:
                text = f"{some[0].path} and {found[name][0].path} both hold {name}"
                raise Fault(text, "put files that hold the same into one list", "E527")
            found[name] = some
    if not found:
        raise Fault(f"{decl.reader} takes file names", 'npz("digits.npz")', "E509")
    _counts(found)
    return found


def _of_files(paths: Sequence[Path]) -> dict[str, list[Member]]:
    """The arrays of files that hold the same, one after the other."""
    each = [(path, members(path)) for path in paths]
    alone = [path for path in paths if path.suffix == ".npy"]
    if alone and len(paths) > 1:  # of one array, which is called as what their names begin with
        name = _stem(alone)
        each = [(path, [replace(m, name=name) for m in some]) for path, some in each]
    first, kept = each[0]
    found = {m.name: [m] for m in kept}
    if not found:
        raise Fault(f"{first} holds no arrays", code="E503")
    for path, some in each[1:]:
        names = {m.name: m for m in some}
        for name in [*(n for n in found if n not in names), *(n for n in names if n not in found)]:
            has, lacks = (first, path) if name in found else (path, first)
            text = f"{lacks} lacks {name}, which {has} holds"
            raise Fault(text, "files of one set hold the same arrays", "E527")
        for name, m in names.items():
            if m.form != found[name][0].form:
                mine, other = (f"{x.dtype} {list(x.shape[1:])}" for x in (m, found[name][0]))
                text = f"{path}: each example of {name} is {mine}, in {first} {other}"
                raise Fault(text, "store them alike", "E527")
            found[name].append(m)
    for path, some in each:
        _counts({m.name: [m] for m in some}, f"{path}: ")
    return found


def _stem(paths: Sequence[Path]) -> str:
    """What the names of files begin with, without the numbers that tell them apart."""
    stems = [path.stem for path in paths]
    length = next((i for i, c in enumerate(zip(*stems, strict=False)) if len(set(c)) > 1), None)
    return stems[0][:length].rstrip("0123456789-_. ") or "x"


def _counts(found: Segments, where: str = "") -> None:
    """All arrays have one number of examples."""
    counts = {name: sum(m.shape[0] for m in some) for name, some in found.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {n:,}" for name, n in counts.items())
        remedy = "name files that belong together"
        raise Fault(f"{where}the numbers of examples differ: {listed}", remedy, "E505")
    if not next(iter(counts.values())):
        raise Fault(f"{where}{', '.join(counts)} holds no examples", code="E503")


# ---- whole or through a map --------------------------------------------------------------------


def mapped(decl: DataSource, found: Segments) -> bool:
    """Whether a set is looked at through a map. Raises `Fault` E528 where it should be and cannot,
    E508 where it is too large to be read."""
    said, every = decl.options.get("mapped"), [m for some in found.values() for m in some]
    size = sum(m.nbytes for m in every)
    if said == "no" or (said != "yes" and size < LARGE):
        if size > files.LIMIT and said == "no":
            raise files.too_large(every[0].path, f"{size:,}")
        return False
    odd = next((m for m in every if m.start is None or m.turned), None)
    if odd is None:
        return True
    if said != "yes" and size <= files.LIMIT:
        return False
    why = "is packed" if odd.start is None else "lies column by column"
    remedy = "write it with numpy.savez" if odd.start is None else "numpy.ascontiguousarray first"
    message = f"{odd.path}: {odd.name} {why}: its examples cannot stay in the file"
    raise Fault(message, remedy, "E528")


def read(decl: DataSource, stretch: Stretch | None) -> dict[str, Any]:
    """The arrays by name, [example, ...], of all examples or of a stretch; those of a large set as
    rows of a map. Raises `Fault` E503 for a damaged file, E554 for numbers that double precision
    does not have."""
    found = segments(decl)
    through = mapped(decl, found)
    low, high = taken(count_of(found), stretch)
    if through:
        return {name: _map(some).part(low, high) for name, some in found.items()}
    return {name: _array(some, low, high) for name, some in found.items()}


def by_rows(decl: DataSource, stretch: Stretch | None) -> dict[str, FileRows] | None:
    """The arrays by name of a set that is read whole, as rows of their files; None where they are
    packed, or stay in their files anyway."""
    found = segments(decl)
    odd = any(m.start is None or m.turned for some in found.values() for m in some)
    if odd or mapped(decl, found):
        return None
    low, high = taken(count_of(found), stretch)
    return {name: _map(some).part(low, high) for name, some in found.items()}


def _map(some: Sequence[Member]) -> FileRows:
    from dln.runtime.readers.npz.file_rows import FileRows  # late: NumPy

    return FileRows.of(some)


def _array(some: Sequence[Member], low: int, high: int) -> NDArray[Any]:
    """The examples of one array from `low` up to before `high`, out of all its files."""
    import numpy as np  # late: NumPy

    form = np.dtype(some[0].dtype).newbyteorder("=")
    index = some[0].kind == "index"
    done = at = 0
    made = None if len(some) == 1 else np.empty((high - low, *some[0].shape[1:]), form)
    for m in some:
        start, stop = max(low - at, 0), min(high - at, m.shape[0])
        at += m.shape[0]
        if start < stop:
            values = _values(m, start, stop)
            exact(m.path, m.name, values, start)
            if made is None:
                return values.astype(np.int64, copy=False) if index else values
            made[done : done + len(values)] = values
            done += len(values)
    assert made is not None
    return made.astype(np.int64, copy=False) if index else made


def _values(m: Member, start: int, stop: int) -> NDArray[Any]:
    """Some examples of one array of one file."""
    import numpy as np  # late: NumPy

    try:
        loaded = np.load(m.path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            values = loaded
        else:
            with loaded as z:
                values = z[m.name]
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError) as e:
        raise files.damaged(m.path, e) from e
    whole = (start, stop) == (0, m.shape[0])
    return values if whole else values[start:stop].copy()
