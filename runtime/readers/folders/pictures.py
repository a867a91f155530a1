"""Pictures in folders, `images("train/*/*.png", 28, 28)`: one array of bytes, decoded once.

`raw.image` is [height, width] of grey, or [3, height, width] with `channels = 3`, 0 to 255;
`raw.label` the folder that the last `*` before the name stands for, numbered in order of names.
A picture is turned as its camera says, laid over white where it is transparent, brought to grey by
0.299 R + 0.587 G + 0.114 B, to eight bits by rounding, and stretched to the size that is said.

Pillow decodes. Faults: E525 without it, E526 for a picture that cannot be used, E513 for a folder
that is none of the classes; those of `patterns`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from dln.compiler.schema.headers import DataSource, HeaderField, Schema, Stretch
from dln.grammar.diagnostics import Fault, nearest
from dln.runtime.readers.binary import taken
from dln.runtime.readers.folders.patterns import FoundFile, files_meant, is_pattern
from dln.runtime.readers.folders.telling import told

if TYPE_CHECKING:
    from numpy.typing import NDArray

Image: TypeAlias = Any
"""A picture of Pillow."""

PIXELS = 1 << 26  # of one picture: what holds more is no picture to learn from
KNOWN = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
OPTIONS = {"channels": (1, 3), "fit": ("stretch", "crop", "pad")}
WHITE, SHORT = 255, 65535
LARGEST = 16  # files whose headers tell how much memory decoding takes


class PictureSize(NamedTuple):
    """What a set says of its pictures: how large they are, of how many channels, how they are
    brought to that size."""

    height: int
    width: int
    channels: int
    fit: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture in raw."""
        size = self.height, self.width
        return size if self.channels == 1 else (self.channels, *size)


def asked_of(decl: DataSource) -> PictureSize:
    """The arguments of `images`. Raises `Fault` E509."""
    example = 'images("train/*/*.png", 28, 28)'
    sizes = decl.args[1:]
    if len(sizes) != 2 or not all(isinstance(n, int) and 0 < n <= SHORT for n in sizes):
        message = "images takes a pattern, the height and the width that pictures are brought to"
        raise Fault(message, example, "E509")
    chosen: dict[str, Any] = {name: known[0] for name, known in OPTIONS.items()}
    for name, value in decl.options.items():
        if name == "names":  # of its classes
            continue
        if name not in OPTIONS:
            near = nearest(name, OPTIONS) or "channels = 3"
            raise Fault(f'images has no parameter "{name}"', near, "E509")
        if value not in OPTIONS[name]:
            listed = " or ".join(map(repr, OPTIONS[name]))
            raise Fault(f"images: {name} must be {listed}, not {value!r}", code="E509")
        chosen[name] = value
    height, width = (int(str(n)) for n in sizes)
    return PictureSize(height, width, **chosen)


def found_by(decl: DataSource) -> tuple[list[FoundFile], list[str]]:
    """The pictures of a set, and the folder of each: of the last part of its pattern before the
    name that is a `*`. No folders where no part is one."""
    patterns = decl.args[0] if decl.args and isinstance(decl.args[0], list) else decl.args[:1]
    files, folders = list[FoundFile](), list[str]()
    for pattern in patterns if isinstance(patterns, list | tuple) else ():
        some = files_meant(decl, pattern)
        parts = [p for p in str(pattern).split("/") if p not in ("", ".")]
        stars = [i - len(parts) for i, part in enumerate(parts[:-1]) if is_pattern(part)]
        files += some
        folders += [n.parts[stars[-1]] for n in some] if stars else []
    return files, folders if len(folders) == len(files) else []


def probe(decl: DataSource) -> Schema:
    """What the names of files and folders say. Raises `Fault` E509, and those of `patterns`."""
    asked, (files, folders) = asked_of(decl), found_by(decl)
    if not files:
        raise Fault("images names no file", 'images("train/*/*.png", 28, 28)', "E509")
    fields = {"image": HeaderField(asked.shape, "real")}
    names = tuple(sorted(set(folders)))
    if names:
        fields["label"] = HeaderField((), "index")
    return Schema(fields, len(files), names={"label": names} if names else {})


def numbers_of(decl: DataSource, key: str, names: Sequence[str]) -> dict[str, int]:
    """Which class each name is: in the order that the spec has, else in that of the names."""
    known = decl.options.get("names")
    order = known.get(key, names) if isinstance(known, Mapping) else names
    return {name: i for i, name in enumerate(order)}


def read(decl: DataSource, stretch: Stretch | None) -> dict[str, NDArray[Any]]:
    """The pictures as bytes [example, *shape], their folders as numbers [example]. Raises `Fault`
    E513, E525, E526."""
    import numpy as np  # late: NumPy

    asked, (files, folders) = asked_of(decl), found_by(decl)
    low, high = taken(len(files), stretch)
    images = np.empty((high - low, *asked.shape), np.uint8)
    some = [n.path for n in files[low:high]]
    for i, pixels in enumerate(told("pictures", len(some), _decoded(some, asked))):
        images[i] = pixels
    if not folders:
        return {"image": images}
    order = numbers_of(decl, "label", sorted(set(folders)))
    for name in folders:
        if name not in order:
            listed = ", ".join(order)
            raise Fault(f'the folder "{name}" is none of the classes {listed}', "", "E513")
    label = np.array([order[name] for name in folders[low:high]], np.int64)
    return {"image": images, "label": label}


