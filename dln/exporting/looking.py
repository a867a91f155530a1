"""What is looked at through windows, read off the graph: from a product or a reduction down through
affine indices to what is looked at. Of each axis that is, one index stays and is the place of the
window; the other goes, summed or reduced, and is the place in the window. What is padded or cut
off before is a part of where the first window begins."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import op_of
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_pad, is_slice, is_window
from dln.exporting.writing import OnnxWriter


@dataclass
class Looked:
    """An axis that is looked at: where the places of windows and those in them stand among the axes
    of what looks, how many there are, their strides, and the part of the axis that is seen, `low`
    to `high` (which lie outside of it where there is padding)."""

    axis: int
    stays: int
    goes: int
    count: int
    kernel: int
    stride: int
    dilation: int
    low: int
    high: int


@dataclass
class Windowed:
    """A tensor looked at through windows: the axes that are, in order, and which axis of the tensor
    each axis of what looks is, None for those of windows."""

    base: Node
    looked: list[Looked]
    plain: list[int | None]


def look(node: Node, gone: Set[int]) -> Windowed | None:
    """How a node looks at what is below its windows, if its axes `gone` are those in windows that
    are summed or reduced. None for another kind of windows, and where there are none."""
    windows, base = list[Node](), node
    while is_window(base) or op_of(base).is_("identity"):
        if is_window(base):
            windows.insert(0, base)
        base = base.operands[0]
    axes: list[tuple[int, tuple[int, int, int] | None]] = [
        (i, None) for i in range(len(base.type.shape))
    ]
    for window in windows:
        at = window["axis"]
        axis, part = axes[at]
        if part is not None or len(window["terms"]) != 2:
            return None
        numbers = [(c, Size.of(n).value or 0, window["offset"]) for c, n in window["terms"]]
        axes[at : at + 1] = [(axis, term) for term in numbers]
    found = list[Looked]()
    for axis in sorted({a for a, part in axes if part is not None}):
        both = [(i, part) for i, (a, part) in enumerate(axes) if a == axis and part is not None]
        (stays, first), (goes, second) = sorted(both, key=lambda pair: pair[0] in gone)
        if stays in gone or goes not in gone:
            return None
        (stride, count, low), (dilation, kernel, _) = first, second
        high = low + (count - 1) * stride + (kernel - 1) * dilation + 1
        found.append(Looked(axis, stays, goes, count, kernel, stride, dilation, low, high))
    if not found:
        return None
    return Windowed(base, found, [a if part is None else None for a, part in axes])


def further(seen: Windowed, pads: bool) -> None:
    """Look through what cuts off ends, and with `pads` through what puts zeros there."""
    by_axis = {each.axis: each for each in seen.looked}
    while is_slice(seen.base) or (pads and is_pad(seen.base)) or op_of(seen.base).is_("identity"):
        node, below = seen.base, seen.base.operands[0]
        if not op_of(node).is_("identity"):
            each = by_axis.get(node["axis"])
            if each is None:
                return
            size = node.type.shape[each.axis].value or 0
            if is_slice(node) and not 0 <= each.low <= each.high <= size:
                return  # zeros stand where this was cut off
            by = node["start"] if is_slice(node) else -node["before"]
            each.low, each.high = each.low + by, each.high + by
        seen.base = below


def cut_to(w: OnnxWriter, seen: Windowed) -> tuple[str, list[int], list[int], list[int]]:
    """The value that is looked at, cut to what windows fit into exactly where they begin later or
    would find more places; for each axis that is, the zeros before and after it, and its size."""
    name, cuts = w.full(seen.base), list[tuple[int, int, int]]()
    before, after, sizes = list[int](), list[int](), list[int]()
    for each in seen.looked:
        size = seen.base.type.shape[each.axis].value or 0
        start, stop = max(each.low, 0), min(each.high, size)
        before.append(max(-each.low, 0))
        after.append(max(each.high - size, 0))
        more = (before[-1] + size - (each.high - each.low)) // each.stride
        if start or more > 0:
            cuts.append((each.axis, start, stop))
            size = stop - start
        sizes.append(size)
    if cuts:
        axes, starts, stops = (w.ints(*row) for row in zip(*cuts, strict=True))
        name = w.call("Slice", name, starts, stops, axes)
    return name, before, after, sizes


def flat(rows: Sequence[Looked], key: str) -> list[int]:
    return [int(getattr(row, key)) for row in rows]
