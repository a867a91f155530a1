"""Pictures of what tasks emit: curves, matrices as images, stacks of images as tiles.

matplotlib is imported here alone, when a picture is written, by its object interface: no display,
no global figure, none of the user's settings. The same arrays give the same bytes with one version
of matplotlib.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.printing.tiling import enlarged, largest, tiled

LOADED = "matplotlib.figure"  # is there once a picture has been drawn
DPI = 150
WIDE = 100  # a scale of panels goes by powers of ten where values span more than that
SINGLE = 60  # points of a curve that are marked one by one
FEW = 20  # classes whose counts are written into a picture
INK, PALE = "#333333", "#dddddd"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""

IN_INK = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color")
LEFT_OUT = ("axes.spines.top", "axes.spines.right", "legend.frameon", "text.parse_math")
STYLE: dict[str, Any] = {
    **dict.fromkeys(IN_INK, INK),
    **dict.fromkeys(LEFT_OUT, False),
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "dln",
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Curve:
    """Numbers over `x`, which is called `axis`, perhaps with the standard deviation of each.

    `what` they are, where a label only says of what: curves of one thing share an axis with its
    name.
    """

    label: str
    x: NDArray[Any]
    y: NDArray[Any]
    axis: str
    error: NDArray[Any] | None = None
    dashed: bool = False
    what: str = ""


@dataclass(frozen=True)
class Panel:
    """Curves of one thing, over `axis`. Where `words` are given x counts them, from 0.

    A dashed curve has the colour of the one before it.
    """

    label: str
    axis: str
    curves: tuple[Curve, ...]
    words: tuple[str, ...] = ()


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def at_hand() -> bool:
    """Whether matplotlib is loaded already, so that a picture costs little."""
    return LOADED in sys.modules


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
            _by_tens(axes, "y")
        axes.margins(x=0.02)
        axes.set_xlabel(", ".join(dict.fromkeys(c.axis for c in curves)))
        if all((c.x == c.x.round()).all() for c in curves):
            axes.xaxis.get_major_locator().set_params(integer=True)
        if len(curves) > 1:
            axes.legend()
            axes.set_ylabel(curves[0].what if len({c.what for c in curves}) == 1 else "")
        else:
            axes.set_ylabel(curves[0].label)
        return _encoded(figure, kind)


# ---- panels ------------------------------------------------------------------------------------


def of_panels(panels: Sequence[Panel], kind: str) -> bytes:
    """Panels below one another, over one axis; a scale goes by powers of ten where it must."""
    with _matplotlib():
        figure = _figure(6.4, 0.6 + 2.6 * len(panels))
        below = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(below, panels, strict=True):
            _draw_panel(axes, panel)
        below[-1].set_xlabel(panels[-1].axis)
        return _encoded(figure, kind)


def _draw_panel(axes: Any, panel: Panel) -> None:
    colour = -1
    for curve in panel.curves:
        colour += not curve.dashed
        line = "none" if panel.words else "--" if curve.dashed else "-"
        single = len(curve.x) <= SINGLE
        marker = ("o" if single else None) if not curve.dashed else "_" if panel.words else None
        axes.errorbar(curve.x, curve.y, yerr=curve.error, label=curve.label, capsize=3,
                      color=COLOURS[colour % len(COLOURS)], marker=marker, linestyle=line,
                      markersize=12 if marker == "_" else 3.5,
                      linewidth=1.0 if curve.dashed else 1.6)  # fmt: skip
    axes.set_ylabel(panel.label)
    axes.margins(x=0.04)
    if panel.words:
        axes.set_xticks(range(len(panel.words)), panel.words)
    else:
        _scale(axes, "x", [c.x for c in panel.curves])
        whole = all((c.x == c.x.round()).all() for c in panel.curves)
        if whole and axes.get_xscale() == "linear":  # a scale of powers has ticks of its own
            axes.xaxis.get_major_locator().set_params(integer=True)
    _scale(axes, "y", [c.y for c in panel.curves])
    if len(panel.curves) > 1:
        axes.legend()


def _scale(axes: Any, which: str, values: Sequence[NDArray[Any]]) -> None:
    """Powers of ten where positive numbers span more than a hundredfold."""
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    if low > 0 and high > WIDE * low:
        _by_tens(axes, which)


def _by_tens(axes: Any, which: str) -> None:
    """A logarithmic scale. A name may hold a $, so mathematics is not typeset: powers of ten are
    written out."""
    getattr(axes, f"set_{which}scale")("log", nonpositive="mask")
    getattr(axes, f"{which}axis").set_major_formatter(lambda value, _: f"{value:g}")


# ---- anything -----------------------------------------------------------------------------------


def of_canvas(wide: float, high: float, kind: str, draw: Callable[[Any, Any], None]) -> bytes:
    """What `draw` puts on axes that fill a picture of so many inches, without frame or ticks; it is
    given them, and the module of shapes."""
    with _matplotlib():
        figure = _figure(wide, high, layout="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        draw(axes, import_module("matplotlib.patches"))
        return _encoded(figure, kind)


# ---- arrays ------------------------------------------------------------------------------------


def of_array(
    array: NDArray[Any], label: str, kind: str, axis: str = "index", rows: Sequence[str] = ()
) -> bytes:
    """A picture by shape: a vector as a curve, a matrix as an image, [n, h, w] as n tiles,
    [k, n, h, w] as k rows of n tiles; with the names of `rows`, [n, k, h, w] as n columns of k."""
    array = np.asarray(array, float)
    if array.size == 0:
        return _of_tiles(np.ones((1, 1, 1)), f"{label}: none", kind)
    if array.ndim == 1:
        return of_curves([Curve(label, np.arange(len(array)), array, axis)], kind)
    if array.ndim == 2:
        return _of_matrix(array, label, kind)
    if array.ndim != 4:
        rows = ()
    elif 1 in array.shape[:2] and not rows:
        array = array.reshape(-1, *array.shape[2:])
    return _of_tiles(array, label, kind, rows)


def _of_matrix(array: NDArray[Any], label: str, kind: str) -> bytes:
    """An image in grey; with both signs in two colours, white at 0, with their scale."""
    most, signed = largest(array), bool((array < 0).any())
    h, w = array.shape
    with _matplotlib():
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
            figure.colorbar(image, shrink=0.8, pad=0.02).outline.set_visible(False)
        return _encoded(figure, kind, bbox_inches="tight", pad_inches=0.08)


def of_counts(
    counts: NDArray[Any], names: Sequence[str], axes_of: tuple[str, str], kind: str
) -> bytes:
    """A square table of counts [row, column]: each cell as dark as its share of its row, with its
    count where there is room. `axes_of` says what the rows and what the columns are."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(2.4, min(9.0, 0.5 * len(names) + 1.0))
    with _matplotlib():
        figure = _figure(side, side)
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axes.grid(False)
        axes.set_ylabel(axes_of[0])
        axes.set_xlabel(axes_of[1])
        small = 10 if len(names) <= FEW else 5
        for line in (axes.xaxis, axes.yaxis):
            line.set_ticks(range(len(names)), names, fontsize=small)
        if max(map(len, names), default=0) > 3:  # words would stand in one another
            axes.tick_params("x", rotation=90)
        axes.tick_params(length=0)
        for (i, k), n in np.ndenumerate(counts) if len(names) <= FEW else ():
            if n:
                colour = "white" if shares[i, k] > 0.5 else INK
                axes.text(k, i, f"{n}", ha="center", va="center", color=colour, fontsize=8)
        return _encoded(figure, kind)