def place_of(decl: DataSource, example: int) -> str:
    """The picture that an example is."""
    files, _ = found_by(decl)
    return files[example].name if example < len(files) else ""


def workers() -> int:
    """How many pictures are decoded at once: not more than memory is foreseen for."""
    return min(4, os.cpu_count() or 1)


def decoding(decl: DataSource) -> int:
    """Bytes that decoding takes at most beside what stays, as the headers of the largest files
    say."""
    image = pillow()
    files, _ = found_by(decl)
    largest = sorted((n.path for n in files), key=lambda p: -p.stat().st_size)[:LARGEST]
    most = 0
    for path in largest:
        try:
            with image.open(path) as picture:
                most = max(most, picture.width * picture.height)
        except Exception:  # said when it is read
            continue
    return workers() * min(most, PIXELS) * 8


# ---- one picture -------------------------------------------------------------------------------


def pillow() -> Any:
    """Pillow's module for pictures. Raises `Fault` E525."""
    try:
        image = import_module("PIL.Image")
    except ImportError:
        message = "images are decoded by Pillow, which is not installed"
        raise Fault(message, 'pip install "dln[images]", or pip install Pillow', "E525") from None
    # What Pillow warns of is refused here.
    warnings.filterwarnings("ignore", category=image.DecompressionBombWarning)
    return image


def _decoded(paths: Sequence[Path], asked: PictureSize) -> Iterator[NDArray[Any]]:
    """Each picture as its pixels, in order; several are decoded at once."""
    pillow()
    with ThreadPoolExecutor(workers()) as pool:
        size = 256  # few at a time, so that what is decoded does not pile up
        for at in range(0, len(paths), size):
            yield from pool.map(lambda path: pixels_of(path, asked), paths[at : at + size])


def pixels_of(path: Path, asked: PictureSize) -> NDArray[Any]:
    """One picture, as bytes [height, width] or [channels, height, width]. Raises `Fault` E526, with
    its path."""
    image = pillow()
    try:
        with image.open(path, formats=KNOWN) as picture:
            if picture.width * picture.height > PIXELS:
                raise _too_many(path, f"{picture.width:,} x {picture.height:,}, ")
            if getattr(picture, "n_frames", 1) > 1:
                message = f"{path} has {picture.n_frames} frames, and a picture has one"
                raise Fault(message, "save its first frame alone", "E526")
            picture.load()
            return _laid(picture, asked)
    except image.DecompressionBombError as e:
        raise _too_many(path, "") from e
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError) as e:
        raise _unusable(path, e) from e
    except (ArithmeticError, MemoryError) as e:
        raise _unusable(path, e) from e


def _too_many(path: Path, size: str) -> Fault:
    return Fault(f"{path} has {size}more than {PIXELS:,} pixels", "scale it down", "E526")


class _NoShades(ValueError):
    """The numbers of a picture are no shades."""


def _unusable(path: Path, e: BaseException) -> Fault:
    """Why a picture cannot be used."""
    if not path.stat().st_size:
        return Fault(f"{path} is empty", "fetch it again, or take it out", "E526")
    if type(e).__name__ == "UnidentifiedImageError":
        message = f"{path} is no picture: none of {', '.join(KNOWN)}"
        return Fault(message, "take it out, or make the pattern fit pictures alone", "E526")
    if isinstance(e, _NoShades):
        return Fault(f"{path}: {e}", "write such numbers into an npz file", "E526")
    why = (str(e).strip().splitlines() or [type(e).__name__])[0]
    return Fault(f"{path} is damaged: {why}", "fetch it again, or take it out", "E526")


def _laid(picture: Image, asked: PictureSize) -> NDArray[Any]:
    """A picture as it is seen, in the channels and the size that are asked for."""
    import numpy as np  # late: NumPy

    ops = import_module("PIL.ImageOps")
    seen = ops.exif_transpose(picture)
    seen = _opaque(_eight_bits(seen)).convert("L" if asked.channels == 1 else "RGB")
    size = asked.width, asked.height
    if seen.size != size:
        smooth = pillow().Resampling.BILINEAR
        if asked.fit == "crop":
            seen = ops.fit(seen, size, smooth)
        elif asked.fit == "pad":
            seen = ops.pad(seen, size, smooth)
        else:
            seen = seen.resize(size, smooth)
    pixels = np.asarray(seen)
    return pixels if asked.channels == 1 else pixels.transpose(2, 0, 1)


def _eight_bits(seen: Image) -> Image:
    """A picture of sixteen bits brought to eight: 65535 is 255, what lies between is rounded."""
    import numpy as np  # late: NumPy

    if not seen.mode.startswith(("I", "F")):
        return seen
    values = np.asarray(seen)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > SHORT:
        raise _NoShades(f"its numbers are no shades of 8 or 16 bits (mode {seen.mode})")
    scaled = (values.astype(np.uint32) * WHITE + SHORT // 2) // SHORT
    return pillow().fromarray(scaled.astype(np.uint8))


def _opaque(seen: Image) -> Image:
    """A picture laid over white where it is transparent."""
    clear = "transparency" in seen.info or seen.mode in ("RGBA", "LA", "PA", "La", "RGBa")
    if not clear:
        return seen
    over = seen.convert("RGBA")
    under = pillow().new("RGBA", over.size, (WHITE,) * 4)
    return pillow().alpha_composite(under, over).convert("RGB")
