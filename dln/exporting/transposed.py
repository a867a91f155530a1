"""Sums that undo windows, of a product with a kernel: ConvTranspose, with what is cut off."""

from __future__ import annotations

from typing import TypeAlias

from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.window import places_of
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.structure import is_contraction, is_slice, is_unwindow
from dln.exporting.writing import OnnxValue, OnnxWriter

Term: TypeAlias = tuple[int, int, int]  # a label, its coefficient, how many there are
Spread: TypeAlias = tuple[Term, Term]  # an axis on which windows were added up: two labels


def conv_transpose(w: OnnxWriter, node: Node, bias: str = "") -> OnnxValue | None:
    """None where a sum is of something else, and in double precision, in which onnxruntime has no
    such operator."""
    cuts, below = dict[int, tuple[int, int]](), node
    while is_slice(below) and below["axis"] not in cuts and w.only(below.operands[0]):
        cuts[below["axis"]] = below["start"], below["stop"]
        below = below.operands[0]
    if w.made.dtype != "float32" or not is_unwindow(below):
        return None
    product, axes = undone(below)
    if axes is None or not set(cuts) <= set(range(2, len(axes))):
        return None
    (a, b), left, right = product.operands, product["left"], product["right"]
    for x, mine, k, theirs in ((a, left, b, right), (b, right, a, left)):
        found = layout(axes, mine, theirs)
        if found is None:
            continue
        inputs, kernel, spread = found
        taken = w.turned(x, [mine.index(label) for label in inputs])
        weights = w.turned(k, [theirs.index(label) for label in kernel])
        names = [taken.name, weights.name, *([bias] if bias else [])]
        return w.whole(w.call("ConvTranspose", *names, **attributes(spread, cuts)), node)
    return None


def undone(node: Node) -> tuple[Node, list[int | Spread] | None]:
    """The product below sums that undo windows, and its labels, the two of an axis on which windows
    were added up together; None where it is another thing."""
    chain = list[Node]()
    while is_unwindow(node):
        chain.insert(0, node)
        node = node.operands[0]
    if not is_contraction(node):
        return node, None
    axes: list[int | Spread] = list(node["out"])
    for sums in chain:
        places = places_of(sums.attrs)
        terms = [(label, c, Size.of(n).value or 0)
                 for label, (c, n) in zip((axes[i] for i in places), sums["terms"], strict=True)
                 if isinstance(label, int)]  # fmt: skip
        reach = 1 + sum(c * (n - 1) for _, c, n in terms)
        if len(places) != 2 or len(terms) != 2 or sums["offset"]:
            return node, None
        if reach != Size.of(sums["size"]).value:
            return node, None
        axes = [axis for i, axis in enumerate(axes) if i not in places]
        axes.insert(sums["axis"], (terms[0], terms[1]))
    return node, axes


def layout(
    axes: list[int | Spread], mine: tuple[int, ...], theirs: tuple[int, ...]
) -> tuple[list[int], list[int], list[Spread]] | None:
    """The labels of the input and of the kernel in the order of ONNX, and of each axis the places
    of windows and those in them; None where labels are something else."""
    spread = [pair if pair[0][0] in mine else (pair[1], pair[0])
              for pair in axes if isinstance(pair, tuple)]  # fmt: skip
    places, taps = [p[0] for p, _ in spread], [t[0] for _, t in spread]
    plain = [axis for axis in axes if isinstance(axis, int)]
    channels = [label for label in mine if label in theirs]
    if len(plain) != 2 or len(channels) != 1 or not 0 < len(spread) <= 3:
        return None
    if list(axes[:2]) != plain or channels[0] in plain:
        return None
    inputs, kernel = [plain[0], *channels, *places], [*channels, plain[1], *taps]
    if set(inputs) != set(mine) or set(kernel) != set(theirs):
        return None
    return inputs, kernel, spread


def attributes(spread: list[Spread], cuts: dict[int, tuple[int, int]]) -> dict[str, object]:
    """Of ConvTranspose: what is cut off is its padding."""
    found: dict[str, object] = {
        "kernel_shape": [n for _, (_, _, n) in spread],
        "strides": [c for (_, c, _), _ in spread],
    }
    dilations = [c for _, (_, c, _) in spread]
    if max(dilations) > 1:
        found["dilations"] = dilations
    sizes = [1 + sum(c * (n - 1) for _, c, n in pair) for pair in spread]
    ends = [cuts.get(2 + i, (0, size)) for i, size in enumerate(sizes)]
    before = [start for start, _ in ends]
    after = [size - stop for size, (_, stop) in zip(sizes, ends, strict=True)]
    if any(before) or any(after):
        found["pads"] = [*before, *after]
    return found
