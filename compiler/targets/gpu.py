"""The CuPy target, the plain one: the same program on device arrays, call by call.

A number known on the host is passed as an argument of the kernel, which costs nothing; a 0-d
array would have to be brought to the device. Regions stay unfused until kernels are generated.
"""

from __future__ import annotations

from dln.compiler.targets.target import Target, draw

CUPY = Target(
    name="cupy",
    module="cupy",
    keys=("cupy", "array"),
    boxes=False,
    fuses=False,
    registers=2,
    spell={"draw": draw},
)
