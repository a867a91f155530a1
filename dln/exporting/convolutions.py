"""Products with windows as Conv."""

from __future__ import annotations

from math import prod

from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.contract import Labels
from dln.exporting.looking import Windowed, cut_to, flat, further, look
from dln.exporting.writing import OnnxValue, OnnxWriter
from dln.grammar.record import Record


class Layout(Record):
    """The labels of a convolution by their part in it, each of which may be missing. What is in a
    `group` meets the kernels of that group alone."""

    batch: Labels
    group: Labels
    channels: Labels
    maps: Labels
    places: Labels
    taps: Labels

    @property
    def input(self) -> Labels:
        return (*self.batch, *self.group, *self.channels, *self.places)

    @property
    def kernel(self) -> Labels:
        return (*self.group, *self.maps, *self.channels, *self.taps)

    @property
    def result(self) -> Labels:
        return (*self.batch, *self.group, *self.maps, *self.places)


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
        one = len(layout.batch) == len((*layout.group, *layout.maps)) == 1
        if bias and not (one and layout.result == node["out"]):
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
    return Layout(batch, groups, channels, maps, places, taps)


def written(
    w: OnnxWriter, node: Node, looking: tuple[Windowed, Labels], kernel: tuple[Node, Labels],
    layout: Layout, bias: str,
) -> OnnxValue:  # fmt: skip
    """The call, between what brings its operands and its result into the order of ONNX: examples,
    channels by groups, places."""
    (seen, mine), (k, theirs) = looking, kernel
    further(seen, pads=True)
    name, before, after, inner = cut_to(w, seen)
    axis_of = {mine[each.stays]: each.axis for each in seen.looked}
    axis_of |= {mine[i]: axis for i, axis in enumerate(seen.plain) if axis is not None}
    name = turned(w, name, [axis_of[x] for x in layout.input])
    sizes = dict(zip(theirs, (s.value or 0 for s in k.type.shape), strict=True))
    groups, inputs, maps = (
        prod(sizes[x] for x in part) for part in (layout.group, layout.channels, layout.maps)
    )
    many, taps = -1 if layout.batch else 1, flat(seen.looked, "kernel")
    if len(layout.batch) != 1 or len((*layout.group, *layout.channels)) != 1:
        name = w.call("Reshape", name, w.ints(many, groups * inputs, *inner))
    weights = w.turned(k, [theirs.index(x) for x in layout.kernel])
    shaped = weights.name
    if len((*layout.group, *layout.maps)) != 1 or not layout.channels:
        shaped = w.once("Reshape", weights, w.ints(groups * maps, inputs, *taps))
    found = w.call("Conv", name, shaped, *([bias] if bias else []),
                   **attributes(seen, groups, before, after))  # fmt: skip
    if len(layout.batch) != 1 or len((*layout.group, *layout.maps)) != 1:
        parts = [sizes[x] for x in (*layout.group, *layout.maps)]
        lead = [many] if layout.batch else []
        found = w.call("Reshape", found, w.ints(*lead, *parts, *flat(seen.looked, "count")))
    return w.whole(turned(w, found, [layout.result.index(x) for x in node["out"]]), node)


def attributes(
    seen: Windowed, groups: int, before: list[int], after: list[int]
) -> dict[str, object]:
    """Of Conv, those that are not as they are by themselves."""
    found: dict[str, object] = {"kernel_shape": flat(seen.looked, "kernel")}
    found["strides"] = flat(seen.looked, "stride")
    if max(dilations := flat(seen.looked, "dilation")) > 1:
        found["dilations"] = dilations
    if any(before) or any(after):
        found["pads"] = [*before, *after]
    if groups > 1:
        found["group"] = groups
    return found


def turned(w: OnnxWriter, name: str, perm: list[int]) -> str:
    return name if perm == sorted(perm) else w.call("Transpose", name, perm=perm)
