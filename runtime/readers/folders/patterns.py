"""The files that a pattern means, `train/*/*.png`: in order of names, the same on all systems.

A pattern is confined as a name is: it stays below the folder of the spec, its data folders or the
shipped ones, or below the folder of `--data`. Hidden files and folders are passed over.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import NamedTuple

from dln.compiler.schema.headers import DataSource
from dln.grammar.diagnostics import Fault, nearest
from dln.runtime.readers.files import FOLDERS, SPECS, locate, within

WILD = re.compile(r"[*?[]")
LISTED = 5  # of what was found in place of what was looked for


class FoundFile(NamedTuple):
    """A file by its name, the parts of its path below the folder that was looked in."""

    parts: tuple[str, ...]
    path: Path

    @property
    def name(self) -> str:
        return "/".join(self.parts)


def is_pattern(name: object) -> bool:
    """Whether a name means several files."""
    return isinstance(name, str) and WILD.search(name) is not None


def files_meant(decl: DataSource, names: object) -> list[FoundFile]:
    """The files that a name, a pattern or a list of these means: those of a pattern in order of
    their names, the others as they are listed. Raises `Fault` E501, E502, E509."""
    listed = list(names) if isinstance(names, list | tuple) else [names]
    if decl.override is not None and len(decl.args) == 1 and not Path(decl.override).is_dir():
        return [FoundFile((Path(decl.override).name,), locate("", decl))]  # it stands for all
    found: list[FoundFile] = []
    for name in listed:
        if not isinstance(name, str):
            raise Fault(f"{decl.reader} takes file names, or lists of them", code="E509")
        if is_pattern(name):
            found += matching(name, decl)
        else:
            found.append(FoundFile(tuple(Path(name).parts), _one(name, decl)))
    for path, count in Counter(n.path for n in found).items():
        if count > 1:
            raise Fault(f"{path} is named twice", "name each file once", "E509")
    if not found:
        raise Fault(f"{decl.reader} names no file", 'a name, as in "a.csv"', "E509")
    return found


def matching(pattern: str, decl: DataSource) -> list[FoundFile]:
    """The files that a pattern means, in order of the parts of their names; below a folder of
    `--data` the folders that it begins with may be left out. Raises `Fault` E501
    where there are none, E502 for a pattern or a link that leaves the folder."""
    parts = _parts(pattern)
    folders = _folders(decl)
    first = next((i for i, part in enumerate(parts) if is_pattern(part)), 0)
    tails = (parts, parts[first:]) if decl.override is not None else (parts,)  # `train` elsewhere
    for (root, folder), tail in product(folders, tails):
        found = sorted(_below(folder, tail, ()))
        for n in found:
            if _linked(folder, n.parts) and within(n.path, root) is None:
                remedy = "put the file itself there"
                raise Fault(f"{n.path} is a link that leaves the folder {root[0]}", remedy, "E502")
        if found:
            return found
    raise _nothing(pattern, parts, [folder for _, folder in folders], decl)


def _one(name: str, decl: DataSource) -> Path:
    """The file of a name; where that is a folder, the pattern that means what is in it."""
    try:
        return locate(name, decl)
    except Fault as fault:
        inside = _folder_held(name, decl) if fault.code == "E502" else ""
        if not inside:
            raise
        remedy = f'"{name.rstrip("/")}/{inside}"'
        raise Fault(f"{name} is a folder, and {decl.reader} reads files", remedy, "E502") from None


def _folder_held(name: str, decl: DataSource) -> str:
    """The pattern of the files in a folder that a spec may read from; nothing outside is listed."""
    base = Path(decl.base or ".")
    if decl.override is None and (
        "\0" in name or not (base / name).resolve().is_relative_to(base.resolve())
    ):
        return ""
    folder = Path(decl.override or base / name)
    return _inside([folder]) if folder.is_dir() else ""


def _inside(folders: Sequence[Path]) -> str:
    """The pattern of the files in folders, or in the folders in these: `*/*.png`."""
    for depth in ("", "*/"):
        held = [folder / n for folder in folders for n in _visible(folder)]
        if ends := Counter(p.suffix for p in held if p.suffix).most_common(1):
            return f"{depth}*{ends[0][0]}"
        folders = [p for p in held if p.is_dir() and not p.is_symlink()]
    return ""


def _parts(pattern: str) -> tuple[str, ...]:
    outside = pattern.startswith("/") or ".." in pattern.split("/") or "\0" in pattern
    if outside or "\\" in pattern or Path(pattern).drive:
        remedy = "put the files beside the spec, or name their folder: --data NAME=FOLDER"
        message = f'"{pattern}" is not a pattern inside the folder of the spec'
        raise Fault(message, remedy, "E502")
    parts = tuple(p for p in pattern.split("/") if p not in ("", "."))
    if "**" in parts:
        remedy = f'"{pattern.replace("**", "*")}"'
        raise Fault(f'"{pattern}": ** means nothing here, * is one folder', remedy, "E509")
    return parts


def _folders(decl: DataSource) -> list[tuple[tuple[str, ...], Path]]:
    """Where to look, each with the folders that nothing may leave."""
    if decl.override is not None:
        folder = Path(decl.override)
        if not folder.is_dir():
            message = f"{decl.override} is no folder, and {decl.reader} reads several files"
            raise Fault(message, "the folder that holds them", "E502")
        return [((str(folder),), folder)]
    base = decl.base or "."
    own, shipped = (base, str(SPECS)), (str(SPECS),)
    here = [(own, Path(base, f)) for f in FOLDERS[:2]]
    return here + [(shipped, SPECS / f) for f in FOLDERS]


def _below(folder: Path, parts: Sequence[str], before: tuple[str, ...]) -> Iterator[FoundFile]:
    """The files below a folder whose names fit the parts of a pattern."""
    part, rest = parts[0], parts[1:]
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(".") and fnmatchcase(entry.name, part):
            if rest and entry.is_dir():
                yield from _below(Path(entry.path), rest, (*before, entry.name))
            elif not rest and entry.is_file():
                yield FoundFile((*before, entry.name), Path(entry.path))


def _linked(folder: Path, parts: Sequence[str]) -> bool:
    """Whether a link stands on the way to a file."""
    return any(os.path.islink(Path(folder, *parts[: i + 1])) for i in range(len(parts)))


def _nothing(
    pattern: str, parts: Sequence[str], folders: Sequence[Path], decl: DataSource
) -> Fault:
    """No file fits: what was looked for, and what there is in its place."""
    where = decl.override or f"{decl.base or '.'}, its data folder and the shipped data"
    message = f'no file fits "{pattern}" (looked in {where})'
    for depth in range(len(parts), 0, -1):  # the longest begin of the pattern that there is
        for folder in folders:
            above = [folder] if depth == 1 else _dirs(folder, parts[: depth - 1])
            held = sorted({n for a in above for n in _visible(a)})
            if held:
                ends = Counter(Path(n).suffix for n in held).most_common(1)[0][0]
                begun = "/".join(parts[: depth - 1]) or str(folder)
                some = ", ".join(held[:LISTED]) + ", ..." * (len(held) > LISTED)
                last = Path(parts[-1])
                other = depth == len(parts) and ends and ends != last.suffix and last.suffix
                remedy = f'"{pattern.removesuffix(last.suffix)}{ends}"' if other else ""
                if depth == len(parts) and not ends and (inside := _inside(above)):
                    remedy = f'"{"/".join((*parts[:-1], inside))}"'
                if not is_pattern(parts[depth - 1]) and (near := nearest(parts[depth - 1], held)):
                    remedy = f'"{"/".join((*parts[: depth - 1], near, *parts[depth:]))}"'
                return Fault(f"{message}: {begun} holds {some}", remedy, "E501")
    return Fault(message, "put the files beside the spec, or use --data NAME=FOLDER", "E501")


def _dirs(folder: Path, parts: Sequence[str]) -> list[Path]:
    found = [folder]
    for part in parts:
        found = [a / n for a in found for n in _visible(a) if fnmatchcase(n, part)]
        found = [a for a in found if a.is_dir()]
    return found


def _visible(folder: Path) -> list[str]:
    try:
        return [n for n in os.listdir(folder) if not n.startswith(".")]
    except OSError:
        return []
