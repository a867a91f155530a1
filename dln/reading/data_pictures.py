"""Which examples of a data set can be seen: small images, in rows by class where there are such."""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import FieldSpec
from dln.reading.data_facts import DRAWN
from dln.runtime.session import Session

EACH = 10  # examples of a class
MOST = 100  # where there are no classes
ROWS = 20  # classes that are drawn
SIDE, ROOT = 3, 5  # numbers on a side: with fewer it is no image; numbers in a row may be a square


def images(session: Session, name: str) -> tuple[NDArray[Any], list[str]] | None:
    """Examples of a data set as images [n, h, w]; or the first n of each class, [n, classes, h, w],
    with the names of the classes. None where no field looks like an image."""
    spec = session.plan.data[name]
    seen, shape = next(((f, s) for f in spec.fields if (s := sides(f))), (None, (0, 0)))
    if seen is None:
        return None
    label = next((f for f in spec.fields if f.domain == "class" and not f.shape), None)
    count = min(label.classes or 0, ROWS) if label else 0
    rows: list[list[NDArray[Any]]] = [[] for _ in range(count)] or [[]]
    most = EACH if count else MOST
    for turn, values in enumerate(session.datasets.fields.unchecked(spec), 1):
        classes = np.rint(values[label.name]) if label else np.zeros(len(values[seen.name]))
        for k, row in enumerate(rows):
            row += list(values[seen.name][classes == k][: most - len(row)])
        drawn = spec.drawn and turn * len(values[seen.name]) >= DRAWN
        if drawn or all(len(row) == most for row in rows):
            break
    known = spec.names.get(label.name, ()) if label else ()
    names = list(known) or [str(k) for k in range(count)]
    found = np.full((max(map(len, rows)), len(rows), *shape), np.nan)  # a short row ends blank
    for k, row in enumerate(rows):
        for i, image in enumerate(row):
            found[i, k] = image.mean(0) if image.ndim == 3 else image.reshape(shape)
    return found if len(rows) > 1 else found[:, 0], names[:count]


def sides(f: FieldSpec) -> tuple[int, int] | None:
    """Height and width of a field's examples: [h, w], a plane [1, h, w], three colours [3, h, w],
    or the numbers of a square; None for what is no image.

    >>> from dln.compiler.plan import FieldSpec
    >>> [sides(FieldSpec("x", shape, "real")) for shape in ((784,), (3, 5, 4), (9,), (2, 2))]
    [(28, 28), (5, 4), None, None]
    """
    shape = f.shape[1:] if len(f.shape) == 3 and f.shape[0] in (1, 3) else f.shape
    if f.kind != "real" or f.timed or not shape:
        return None
    root = isqrt(shape[0])
    if len(shape) == 1 and root >= ROOT and root * root == shape[0]:
        return root, root
    return (shape[0], shape[1]) if len(shape) == 2 and min(shape) >= SIDE else None
