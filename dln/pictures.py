"""Pictures of what tasks emit: curves, matrices as images, stacks of images as tiles.

matplotlib is imported here alone, when a picture is written, by its object interface: no display,
no global figure, none of the user's settings. The same arrays give the same bytes with one version
of matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = (".png", ".svg", ".pdf")
DPI = 150
SIDE = 96  # pixels that a tile's longer side is drawn with, or a little less
GAP = 6  # pixels between tiles
INK, PALE = "#333333", "#dddddd"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""

STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "dln",
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Curve:
    """Numbers over `x`, which is called `axis`."""

    label: str
    x: NDArray[Any]
    y: NDArray[Any]
    axis: str


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


# ---- curves ------------------------------------------------------------------------------------


def of_curves(curves: Sequence[Curve], kind: str, log: bool = False) -> bytes:
    """Curves in one picture; more than one are told apart in a legend."""
    with _matplotlib():
        figure = _figure(6.4, 4.0)
        axes = figure.add_subplot()
        for i, curve in enumerate(curves):
            axes.plot(curve.x, curve.y, label=curve.label, color=COLOURS[i % len(COLOURS)],
                      marker="o" if len(curve.x) <= 30 else None, markersize=3.5)  # fmt: skip
        if log:
            axes.set_yscale("log", nonpositive="mask")
            # A name may hold a $, so mathematics is not typeset: powers of ten are written out.
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.margins(x=0.02)
        names = list(dict.fromkeys(c.axis for c in curves))
        axes.set_xlabel(", ".join(names))
        if all((c.x == c.x.round()).all() for c in curves):
            axes.xaxis.get_major_locator().set_params(integer=True)
        if len(curves) > 1:
            axes.legend()
        else:
            axes.set_ylabel(curves[0].label)
        return _encoded(figure, kind)


# ---- arrays ------------------------------------------------------------------------------------


def of_array(array: NDArray[Any], label: str, kind: str, axis: str = "index") -> bytes:
    """A picture by shape: a vector as a curve, a matrix as an image, [n, h, w] as n tiles,
    [k, n, h, w] as k rows of n tiles."""
    import numpy as np

    array = np.asarray(array, float)
    if array.size == 0:
        return _of_tiles(np.ones((1, 1, 1)), f"{label}: none", kind)
    if array.ndim == 1:
        return of_curves([Curve(label, np.arange(len(array)), array, axis)], kind)
    if array.ndim == 2:
        return _of_matrix(array, label, kind)
    if array.ndim == 4 and 1 in array.shape[:2]:
        array = array.reshape(-1, *array.shape[2:])
    return _of_tiles(array, label, kind)


def _of_matrix(array: NDArray[Any], label: str, kind: str) -> bytes:
    """An image in grey; with both signs in two colours, white at 0, with their scale."""
    most = _most(array)
    signed = bool((array < 0).any())
    with _matplotlib():
        h, w = array.shape
        figure = _figure(6.4, max(2.0, min(8.0, 5.2 * h / max(w, 1) + 0.6)))
        axes = figure.add_subplot()
        scale = {"cmap": "RdBu_r", "vmin": -most, "vmax": most} if signed else {"cmap": "gray"}
        even = 1 / 4 <= h / max(w, 1) <= 4
        image = axes.imshow(array, aspect="equal" if even else "auto", interpolation="nearest",
                            **scale)  # fmt: skip
        axes.grid(False)
        axes.set_title(label)
        for line in (axes.xaxis, axes.yaxis):
            line.get_major_locator().set_params(integer=True)
        if signed:
            bar = figure.colorbar(image, shrink=0.8, pad=0.02)
            bar.outline.set_visible(False)
        return _encoded(figure, kind, bbox_inches="tight", pad_inches=0.08)


def _of_tiles(array: NDArray[Any], label: str, kind: str) -> bytes:
    """A grid of small images with thin gaps, each in its own range of greys."""
    grid = tiled(array)
    with _matplotlib():
        h, w = grid.shape
        wide = max(1.6, min(12.0, w / DPI))
        figure = _figure(wide, wide * h / w + 0.4)
        axes = figure.add_subplot()
        axes.imshow(grid, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(label)
        return _encoded(figure, kind, bbox_inches="tight", pad_inches=0.08)


def tiled(array: NDArray[Any]) -> NDArray[Any]:
    """The pixels of a grid of tiles from [n, h, w] or [rows, columns, h, w], in 0 to 1.

    A tile of both signs has 0 in the middle of its greys; the gaps are white.
    """
    import numpy as np

    if array.ndim == 3:
        rows, columns = arranged(len(array))
    else:
        rows, columns = array.shape[:2]
    h, w = array.shape[-2:]
    enlarged = max(1, SIDE // max(h, w, 1))
    high, wide = h * enlarged + GAP, w * enlarged + GAP
    grid = np.ones((rows * high - GAP, columns * wide - GAP))
    for i, tile in enumerate(array.reshape(-1, h, w)):
        top, left = i // columns * high, i % columns * wide
        large = np.repeat(np.repeat(_greys(tile), enlarged, 0), enlarged, 1)
        grid[top : top + h * enlarged, left : left + w * enlarged] = large
    return grid


def arranged(n: int) -> tuple[int, int]:
    """Rows and columns for n tiles: a single row of few, else about a square.

    >>> arranged(6), arranged(20), arranged(100)
    ((1, 6), (4, 5), (10, 10))
    """
    columns = n if n <= 8 else ceil(sqrt(n))
    return -(-n // max(columns, 1)), columns


def _greys(tile: NDArray[Any]) -> NDArray[Any]:
    """A tile's numbers from 0 to 1; what is not a number is 0."""
    import numpy as np

    tile = np.nan_to_num(tile, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = tile.min(), tile.max()
    if low < -abs(high) / 4:  # not a picture with a background a little below 0
        return np.asarray(tile / (2 * _most(tile)) + 0.5)
    return np.asarray((tile - low) / ((high - low) or 1.0))


def _most(array: NDArray[Any]) -> float:
    """The largest absolute value, 1 where there is none."""
    import numpy as np

    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max(initial=0.0)) or 1.0


# ---- matplotlib --------------------------------------------------------------------------------


@contextmanager
def _matplotlib() -> Iterator[None]:
    """matplotlib with its own defaults and our style, and nothing said about fonts or folders."""
    import logging

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    matplotlib = import_module("matplotlib")
    style = import_module("matplotlib.style")
    with style.context(["default", STYLE]), matplotlib.rc_context():
        matplotlib.rcParams["axes.prop_cycle"] = matplotlib.cycler(color=COLOURS)
        yield


def _figure(wide: float, high: float) -> Any:
    """An empty figure, in inches."""
    module: Any = import_module("matplotlib.figure")
    figure = module.Figure(figsize=(wide, high), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    return figure


def _encoded(figure: Any, kind: str, **how: Any) -> bytes:
    """The bytes of a figure, without the date or the maker's version."""
    nothing: dict[str, dict[str, None]] = {
        ".png": {"Software": None},
        ".svg": {"Date": None, "Creator": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    out = io.BytesIO()
    figure.savefig(out, format=kind[1:], metadata=nothing[kind], **how)
    return out.getvalue()
