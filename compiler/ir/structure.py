"""What the graph's own grammar is made of: one question for each operation that is part of it.

Sources, loops, choices and what only says something of a value are met everywhere, and asked for
here. Of all other operations one asks what is true of them: the facts and rules of their record
(`op_of`). What an operation is called is then said in `ops/`, and by the rules that rewrite it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import op_of

Question: TypeAlias = Callable[[Node], bool]


def _called(*ops: str) -> Question:
    return lambda node: node.op in ops


# ---- sources -----------------------------------------------------------------------------------

is_const = _called("const")  # a number, or a tensor of numbers, that the spec or a pass has said
is_input = _called("input")  # what a caller gives: a field of the minibatch, a symbol
is_full_data = _called("whole")  # a field of all examples of a data set
is_param = _called("param")
is_state = _called("state")  # what is kept from update to update
is_clock = _called("clock")  # a number of the run: epoch, update, a report
is_size = _called("size")  # a size that is known when the program runs, as a number
is_draw = _called("draw")
is_alone = _called("const", "size", "classes")  # a source that says all of itself

# ---- loops -------------------------------------------------------------------------------------

is_scan = _called("scan")
is_item = _called("item")  # the sequence of what a node of a scan's body has been
is_slot = _called("slot")  # a source of a body
is_left = _called("left")  # the array that a lowered loop fills
is_element = _called("at")  # the element of a sequence at the step at hand
in_step = _called("at", "slot")  # what has a value in a step of a loop only

# ---- what other nodes are arranged by ----------------------------------------------------------

is_counting = _called("classes")  # 0, 1, ... of an axis
is_choice = _called("where")  # one of two values by a test, element by element
is_not = _called("not")
is_and = _called("and")
is_or = _called("or")
is_slice = _called("slice")
is_spread = _called("broadcast")
is_reshape = _called("reshape")
is_window = _called("window")
is_unwindow = _called("unwindow")
is_pad = _called("pad")
is_transpose = _called("transpose")
is_sum = _called("sum")  # of what lies along some axes, among them perhaps that of the examples
is_quotient = _called("div")
is_contraction = _called("contract")  # a sum of products, over axes that carry labels
is_product_added = _called("accumulate")
is_accumulation = _called("accumulate", "accumulate_rows", "accumulate_sum")  # added to an array
is_sum_of_multiples = _called("add_scaled")
is_stop = _called("stop")
is_derivative = _called("grad", "curvature")  # of operand 0 by operand 1, not yet written out
is_curvature = _called("curvature")


def is_zero_product(node: Node, deep: int = 4) -> bool:
    """Whether a node is a product, or a quotient, of which a factor is the number 0, or is one."""
    if node.op not in ("mul", "div", "contract"):
        return False
    factors = node.operands[: 1 if node.op == "div" else 2]
    return any(number(f) == 0 or (deep > 0 and is_zero_product(f, deep - 1)) for f in factors)


def axis_origins(node: Node, axis: int, most: int) -> Iterator[tuple[Node, int]]:
    """Nodes that an axis of a node may have its size from, the nearest first, and which axis of
    theirs that is: what it is worked out from element by element, and the factors of products."""
    front, seen = [(node, axis, node)], set[tuple[Node, int]]()
    while front and len(seen) < most:
        node, axis, loop = front.pop(0)
        if (node, axis) in seen:
            continue
        seen.add((node, axis))
        yield node, axis
        if is_item(node):
            front.append((node["value"], axis - 1, node.operands[0]))
        elif is_slot(node) and is_scan(loop):
            rows = node["role"] == "rows"
            front.append((loop["body"].operand(loop, node), axis + rows, node))
        elif is_contraction(node):
            sides = zip(node.operands, (node["left"], node["right"]), strict=True)
            label = node["out"][axis]
            front += [(o, to.index(label), loop) for o, to in sides if label in to]
        elif is_spread(node):
            to = [i for i, place in enumerate(node["axes"]) if place == axis]
            front += [(node.operands[0], i, loop) for i in to]
        elif node.op == "transpose":
            front.append((node.operands[0], node["perm"][axis], loop))
        else:
            rank, plain = len(node.type.shape), op_of(node).is_("pointwise")
            same = [o for o in node.operands if len(o.type.shape) == rank
                    and (plain or o.type.shape[axis] == node.type.shape[axis])]  # fmt: skip
            front += [(o, axis, loop) for o in same]


def bare(node: Node) -> Node:
    """The value itself, of one that is spread over a shape or of which something is only said."""
    while is_spread(node) or op_of(node).is_("identity"):
        node = node.operands[0]
    return node


def number(node: Node) -> float | None:
    """The number that a node is everywhere, worked out from constants; None where it is none."""
    if is_const(node):
        return float(node["value"]) if isinstance(node["value"], int | float) else None
    if is_spread(node) or op_of(node).is_("identity"):
        return number(node.operands[0])
    rule, parts = op_of(node).number, list[float]()
    for operand in node.operands if rule is not None else ():
        if (part := number(operand)) is None:
            return None  # at once: what is read by many is not looked at again and again
        parts.append(part)
    if rule is None:
        return None
    try:
        return rule(*parts)
    except (ArithmeticError, ValueError):
        return None
