"""New data that are no table: arrays from Python, pictures, idx files, texts.

Faults: E580 what does not fit, E581 what could not be read here, E583 what cannot be kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dln.applying.feeding import InstanceFeed
from dln.applying.pieces import NewExamples
from dln.compiler.plan import DataSource, DataSpec, FieldSpec
from dln.grammar.diagnostics import Fault
from dln.runtime.readers import files, frames, readers
from dln.runtime.readers.folders import pictures
from dln.runtime.readers.folders.patterns import is_pattern
from dln.runtime.readers.given import to_host

MANY = 256  # pictures at a time


def arrays_of(data: Any, spec: DataSpec, feed: InstanceFeed) -> dict[str, Any]:
    """What Python hands over, as arrays by name. Raises `Fault` E580."""
    if frames.is_frame(data):
        data = {str(c): np.asarray(data[c]) for c in data.columns}
    if isinstance(data, Mapping):
        found = dict[str, Any]()
        for name, value in data.items():
            steps = frames.unequal(value)
            if steps is not None:
                known = next((f for f in spec.fields if f.name == name and f.ends), None)
                if known is None:
                    text = f"the sequences of {name} have {min(steps)} to {max(steps)} steps"
                    raise Fault(text, "sequences of one length, as those learnt from", "E580")
                found.setdefault(known.ends, np.asarray(steps))
                value = frames.filled(value, steps)
            found[str(name)] = _array(str(name), value)
        return found
    fields = [f.name for f in spec.fields if f.name in feed.fields and f.domain != "length"]
    values = data if isinstance(data, tuple) else (data,)
    if len(values) != len(fields):
        text = f"{feed.data} gives {', '.join(fields)}, and {len(values)} arrays were handed over"
        raise Fault(text, f"{{{', '.join(f'{f!r}: ...' for f in fields)}}}", "E580")
    return arrays_of(dict(zip(fields, values, strict=True)), spec, feed)


def _array(name: str, value: Any) -> Any:
    found = to_host(value)
    if not isinstance(found, np.ndarray):
        raise Fault(f"{name} {found.message}", found.remedy, "E580")
    return found


def other_files(data: str, spec: DataSpec, feed: InstanceFeed) -> Any:
    """Pictures by a pattern or a folder, images in an idx file, a text; None for a table."""
    if spec.reader == "images":
        return NewPictures(data, spec)
    if spec.reader == "idx":
        return NewIdx(data, spec, feed) if files.head(Path(data), 2) == b"\0\0" else None
    if spec.reader == "text" and feed.alphabet and Path(data).suffix.lower() != ".csv":
        return NewText(Path(data), spec, feed)
    return None


class NewPictures:
    """Pictures brought to the size of those that were learnt from."""

    def __init__(self, pattern: str, spec: DataSpec) -> None:
        path = Path(pattern)
        if path.is_dir():
            pattern, path = f"{pattern}/*", path / "*"
        base, name = ("/", pattern[1:]) if path.is_absolute() else (".", pattern)
        if ".." in path.parts:  # a person may name what lies elsewhere
            wild = (i for i, part in enumerate(path.parts) if is_pattern(part))
            first = next(wild, len(path.parts) - 1)
            base, name = str(Path(*path.parts[:first])), "/".join(path.parts[first:])
            if not Path(base).is_dir():
                raise Fault(f"{base} is no folder", "a pattern as new/*.png", "E581")
        options = {k: v for k, v in spec.options.items() if k != "names"}
        self.source = DataSource("images", (name, *spec.args[1:]), options, base)
        self.said, self.notes = pattern, list[str]()
        self.asked = pictures.asked_of(self.source)
        try:
            found = pictures.found_by(self.source)[0]
        except Fault as fault:
            if fault.code != "E501":
                raise
            text = f"no picture is called {pattern}"
            raise Fault(text, 'a folder, or a pattern as "new/*.png"', "E581") from None
        self.files = [f.path for f in found]
        if not path.is_absolute():
            self.files = [Path(os.path.relpath(p)) for p in self.files]

    def pieces(self) -> Iterator[NewExamples]:
        """All pictures, in order of their names, each with its name."""

        def where(f: FieldSpec, example: int, element: int) -> str:
            return str(self.files[example])

        for low in range(0, len(self.files), MANY):
            some = self.files[low : low + MANY]
            pixels = np.stack([pictures.pixels_of(p, self.asked) for p in some])
            names = {"file": [str(p) for p in some]}
            yield NewExamples(low, len(some), {"image": pixels}, kept=names, where=where)


class NewText:
    """A text in stretches as long as those learnt from, each by itself. The last one goes on with
    its last letter, and ends where the text does."""

    def __init__(self, path: Path, spec: DataSpec, feed: InstanceFeed) -> None:
        self.said, self.notes = path.name, list[str]()
        self.path, self.alphabet = path, str(feed.alphabet)
        self.window = next(f.shape[0] for f in spec.raw if not f.name) - 1
        self.text = files.decoded(path)
        if not self.text:
            raise Fault(f"{path} is empty", "a text", "E580")

    def pieces(self) -> Iterator[NewExamples]:
        """All stretches, in order. Raises `Fault` E580 for letters that were not learnt."""
        codes, step = {c: i for i, c in enumerate(self.alphabet)}, 256 * self.window
        for at in range(0, len(self.text), step):
            some = self.text[at : at + step + 1]
            strange = next((c for c in some if c not in codes), None)
            if strange is not None:
                line = self.text.count("\n", 0, self.text.index(strange)) + 1
                text = f"{self.path}, line {line}: {strange!r} is none of the letters learnt from"
                raise Fault(text, "replace it", "E580")
            count = min(step, len(self.text) - at)
            n = -(-count // self.window)
            row = np.array([codes[c] for c in some.ljust(n * self.window + 1, some[-1])], np.int64)
            cut = np.lib.stride_tricks.sliding_window_view(row, self.window + 1)[:: self.window]
            ends = np.minimum(self.window, count - self.window * np.arange(n))
            yield NewExamples(at // self.window, n, {"": cut[:n]}, lengths=ends)


class NewIdx:
    """Images in one idx file."""

    def __init__(self, name: str, spec: DataSpec, feed: InstanceFeed) -> None:
        path = Path(name)
        base = str(path.parent)
        found = readers.read(DataSource("idx", (path.name,), {}, base))
        only = [k for k in feed.raw if k.startswith("image")]
        if list(found) != ["image"] or len(only) != 1:
            text = f"{name} holds {', '.join(found)}, and {', '.join(sorted(feed.raw))} is needed"
            raise Fault(text, "an .npz file with these arrays", "E580")
        self.said, self.notes, self.key = name, list[str](), only[0]
        self.images = found["image"]
        want = next(f.shape for f in spec.raw if f.name == self.key)
        if self.images.shape[1:] != want:
            shape = list(self.images.shape[1:])
            raise Fault(
                f"{name}: each image is {shape}, and was {list(want)}",
                "images of that size",
                "E580",
            )

    def pieces(self) -> Iterator[NewExamples]:
        """All images, in order."""
        for low in range(0, len(self.images), 4096):
            some = self.images[low : low + 4096]
            yield NewExamples(low, len(some), {self.key: some})
