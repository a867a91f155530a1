"""Products with windows as Conv."""

from __future__ import annotations

from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.contract import Labels
from dln.exporting.looking import Windowed, cut_to, flat, further, look
from dln.exporting.writing import OnnxValue, OnnxWriter
from dln.grammar.record import Record


class Layout(Record):
    """The labels of a convolution by their part in it; a part that is missing is an axis of size 1.
    Of `grouped` channels each has a kernel of its own."""

    batch: Labels
    channels: Labels
    maps: Labels
    places: Labels
    taps: Labels
    grouped: bool

    @property
    def input(self) -> Labels:
        return (*self.batch, *self.channels, *self.places)

    @property
    def kernel(self) -> Labels:
        return (*self.maps, *(() if self.grouped else self.channels), *self.taps)

    @property
    def result(self) -> Labels:
        return (*self.batch, *self.maps, *self.places)


def conv(w: OnnxWriter, node: Node, bias: str = "") -> OnnxValue | None:
    """A product of a kernel and windows; with a bias along the second axis only where the result
    lies as ONNX has it. None where a product is no such thing, and in double precision, in which
    onnxruntime has no convolution."""
    if w.made.dtype != "float32":
        return None
    (a, b), left, right = node.operands, node["left"], node["right"]
    for x, mine, kernel, theirs in ((a, left, b, right), (b, right, a, left)):
        gone = {i for i, label in enumerate(mine) if label not in node["out"]}
        seen = look(x, gone)
        layout = None if seen is None else layout_of(seen, mine, theirs, node["out"])
        if seen is None or layout is None:
            continue
        plain = layout.result == node["out"] and len(layout.maps) == len(layout.batch) == 1
        if bias and not plain:
            return None
        return written(w, node, (seen, mine), (kernel, theirs), layout, bias)
    return None


def layout_of(seen: Windowed, mine: Labels, theirs: Labels, out: Labels) -> Layout | None:
    """Which label is what; None where one is something that a convolution has not, or has once."""
    places = tuple(mine[each.stays] for each in seen.looked)
    taps = tuple(mine[each.goes] for each in seen.looked)
    rest = [mine[i] for i, axis in enumerate(seen.plain) if axis is not None]
    batch = tuple(x for x in rest if x in out and x not in theirs)
    channels = tuple(x for x in rest if x in theirs and x not in out)
    groups = tuple(x for x in rest if x in theirs and x in out)
    maps = tuple(x for x in theirs if x not in mine)
    odd = set(places) & set(theirs) or set(taps) - set(theirs) or len(places) > 3
    if odd or max(map(len, (batch, channels, groups, maps))) > 1:
        return None
    if groups and (channels or maps):
        return None
    return Layout(batch, channels or groups, maps or groups, places, taps, bool(groups))


def written(
    w: OnnxWriter, node: Node, looking: tuple[Windowed, Labels], kernel: tuple[Node, Labels],
    layout: Layout, bias: str,
) -> OnnxValue:  # fmt: skip
    (seen, mine), (k, theirs) = looking, kernel
    further(seen, pads=True)
    name, before, after = cut_to(w, seen)
    axis_of = {mine[each.stays]: each.axis for each in seen.looked}
    axis_of |= {mine[i]: axis for i, axis in enumerate(seen.plain) if axis is not None}
    name = turned(w, name, [axis_of[x] for x in layout.input])
    name = with_ones(w, name, [not layout.batch, not layout.channels])
    weights = w.turned(k, [theirs.index(x) for x in layout.kernel])
    thin = (not layout.maps, layout.grouped or not layout.channels)
    gaps = [i for i, missing in enumerate(thin) if missing]
    taps = w.once("Unsqueeze", weights, w.ints(*gaps)) if gaps else weights.name
    strides, dilations = flat(seen.looked, "stride"), flat(seen.looked, "dilation")
    attrs: dict[str, object] = {"kernel_shape": flat(seen.looked, "kernel"), "strides": strides}
    if max(dilations) > 1:
        attrs["dilations"] = dilations
    if any(before) or any(after):
        attrs["pads"] = [*before, *after]
    if layout.grouped:
        attrs["group"] = k.type.shape[theirs.index(layout.maps[0])].value or 1
    found = w.call("Conv", name, taps, *([bias] if bias else []), **attrs)
    gone = [i for i, part in enumerate((layout.batch, layout.maps)) if not part]
    if gone:
        found = w.call("Squeeze", found, w.ints(*gone))
    return w.whole(turned(w, found, [layout.result.index(x) for x in node["out"]]), node)


def turned(w: OnnxWriter, name: str, perm: list[int]) -> str:
    return name if perm == sorted(perm) else w.call("Transpose", name, perm=perm)


def with_ones(w: OnnxWriter, name: str, missing: list[bool]) -> str:
    gaps = [i for i, no in enumerate(missing) if no]
    return w.call("Unsqueeze", name, w.ints(*gaps)) if gaps else name
