"""Windows over an image: how they lie, the borders that they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dln.grammar import syntax as s
from dln.importing.model import Unsaid
from dln.importing.operators.borders import bordered
from dln.importing.operators.parts import sliced
from dln.importing.operators.pointwise import plus
from dln.importing.operators.records import OnnxCall, scaled_leaf
from dln.importing.operators.shapes import counts
from dln.importing.syntax_of import (
    binary,
    number,
)
from dln.importing.values import BATCH, TIME, Value


@dataclass
class Windows:
    """How windows lie over an image, by axis: sizes, steps, gaps, borders, how many there are."""

    size: list[int]
    stride: list[int]
    gap: list[int]
    pads: list[tuple[int, int]]
    out: list[int]
    hang: list[int]  # how far the last window hangs over the end

    @property
    def wide(self) -> list[int]:
        """What a window covers, gaps included."""
        return [g * (n - 1) + 1 for n, g in zip(self.size, self.gap, strict=True)]

    @property
    def even(self) -> bool:
        """Whether all axes are treated alike, as the layers of the library do."""
        return all(len({*a}) == 1 for a in (self.size, self.stride, self.gap))

    @property
    def border(self) -> int | None:
        """The border where it is the same all around."""
        found = {*self.pads}
        one = next(iter(found))
        return one[0] if len(found) == 1 and one[0] == one[1] else None


def image(c: OnnxCall) -> tuple[Value, list[int]]:
    """The input as something written, [channels, ...], and how long its other axes are."""
    x = c.value(0)
    if x.rank < 3 or x.axes[0] != (BATCH,):
        raise Unsaid("it takes an image whose first axis is that of the examples")
    shapes = [x.shape[a] for axis in x.axes[1:] for a in axis]
    if TIME in shapes:
        raise Unsaid("it takes windows along an axis whose length is left open",
                     "export it with that axis fixed")  # fmt: skip
    x = c.body.canonical(x)
    if any(not axis for axis in x.axes[1:]):
        held, sizes = scaled_leaf(x), tuple(counts(c, x)[1:])
        x = Value(
            c.body.reshaped(held.expr, held.shape, sizes),
            ((BATCH,), *((a,) for a in range(x.rank - 1))),
        )
    return x, counts(c, x)[2:]


def windows(c: OnnxCall, long: Sequence[int], size: Sequence[int], ceil: bool = False) -> Windows:
    """The windows that the attributes of a node speak of. Raises `Unsaid`."""
    n = len(long)
    stride, gap = (c[k] or [1] * n for k in ("strides", "dilations"))
    pads, auto = c["pads"] or [0] * 2 * n, c["auto_pad"]
    if (
        not len(size) == len(stride) == len(gap) == n
        or len(pads) != 2 * n
        or len(c["kernel_shape"] or size) != n
    ):
        raise Unsaid("its attributes do not go with the axes of its input")
    if min(*size, *stride, *gap) < 1 or min(pads) < 0 or max(*size, *stride, *gap, *pads) > 1 << 20:
        raise Unsaid("its attributes hold numbers that it cannot have")
    found = Windows([*size], [*stride], [*gap], [*zip(pads[:n], pads[n:], strict=True)], [], [])
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        found.pads = [
            same(h, w, t, auto == "SAME_UPPER")
            for h, w, t in zip(long, found.wide, stride, strict=True)
        ]
    elif auto == "VALID":
        found.pads = [(0, 0)] * n
    elif auto != "NOTSET":
        raise Unsaid(f"its auto_pad is {auto}")
    for h, w, t, (before, behind) in zip(long, found.wide, stride, found.pads, strict=True):
        room = h + before + behind - w
        if room < 0:
            raise Unsaid("its windows are larger than its input")
        many = (-(-room // t) if ceil else room // t) + 1
        if ceil and (many - 1) * t >= h + before:  # a window of nothing but border
            many -= 1
        found.out.append(many)
        found.hang.append((many - 1) * t - room)
    return found


def same(long: int, wide: int, step: int, upper: bool) -> tuple[int, int]:
    total = max((-(-long // step) - 1) * step + wide - long, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)


def framed(c: OnnxCall, x: Value, w: Windows, fill: float = 0.0) -> Value:
    """The input with its border, cut to what the windows cover."""
    wide = {2 + a: (b, e + max(w.hang[a], 0)) for a, (b, e) in enumerate(w.pads)}
    x = bordered(c, x, {a: b for a, b in wide.items() if b != (0, 0)}, fill)
    for a, hang in enumerate(w.hang):
        if hang < 0:
            x = sliced(c, x, 2 + a, 0, counts(c, x)[2 + a] + hang)
    return x


def place(i: s.Expr, stride: int, u: s.Expr, gap: int) -> s.Expr:
    """`stride * i + gap * u`."""
    one = binary("*", number(stride), i) if stride > 1 else i
    two = binary("*", number(gap), u) if gap > 1 else u
    return plus(one, two)


def bare(w: Windows) -> Windows:
    """The same windows over an input that has its border already."""
    none = [0] * len(w.size)
    return Windows(w.size, w.stride, w.gap, [(0, 0)] * len(w.size), w.out, none)


AREA = {
    "auto_pad": "NOTSET", "dilations": list, "kernel_shape": list, "pads": list, "strides": list,
}  # fmt: skip
