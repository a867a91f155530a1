"""The CuPy target, the plain one: the same program on device arrays, call by call.

A number known on the host is passed as an argument of the kernel, which costs nothing; a 0-d
array would have to be brought to the device. CuPy's `einsum` takes no `out`: the few products that
no matrix product covers go through a temporary array.
"""

from __future__ import annotations

from dln.compiler.lower.targets.target import ARRAYS, Target

CUPY = Target(
    name="cupy",
    boxes=False,
    functions={
        **ARRAYS,
        "dot": "{xp[matmul]}({args}, out={out})",
        "einsum": "{xp[copyto]}({out}, {xp[einsum]}({args}))",
    },
)
