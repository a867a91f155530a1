"""Images warped by draws.

A warp moves an image (its last two axes) as LeCun, Bottou, Bengio and Haffner (1998, section III)
distort digits: shifted, scaled, squeezed (one side shrinks as the other grows) and sheared
sideways. Five uniform numbers for each image say how far. With a = 2u - 1 in [-1, 1), the pixel
(i, j), counted from the centre, takes the value of the image at

    y = (i - shift * a[1]) / (size * ratio),  size = 1 + scale * a[2],  ratio = 1 + squeeze * a[3]
    x = (j - shift * a[0]) / (size / ratio) + shear * a[4] * y

between four pixels (bilinear); outside there is background.
"""

from __future__ import annotations

from typing import Any

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import Array, Attrs, Case, Make, Op, Places, Site, Types, register, volume
from dln.compiler.ir.ops.common import differ, not_negative, real, show
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.spelling import A, Attr, B, kernel, steps
from dln.compiler.ir.tensor_type import PROB, REAL, TensorType, fits
from dln.grammar.diagnostics import Fault

DRAWS = 5  # numbers that a warp is made of


def warp_type(attrs: Attrs, types: Types) -> TensorType:
    """The image's own type, in the domain of what lies between its values and the background; the
    draws have its leading axes and five numbers."""
    image, u = types
    lead = u.shape[:-1]
    if len(image.shape) < len(lead) + 2 or any(map(differ, lead, image.shape)):
        raise Fault(f"warp: draws of {show(u.shape)} do not go with images of {show(image.shape)}")
    if differ(u.shape[-1], Size(DRAWS)):
        raise Fault(f"warp takes {DRAWS} draws for each image, found {u.shape[-1]}")
    if fits(image.domain, PROB) and 0 <= attrs["background"] <= 1:
        return image.like(domain=PROB)
    return image.like(domain=not_negative(image.domain) if attrs["background"] >= 0 else REAL)


def warp(site: Site, image: Array, u: Array) -> Array:
    """Pixel by pixel."""
    h, w = image.shape[-2:]
    draws = u.reshape(-1, DRAWS)
    images = image.reshape(len(draws), -1, h, w)
    out = site.np.empty_like(images)
    for n, numbers in enumerate(draws):
        for i in range(h):
            for j in range(w):
                at = origin(site.attrs, 2 * numbers - 1, i - (h - 1) / 2, j - (w - 1) / 2)
                y, x = at[0] + (h - 1) / 2, at[1] + (w - 1) / 2
                for k, part in enumerate(images[n]):
                    out[n, k, i, j] = between(site, part, y, x)
    return out.reshape(image.shape)


def origin(attrs: Attrs, a: Array, i: float, j: float) -> tuple[float, float]:
    """Where the pixel (i, j), counted from the centre, takes its value: (y, x)."""
    size, ratio = 1 + attrs["scale"] * a[2], 1 + attrs["squeeze"] * a[3]
    y = (i - attrs["shift"] * a[1]) / (size * ratio)
    x = (j - attrs["shift"] * a[0]) / (size / ratio)
    return y, x + attrs["shear"] * a[4] * y


def between(site: Site, image: Array, y: float, x: float) -> Any:
    """The bilinear value of an image at a point; outside of it stands the background."""
    (top, left), total = (int(site.np.floor(v)) for v in (y, x)), 0.0
    for p, q in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        inside = 0 <= p < image.shape[0] and 0 <= q < image.shape[1]
        value = image[p, q] if inside else site.attrs["background"]
        total = total + (1 - abs(y - p)) * (1 - abs(x - q)) * value
    return total


def no_slope(m: Make, node: Node, bar: Node) -> tuple[Node | None, ...]:
    """Images come from data, and no gradient passes a draw: raises `Fault` E378."""
    raise Fault("no gradient passes distort", "stop(...) around what is distorted", "E378")


def leading(node: Node, slot: int) -> Places:
    """Each image for itself."""
    return {i: i for i in range(len(node.operands[1].type.shape) - 1)}


HOW = {"shift": 1.5, "scale": 0.25, "squeeze": 0.25, "shear": 0.3, "background": -0.1}


def warps() -> list[Case]:
    batch, maps = real(3, 4, 5, running=("batch",)), real(2, 3, 5, 4, running=("batch",))
    still = {**HOW, "shift": 0.0, "scale": 0.0, "squeeze": 0.0, "shear": 0.0}
    operands = (
        (batch, real(3, DRAWS, domain=PROB, running=("batch",))),
        (maps, real(2, DRAWS, domain=PROB, running=("batch",))),
        (real(4, 4), real(DRAWS, domain=PROB)),
    )
    return [(types, how) for how in (HOW, still) for types in operands]


# fmt: off
register(
    Op("warp", warp_type, warp, no_slope, steps(kernel("warp", A, B, *map(Attr, HOW))),
       takes=("real", "real"), flops=lambda node: volume(node.type.shape) * 12, facts=("opaque",),
       formula="distort({0})", smooth=False, places=leading, examples=warps),
)
# fmt: on
