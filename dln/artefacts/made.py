"""What an artefact is once it is made, and how it is written: as text, as numbers, as a picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import EmitSpec
from dln.compiler.schema.tables import PICTURES
from dln.grammar.diagnostics import Fault
from dln.printing import pictures
from dln.printing.files import put, spared
from dln.printing.terminal import Terminal
from dln.runtime.session import Session


class Made:
    """Something to be printed or written. A form has what the compiler lets it be asked for: the
    others raise NotImplementedError."""

    def text(self) -> str:
        """As it is printed behind the name of the task."""
        raise NotImplementedError

    def data(self) -> Any:
        """As `--json` prints it."""
        raise NotImplementedError

    def numbers(self, kind: str) -> bytes:
        """The bytes of a .npy, .csv or .txt file."""
        raise NotImplementedError

    def picture(self, kind: str) -> bytes:
        """The bytes of a .png, .svg or .pdf file."""
        raise NotImplementedError


Maker = Callable[[Session, EmitSpec, Mapping[str, NDArray[Any]]], Made]
"""Makes it from a session, what is asked for, and the values of the task's program."""


def maker(form: str) -> Maker:
    """The maker of a form, from the file of that name."""
    found: Maker = import_module(f"dln.artefacts.{form}").made
    return found


def save(terminal: Terminal, owner: str, path: Path, made: Made, force: bool) -> Path:
    """Write a file, whole or not at all; numbers in place of a picture without matplotlib. The path
    that was written. Raises `DlnError` E542 where the system refuses, E611 for a file that is there
    and is not to be written over."""
    if path.suffix in PICTURES and not pictures.available():
        terminal.say(f"{owner}: {path.name} needs matplotlib: pip install 'dln[plot]'")
        path = path.with_suffix(".npy")
    try:
        spared(path, force=force)
        content = (made.picture if path.suffix in PICTURES else made.numbers)(path.suffix)
        return put(path, content, "free some space, or use --out")
    except Fault as fault:  # no place of the spec is to blame
        raise fault.at(None) from None


def npy(array: NDArray[Any]) -> bytes:
    """An array of any shape as NumPy writes it."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


# ---- classes of examples -------------------------------------------------------------------------


def counted(session: Session, emit: EmitSpec) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The counts [true, found], some examples at a time, and the names of the classes; of the first
    `emit.count`, if that is not 0. Where one of the two is no class nothing is counted."""
    names = emit.parts[0].rows
    counts, left = np.zeros((len(names), len(names)), np.int64), emit.count
    for found, true in session.datasets.picked(emit):
        some = slice(left if emit.count else None)
        pairs = np.stack([true[some].reshape(-1), found[some].reshape(-1)]).astype(np.int64)
        np.add.at(counts, tuple(pairs[:, (pairs >= 0).all(0)]), 1)
        left -= len(found)
        if emit.count and left <= 0:
            break
    seen = (n if n.isprintable() and not n.isspace() else repr(n) for n in names)  # as letters
    return counts, tuple(seen)
