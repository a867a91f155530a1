"""What a spec says of its data, where a file name may lead, and bytes read under a cap.

Files come from strangers. A name is confined to the folder of the spec and the shipped data, only
ordinary files are opened, and what is unpacked is capped before it is allocated.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from dln.compiler.schema.headers import DataSource
from dln.grammar.diagnostics import Fault, nearest

LIMIT = 4 << 30  # bytes of one file, once unpacked
TEXT = 256 << 20  # bytes of a file of text, which takes several times as much while it is read
TABLE = 1 << 30  # bytes of a table, of which a piece at a time is in memory
LETTERS = 100  # bytes of text that a byte of deflate stands for at most, in tables that people have
EXPANSION = 1032  # bytes that one byte of deflate can stand for at most (zlib, technical details)
SPECS = Path(__file__).parents[2] / "specs"
FOLDERS = ("", "data", "data/mnist", "data/shakespeare")
GZIP = b"\x1f\x8b"
CHUNK = 1 << 16  # bytes unpacked at a time
MEMBERS = 1 << 16  # gzip members in one file


# ---- where a file is ---------------------------------------------------------------------------


def locate(name: str, decl: DataSource) -> Path:
    """The file that `name` means, as is or with `.gz`.

    Looked for beside the spec, in its `data` folders, then in the shipped ones; or where the user's
    own `--data NAME=PATH` says. A name may not leave those folders, by `..`, by an absolute path or
    through a link. Raises `Fault` E501 or E502.
    """
    if decl.override is not None:
        return _overridden(name, decl, decl.override)
    base = decl.base or "."
    roots = base, str(SPECS)
    folders = [Path(root, f) for root in roots for f in FOLDERS]
    found = _first(name, folders, f"{base}, its data folders and the shipped data")
    real = within(found, roots)
    if real is None:
        remedy = "name it yourself: --data NAME=PATH"
        raise Fault(f'"{name}" is a link that leaves the folder of the spec', remedy, "E502")
    return _regular(real)


def within(path: Path, roots: Iterable[str | Path]) -> Path | None:
    """Where a path leads once its links are followed; None if not below one of the roots."""
    real = Path(os.path.realpath(path))
    return real if any(real.is_relative_to(os.path.realpath(r)) for r in roots) else None


def _overridden(name: str, decl: DataSource, override: str) -> Path:
    path = Path(override)
    if not os.path.lexists(path):
        raise _missing(override, [path.parent], str(path.parent))
    if not path.is_dir():
        if len(decl.args) > 1:
            message = f"--data gives one file, but {decl.reader} names {len(decl.args)} files"
            raise Fault(message, "give the folder that holds them", "E502")
        return _regular(path)
    real = within(_first(name, [path], str(path)), [path])
    if real is None:
        message = f'"{name}" is a link that leaves the folder {path}'
        raise Fault(message, "put the file itself there", "E502")
    return _regular(real)


def _first(name: str, folders: list[Path], where: str) -> Path:
    """The first file of that name that exists, also where it is a broken link."""
    outside = Path(name).is_absolute() or os.path.normpath(name).split(os.sep)[0] == ".."
    if not name or "\0" in name or outside or Path(name).drive:
        remedy = "put the file beside the spec, or name it yourself: --data NAME=PATH"
        raise Fault(f'"{name}" is not a name inside the folder of the spec', remedy, "E502")
    for path in (Path(folder, name + end) for folder in folders for end in ("", ".gz")):
        if os.path.lexists(path):
            return path
    raise _missing(name, folders, where)


def _regular(path: Path) -> Path:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Fault(f"{path} is not an ordinary file", "name a file that holds data", "E502")
    return path


def _missing(name: str, folders: list[Path], where: str) -> Fault:
    inside = [f for f in folders if f.is_dir() and (f == folders[0] or not f.is_symlink())]
    here = [p for f in inside for p in sorted(os.listdir(f))[:1000]]
    near = nearest(Path(name).name, {p.removesuffix(".gz") for p in here})
    remedy = f'"{near}"' if near else "put the file beside the spec, or use --data NAME=PATH"
    return Fault(f'there is no file "{name}" (looked in {where})', remedy, "E501")


def file_of(decl: DataSource) -> Path:
    """The file of a reader that takes exactly one. Raises `Fault` E501, E502 or E509."""
    return files_of(decl, one=True)[0]


def files_of(decl: DataSource, one: bool = False) -> list[Path]:
    """The files of a reader, one or several. Raises `Fault` E501, E502 or E509."""
    names = [a for a in decl.args if isinstance(a, str)]
    if len(names) != len(decl.args) or not names or (one and len(names) > 1):
        wanted = 'one file name, as in "a.csv"' if one else "file names"
        listed = ", ".join(f'"{name}"' for name in names)
        several = one and 1 < len(names) == len(decl.args)
        remedy = f"{decl.reader}([{listed}]), where they hold the same columns" if several else ""
        raise Fault(f"{decl.reader} takes {wanted}", remedy, "E509")
    return [locate(n, decl) for n in names]


# ---- bytes, capped -----------------------------------------------------------------------------


def head(path: Path, count: int) -> bytes:
    """The first bytes of a file, unpacked."""
    with open(path, "rb") as f:
        if not _packed(f):
            return f.read(count)
        found = bytearray()
        for piece in _unpacked(path, f):
            found += piece
            if len(found) >= count:
                break
    return bytes(found[:count])


def whole(path: Path, limit: int) -> bytes | bytearray:
    """The contents of a file, unpacked; at most one byte more than `limit`. Raises `Fault` E504
    where it ends early."""
    with open(path, "rb") as f:
        if not _packed(f):
            return f.read(min(limit, path.stat().st_size) + 1)  # it takes so much memory at once
        found = bytearray()
        for piece in _unpacked(path, f):
            found += _complete(path, piece)
            if len(found) > limit:
                del found[limit + 1 :]
                break
    return found


def fill(path: Path, into: memoryview, skip: int = 0, last: bool = True) -> int:
    """Fill memory with the bytes of a file, unpacked, from `skip` on, without a copy between.

    How many there were. With `last` the file is to end there: where it goes on, there were more.
    Raises `Fault` E504 where a packed file ends early.
    """
    with open(path, "rb", buffering=0) as f:
        if not _packed(f):
            f.seek(skip)
            found = 0
            while found < len(into) and (count := f.readinto(into[found:])):
                found += count
            return found + (len(f.read(1)) if last else 0)
        at = -skip  # in the memory, of the next byte of the file
        for piece in _unpacked(path, f):
            stop = at + len(_complete(path, piece))
            low, high = max(at, 0), min(stop, len(into))
            if low < high:
                into[low:high] = piece[low - at : high - at]
            at = stop
            if at > len(into) or (at == len(into) and not last):
                break
    return at if last else min(at, len(into))


def length(path: Path) -> int:
    """The bytes of a file, unpacked, as a gzip says itself: of the last of its members, modulo
    2^32 (RFC 1952)."""
    with open(path, "rb") as f:
        if not _packed(f):
            return path.stat().st_size
        f.seek(-min(4, path.stat().st_size), os.SEEK_END)
        return int.from_bytes(f.read(4), "little")


def _packed(f: BinaryIO | FileIO) -> bool:
    """Whether a file is a gzip; it stands at its begin."""
    begin = f.read(len(GZIP))
    f.seek(0)
    return begin == GZIP


def decoded(path: Path) -> str:
    """The contents of a file of text. Raises `Fault` E503 where it is not UTF-8, E508 where it is
    too large."""
    size = path.stat().st_size
    with open(path, "rb") as f:
        packed = _packed(f)
    if size > TEXT and not packed:
        raise too_large(path, f"{size:,}", TEXT)
    data = whole(path, min(TEXT, size * LETTERS + 65536) if packed else TEXT)
    if len(data) > size * LETTERS + 65536 or len(data) > TEXT:
        raise too_large(path, f"more than {len(data) - 1:,}", TEXT)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise Fault(f"{path}, line {line}: not UTF-8 text", "save it as UTF-8", "E503") from e


def pieces(path: Path, size: int) -> Iterator[bytes]:
    """The contents of a file, unpacked, some bytes at a time. Raises `Fault` E504 where it ends
    early."""
    with open(path, "rb") as f:
        if _packed(f):
            yield from (_complete(path, piece) for piece in _unpacked(path, f))
        else:
            while piece := f.read(size):
                yield piece


def check_table(path: Path) -> int:
    """The bytes of a table, unpacked. Raises `Fault` E508 where they are too many, before more is
    done with them than to count."""
    size = path.stat().st_size
    with open(path, "rb") as f:
        if not _packed(f):
            if size > TABLE:
                raise too_large(path, f"{size:,}", TABLE)
            return size
        most, found = min(TABLE, size * LETTERS + 65536), 0
        for piece in _unpacked(path, f):
            found += len(piece)
            if found > most:
                raise too_large(path, f"more than {most:,}", TABLE)
    return found


def _unpacked(path: Path, f: BinaryIO | FileIO) -> Iterator[bytes]:
    """What the members of a gzip hold, piece by piece; an empty piece where the data end early."""
    members, data = 0, f.read(CHUNK)
    while members < MEMBERS and data[: len(GZIP)] == GZIP:
        member, members = zlib.decompressobj(31), members + 1
        while data and not member.eof:
            try:
                piece = member.decompress(data, CHUNK)
            except zlib.error as e:
                raise damaged(path, e) from e
            if piece:
                yield piece
            data = member.unused_data if member.eof else member.unconsumed_tail or f.read(CHUNK)
        if not member.eof:
            yield b""
            return
        data += f.read(CHUNK) if len(data) < len(GZIP) else b""


def _complete(path: Path, piece: bytes) -> bytes:
    """A piece of what is unpacked; it is empty where the file ends early."""
    if not piece:
        raise Fault(f"{path} ends in the middle", "fetch it again", "E504")
    return piece


def damaged(path: Path, e: Exception) -> Fault:
    return Fault(f"{path} is damaged: {e}", "fetch it again", "E503")


def too_large(path: Path, size: str, limit: int | None = None) -> Fault:
    limit = LIMIT if limit is None else limit
    message = f"{path} holds {size} bytes, more than the limit of {limit:,}"
    if limit < LIMIT:
        return Fault(message, "write it as an npz file, with numpy.savez", "E508")
    return Fault(message, "split it, or keep fewer examples", "E508")


def check_length(path: Path, expected: int) -> None:
    """Compare the bytes that a header promises with the file, before anything is allocated. Raises
    `Fault` E504 where they differ, E508 where they are too many."""
    if expected > LIMIT:
        raise too_large(path, f"{expected:,}")
    size = path.stat().st_size
    with open(path, "rb") as f:
        packed = f.read(2) == GZIP
    if packed:
        if expected > size * EXPANSION + 65536:
            raise wrong_length(path, expected, f"{size:,} packed bytes cannot hold that")
    elif size != expected:
        raise wrong_length(path, expected, f"the file has {size:,}")


def wrong_length(path: Path, expected: int, found: str) -> Fault:
    message = f"the header of {path} promises {expected:,} bytes, but {found}"
    return Fault(message, "fetch it again", "E504")
