"""The memory of one-step forms: what the scans of an instance leave for its next step."""

from __future__ import annotations

from collections.abc import Callable

from dln.compiler.frontend.context.build_context import Build
from dln.compiler.frontend.context.frame import Key
from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.loop import slot
from dln.compiler.ir.tensor_type import TensorType


def recall(b: Build, key: Key, type: TensorType, begun: Callable[[], Node]) -> Node:
    """What was remembered under a key. In a loop around it this is one more thing carried."""
    loop, asked = b.time.loop, b.frame.asked
    held = b.frame.memory.get(key)
    if held is None and asked is not None:
        if key not in asked or asked[key][1].type != type:
            name = f"{key[0]}.{key[1]}-{key[2]}"
            asked[key] = (begun(), b.make("input", name=name, type=type))
        return asked[key][1]
    if loop is None:
        return begun() if held is None else held
    known = loop.memory.get(key)
    if known is None or known[0].type.shape != type.shape:
        made = b.mark(slot(b.graph, type, next(b.counter), "carried"), loop.span, key[1])
        loop.memory[key] = (made, begun() if held is None else held)
        loop.now[key] = made
    return loop.now[key]


def remember(b: Build, key: Key, value: Node) -> None:
    """Keep a value for the next step."""
    loop = b.time.loop
    if loop is None:
        b.frame.memory[key] = value
    else:
        loop.now[key] = value
