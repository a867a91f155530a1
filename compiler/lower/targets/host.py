"""The NumPy target.

0-d arrays are preferred to Python numbers: a pointwise call on a small array then takes 0.4
instead of 0.8 microseconds. `dot` is preferred to `matmul` where both compute the same: it is
0.5 microseconds quicker to call, and for a sum over one example (100 x 784, the gradient of a
weight) it takes 14 microseconds where `matmul` takes 140. `take` does not check again what was
checked when the data was read: then it needs no copy of the result. Lines of pointwise calls are
not run in blocks: measured on updates of a million weights, blocks small enough for the cache lose
in calls what they save in traffic.
"""

from __future__ import annotations

from dln.compiler.lower.targets.target import ARRAYS, Target

NUMPY = Target(
    name="numpy",
    boxes=True,
    examples_last=True,
    chooses_forms=True,
    functions={
        **ARRAYS,
        "sum": "{xp[add.reduce]}({args}, out={out})",
        "max": "{xp[maximum.reduce]}({args}, out={out})",
        "min": "{xp[minimum.reduce]}({args}, out={out})",
        "take": '{xp[take]}({args}, out={out}, mode="clip")',
    },
)