def _of_tiles(array: NDArray[Any], label: str, kind: str, rows: Sequence[str] = ()) -> bytes:
    """A grid of small images with thin gaps, each in its own range of greys, drawn pixel by pixel
    up to 12 inches. Named rows are named on their left, and have no title."""
    grid, tops = tiled(array, len(rows))
    with _matplotlib():
        h, w = grid.shape
        scale = min(1.0, 12.0 * DPI / w) / DPI
        figure = _figure(w * scale, h * scale, layout="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(grid, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_xticks([])
        middle = enlarged(array) * array.shape[-2] / 2 - 0.5
        names = [rows[i % len(rows)] for i in range(len(tops))] if rows else []
        axes.set_yticks([top + middle for top in tops] if rows else [], names)
        axes.tick_params(length=0)
        if not rows:
            axes.set_title(label)
        return _encoded(figure, kind, bbox_inches="tight", pad_inches=0.08)


# ---- matplotlib --------------------------------------------------------------------------------


@contextmanager
def _matplotlib() -> Iterator[None]:
    """matplotlib with its own defaults and our style, and nothing said about fonts or folders."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with import_module("matplotlib.style").context(["default", STYLE]):
        yield


def _figure(wide: float, high: float, layout: str = "constrained") -> Any:
    """An empty figure, in inches."""
    module: Any = import_module("matplotlib.figure")
    figure = module.Figure(figsize=(wide, high), dpi=DPI, layout=layout)
    if layout == "constrained":
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
