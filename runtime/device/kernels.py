"""The kernels: what generated programs call that NumPy lacks, one function each.

A function of this file that stands in `FUNCTIONS` is all that a new one takes: an operation names
it (`kernel("erf", ...)` in its record), and every device runs it, on the host where it has no
function of its own. It fills the whole of its argument `out` and only reads the others. Those in
`READY` are called once, when a program is bound, and give what each run calls.

Each function is copied as text into a program that stands alone, so each is self-contained, leans
on NumPy alone (as `np`) and works on arrays of the host. Draws are pure functions of (seed, site,
update, element): Philox4x64-10 with key (seed, 0) and counter (block, update, site, 0); NumPy
counts the block up before it is used, so the first one is number 1. A draw of k numbers is the
head of any longer draw, so a short last batch sees what it would have seen in a full one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray


def uniform(out: NDArray[Any], seed: int, site: int, update: int) -> None:
    """Fill `out` (any shape, C-contiguous, float32 or float64) with numbers in [0, 1), in place.

    float32: element i is 24 bits of 32-bit word i (the low half of each 64-bit word first) times
    2^-24. float64: 53 bits of 64-bit word i times 2^-53.
    """
    key = np.array([seed % 2**64, 0], np.uint64)
    counter = np.array([0, update, site, 0], np.uint64)
    bits = np.random.Philox(key=key, counter=counter)
    np.random.Generator(bits).random(out=out, dtype=out.dtype)


def normal(out: NDArray[Any], seed: int, site: int, update: int) -> None:
    """Fill `out`, as `uniform` does, with standard normal numbers, in place.

    Box and Muller (1958): elements 2k and 2k+1 are r cos(a) and r sin(a), from uniform numbers 2k
    and 2k+1, with r = sqrt(-2 log(1 - u[2k])) and a = 2 pi u[2k+1]. Works through blocks of 8192
    elements, so it allocates at most 16,384 numbers whatever the size of `out`.
    """
    key = np.array([seed % 2**64, 0], np.uint64)
    counter = np.array([0, update, site, 0], np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key, counter=counter))
    flat, block = out.reshape(-1), 8192
    most = min(block, flat.size + flat.size % 2)
    drawn, radius, angle = (np.empty(n, out.dtype) for n in (most, most // 2, most // 2))
    for start in range(0, flat.size, block):
        part = flat[start : start + block]
        half = (part.size + 1) // 2
        u, r, a = drawn[: 2 * half], radius[:half], angle[:half]
        generator.random(out=u, dtype=out.dtype)
        np.negative(u[0::2], out=r)
        np.log1p(r, out=r)
        np.multiply(r, -2, out=r)
        np.sqrt(r, out=r)
        np.multiply(u[1::2], 2 * np.pi, out=a)
        np.cos(a, out=u[:half])
        np.multiply(u[:half], r, out=part[0::2])
        np.sin(a, out=a)
        np.multiply(a[: part.size // 2], r[: part.size // 2], out=part[1::2])


def uniform_rows(
    out: NDArray[Any], seed: int, site: int, update: int, first: float, rows: float, axis: int
) -> None:
    """Fill `out` with what `uniform` gives an array that has `rows` along an axis: its rows from
    `first` on, as many as `out` has there, bit for bit."""
    key = np.array([seed % 2**64, 0], np.uint64)
    width, words = int(np.prod(out.shape[axis + 1 :])), 32 // out.itemsize
    for i, part in enumerate(out.reshape(-1, out.shape[axis] * width)):
        block, skipped = divmod((i * int(rows) + int(first)) * width, words)
        bits = np.random.Philox(key=key, counter=np.array([block, update, site, 0], np.uint64))
        generator = np.random.Generator(bits)
        generator.random(skipped, out.dtype)
        generator.random(out=part, dtype=out.dtype)


def normal_rows(
    out: NDArray[Any], seed: int, site: int, update: int, first: float, rows: float, axis: int
) -> None:
    """Fill `out` with what `normal` gives an array that has `rows` along an axis: its rows from
    `first` on, as many as `out` has there, bit for bit. Of a pair that begins before, the second
    element."""
    key = np.array([seed % 2**64, 0], np.uint64)
    width, words = int(np.prod(out.shape[axis + 1 :])), 32 // out.itemsize
    length, block = out.shape[axis] * width, 8192
    most = min(block, length + 2)
    drawn, radius, angle = (np.empty(n, out.dtype) for n in (most + most % 2, most, most))
    for i, whole in enumerate(out.reshape(-1, length)):
        start = (i * int(rows) + int(first)) * width
        number, skipped = divmod(start - start % 2, words)
        bits = np.random.Philox(key=key, counter=np.array([number, update, site, 0], np.uint64))
        generator = np.random.Generator(bits)
        generator.random(skipped, out.dtype)
        at = -(start % 2)
        while at < length:
            size = min(block if at >= 0 else 2, length - at)
            half = (size + 1) // 2
            u, r, a = drawn[: 2 * half], radius[:half], angle[:half]
            generator.random(out=u, dtype=out.dtype)
            np.negative(u[0::2], out=r)
            np.log1p(r, out=r)
            np.multiply(r, -2, out=r)
            np.sqrt(r, out=r)
            np.multiply(u[1::2], 2 * np.pi, out=a)
            np.cos(a, out=u[:half])
            part = whole[max(at, 0) : at + size]
            if at >= 0:
                np.multiply(u[:half], r, out=part[0::2])
            np.sin(a, out=a)
            seconds = part[1::2] if at >= 0 else part
            np.multiply(a[: len(seconds)], r[: len(seconds)], out=seconds)
            at += size


def warp(
    image: NDArray[Any],
    u: NDArray[Any],
    out: NDArray[Any],
    shift: float,
    scale: float,
    squeeze: float,
    shear: float,
    background: float,
) -> None:
    """Images (the last two axes) shifted, scaled, squeezed and sheared, written to `out`.

    `u` holds five numbers in [0, 1) for each image, its leading axes those of `image`; the rest of
    the axes are maps of one image, moved alike. With a = 2u - 1, the pixel (i, j), counted from
    the centre, takes the bilinear value at y = (i - shift a1) / (size ratio) and
    x = (j - shift a0) ratio / size + shear a4 y, with size = 1 + scale a2 and
    ratio = 1 + squeeze a3. As y depends on i alone, rows are mixed first, then columns. A border
    of background is laid around, and every point beyond it is brought to it.
    """
    h, w = image.shape[-2:]
    n = u.size // 5
    maps = image.size // max(n * h * w, 1)
    a = (2 * u.reshape(n, 5) - 1).T[:, :, None]
    size, ratio = 1 + scale * a[2], 1 + squeeze * a[3]
    y = (np.arange(h) - (h - 1) / 2 - shift * a[1]) / (size * ratio)
    x = (np.arange(w) - (w - 1) / 2 - shift * a[0]) / (size / ratio)
    x = x[:, None, :] + (shear * a[4] * y + (w + 1) / 2)[:, :, None]
    y += (h + 1) / 2  # from here on both count from the corner of the border
    np.minimum(np.maximum(y, 0, out=y), h + 1, out=y)
    np.minimum(np.maximum(x, 0, out=x), w + 1, out=x)
    top = np.minimum(y.astype(np.int64), h)
    left = np.minimum(x.astype(np.int64), w)
    y -= top
    x -= left

    bordered = np.full((n * maps, h + 2, w + 2), background, out.dtype)
    bordered[:, 1:-1, 1:-1] = image.reshape(n * maps, h, w)
    first = np.arange(n * maps).reshape(n, maps, 1) * (h + 2)
    at = first + top[:, None, :]
    upper, lower = (bordered.reshape(-1, w + 2).take(k, axis=0) for k in (at, at + 1))
    lower -= upper
    lower *= y[:, None, :, None]
    lower += upper  # [n, maps, h, w + 2]
    lines = np.arange(n * maps * h).reshape(n, maps, h, 1) * (w + 2)
    at = lines + left[:, None]
    before, after = (lower.reshape(-1).take(k) for k in (at, at + 1))
    after -= before
    after *= x[:, None]
    np.add(before, after, out=out.reshape(before.shape))


def lowest(values: NDArray[Any], out: NDArray[Any]) -> None:
    """The places of the lowest numbers along the last axis, as many as `out` has room for, the
    lowest first; of equal numbers the smaller place. The numbers are finite.

    A few are taken one by one, each time the lowest of what is left; for many the row is
    partitioned, and only what is not above the last of them is sorted. A row fits into the cache.
    """
    n, k = values.shape[-1], out.shape[-1]
    for row, places in zip(values.reshape(-1, n), out.reshape(-1, k), strict=True):
        if k <= 16:
            left = row.copy()
            for i in range(k):
                places[i] = at = left.argmin()
                left[at] = np.inf
        else:
            most = np.partition(row, k - 1)[k - 1]
            within = np.flatnonzero(row <= most)
            places[:] = within[np.argsort(row[within], kind="stable")[:k]]


def sum_by_class(rows: NDArray[Any], classes: NDArray[Any], out: NDArray[Any]) -> None:
    """Add up rows [..., *] by their classes [...] into `out` [class, *], class by class, each in
    the order of its rows.

    Rows of a class are gathered so many at a time that they take no more memory than `out`.
    """
    table = out.reshape(len(out), -1)
    flat, at = rows.reshape(-1, table.shape[1]), classes.reshape(-1)
    order, most = np.argsort(at, kind="stable"), max(16, len(table))
    held, stop = np.empty((min(most, len(flat)), table.shape[1]), out.dtype), 0
    for total, count in zip(table, np.bincount(at, minlength=len(table)).tolist(), strict=True):
        start, stop = stop, stop + count
        if not count:
            total.fill(0)
        for i in range(start, stop, most):
            part = order[i : min(i + most, stop)]
            block = held[: len(part)]
            np.take(flat, part, axis=0, out=block, mode="clip")
            if i == start:
                np.add.reduce(block, axis=0, out=total)
            else:
                np.add(total, np.add.reduce(block, axis=0), out=total)


def erf(x: NDArray[Any], out: NDArray[Any]) -> None:
    """The error function, element by element, into `out` (of the shape of x, C-contiguous, float32
    or float64; it may be `x` itself), within 2 units in the last place.

    Two quotients of polynomials. Up to 0.84375 erf(x) / x - 1, over x^2 (Sun Microsystems 1993,
    s_erf.c); beyond it exp(x^2) (1 - erf(x)) (Cody 1969, "Rational Chebyshev approximations for the
    error function"), which from 6 on is lost in the last place of 1. Works through blocks, so it
    allocates no more than 40,960 numbers.
    """
    near = (
        (-2.37630166566501626e-5, -5.77027029648944159e-3, -2.84817495755985105e-2)
        + (-0.325042107247001499, 0.128379167095512559),
        (-3.96022827877536812e-6, 1.32494738004321645e-4, 5.08130628187576563e-3)
        + (6.50222499887672944e-2, 0.397917223959155353, 1),
    )
    far = (
        (2.15311535474403846e-8, 0.564188496988670089, 8.88314979438837594, 66.1191906371416295)
        + (298.635138197400131, 881.952221241769090, 1712.04761263407058)
        + (2051.07837782607147, 1230.33935479799725),
        (1, 15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019)
        + (3290.79923573345963, 4362.61909014324716, 3439.36767414372164, 1230.33935480374942),
    )

    def quotient(forms: Any, at: NDArray[Any], top: NDArray[Any], bottom: NDArray[Any]) -> None:
        """The first polynomial over the second, by Horner's rule, into `top`."""
        for (first, *more), made in zip(forms, (top, bottom), strict=True):
            np.multiply(at, first, out=made)
            for c in more[:-1]:
                np.add(made, c, out=made)
                np.multiply(made, at, out=made)
            np.add(made, more[-1], out=made)
        np.divide(top, bottom, out=top)

    np.copyto(out, x)
    flat, block = out.reshape(-1), 8192
    held = np.empty((5, min(block, flat.size)), out.dtype)
    for start in range(0, flat.size, block):
        part = flat[start : start + block]
        y, square, inside, outside, bottom = held[:, : part.size]
        np.minimum(np.abs(part, out=y), 6, out=y)
        np.multiply(y, y, out=square)
        quotient(near, square, inside, bottom)
        np.multiply(inside, y, out=inside)
        np.add(inside, y, out=inside)
        quotient(far, y, outside, bottom)
        np.exp(np.negative(square, out=square), out=square)
        np.multiply(outside, square, out=outside)
        np.subtract(1, outside, out=outside)
        np.copyto(outside, inside, where=y < 0.84375)
        np.copysign(outside, part, out=part)


def gemm(
    a: NDArray[Any], b: NDArray[Any], scale: NDArray[Any], out: NDArray[Any]
) -> Callable[[], None]:
    """A call that adds the matrix product [m, k] by [k, n], times a number [], to `out` [m, n].

    Arrays are taken as they are when it is made, in place, of one precision; `out` overlaps with
    none of the others. It works in an array of its own of the shape of `out`.
    """
    product = np.empty(out.shape, out.dtype)

    def run() -> None:
        np.matmul(a, b, out=product)
        np.multiply(product, scale, out=product)
        np.add(out, product, out=out)

    return run


def add_rows(a: NDArray[Any], scale: NDArray[Any], out: NDArray[Any]) -> Callable[[], None]:
    """A call that adds the sum of the rows of a matrix [m, n], times a number [], to `out` [n].

    Arrays are taken as they are when it is made, as `gemm` does.
    """
    total = np.empty(out.shape, out.dtype)

    def run() -> None:
        np.add.reduce(a, axis=0, out=total)
        np.multiply(total, scale, out=total)
        np.add(out, total, out=out)

    return run


def add_scaled(
    a: NDArray[Any], keep: NDArray[Any], scale: NDArray[Any], out: NDArray[Any]
) -> Callable[[], None]:
    """A call that makes `out` [...] itself times `keep` [], and adds `a` [...] times `scale` [].

    Arrays are taken as they are when it is made, as `gemm` does.
    """
    term = np.empty(out.shape, out.dtype)

    def run() -> None:
        np.multiply(a, scale, out=term)
        np.multiply(out, keep, out=out)
        np.add(out, term, out=out)

    return run


def turned(values: NDArray[Any], counts: NDArray[Any], out: NDArray[Any]) -> None:
    """Fill `out` with `values` [time, examples, ...], the first `counts` steps [examples] of each
    example from the last to the first; what stands past them stays."""
    for example, count in enumerate(counts):
        np.copyto(out[:count, example], values[:count, example][::-1])
        np.copyto(out[count:, example], values[count:, example])


Kernel: TypeAlias = Callable[..., Callable[[], None] | None]
"""What programs call by name; one that is made ready gives what they then call."""

DRAWS: tuple[Callable[..., None], ...] = (uniform, normal, uniform_rows, normal_rows)
"""They give the same bits on every device, so they are always these."""
FUNCTIONS: tuple[Callable[..., None], ...] = (warp, lowest, sum_by_class, erf, turned)
"""A device may have its own of the same name."""
READY: tuple[Callable[..., Callable[[], None]], ...] = (gemm, add_rows, add_scaled)
"""A target spells them where its device has them; one without writes statements."""
KERNELS: Mapping[str, Kernel] = {k.__name__: k for k in (*DRAWS, *FUNCTIONS, *READY)}
