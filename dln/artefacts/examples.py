"""`emit examples(...)`: the first examples of a data set that a condition holds for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.artefacts.value import Array
from dln.compiler.plan import EmitSpec
from dln.runtime.session import Session


def made(session: Session, emit: EmitSpec, values: Mapping[str, NDArray[Any]]) -> Array:
    """`emit.count` values [n, *shape], no more examples worked out than it takes."""
    found: list[NDArray[Any]] = []
    left = emit.count
    for (rows,) in session.datasets.picked(emit):
        found.append(rows[:left])
        left -= len(found[-1])
        if left <= 0:
            break
    part = emit.parts[0]
    return Array(np.concatenate(found), part.label, part.axis, part.rows)
