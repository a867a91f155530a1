"""Rules about layout: moves that cancel, join or can wait until less has to be moved. What is only
said of a value is asked for first."""

from __future__ import annotations

from dln.compiler.ir.graph import Node
from dln.compiler.ir.op import OPS
from dln.compiler.ir.sizes import Size
from dln.compiler.passes.rewriting import Terms, row, rule, rules_of

# Those that compute with numbers too; what lowering makes (`copy`) comes later.
POINTWISE_OPS = tuple(n for n, op in OPS.items() if op.is_("pointwise") and op.host)


# fmt: off
ROWS = [
    row("assertion made", "asserted", "x as prob -> x", lambda m, node: node.operands[0]),
    row("differentiation done", "stop running",
        "stop(x) -> x, when no gradient is left to be stopped",
        lambda m, node: node.operands[0] if m.final else None),
    row("reshape twice", "reshape", "reshape(reshape(x)) -> reshape(x)",
        lambda m, node: m.maybe("reshape", m.under(node, "reshape"), **node.attrs)),
    row("running twice", "running", "running(running(x)) -> running(x)",
        lambda m, node: m.maybe("running", m.under(node, "running"), **node.attrs)),
    row("flip twice", "flip", "flip(flip(x)) -> x",
        lambda m, node: m.under(node, "flip") if node["axis"] == node.operands[0].attrs.get("axis")
        else None),
    row("slice of all", "slice", "x[0:n] -> x, for all n positions",
        lambda m, node: node.operands[0] if node.operands[0].type.shape == node.type.shape
        else None),
    row("pad by nothing", "pad", "pad(x) by 0 before and after -> x",
        lambda m, node: node.operands[0] if node["before"] == node["after"] == 0 else None),
    row("concat of one", "concat", "concat(x) -> x",
        lambda m, node: node.operands[0] if len(node.operands) == 1 else None),
    row("rearranged number", "transpose reshape slice flip",
        "a move of a spread number -> the number spread over the new shape",
        lambda m, node: m.broadcast(node.operands[0].operands[0], node.type, ())
        if is_number(m, node.operands[0]) else None),
]
# fmt: on


# ---- pointwise operations over spread operands ---------------------------------------------------


@rule(*POINTWISE_OPS)
def number_stays_small(m: Terms, node: Node) -> Node | None:
    """x + broadcast(c) -> x + c, for a number c beside a tensor x"""
    wide = [o for o in node.operands if o.type.shape != () and not is_number(m, o)]
    if not wide or not any(is_number(m, o) for o in node.operands):
        return None
    small = [o.operands[0] if is_number(m, o) else o for o in node.operands]
    return m(node.op, *small, **node.attrs)


def is_number(m: Terms, node: Node) -> bool:
    """Whether a node is a single number spread over a shape."""
    return m.has(node, "broadcast") and not node["axes"]


@rule(*POINTWISE_OPS)
def spread_last(m: Terms, node: Node) -> Node | None:
    """f(broadcast(x), broadcast(y)) -> broadcast(f(x, y))"""
    spread = [o for o in node.operands if m.has(o, "broadcast")]
    if not spread:
        return None
    axes = spread[0]["axes"]
    for o in node.operands:
        if o.type.shape != () and not (m.has(o, "broadcast") and o["axes"] == axes):
            return None
    inner = [o.operands[0] if o in spread else o for o in node.operands]
    return m.broadcast(m(node.op, *inner, **node.attrs), node.type, axes)


# ---- layout --------------------------------------------------------------------------------------


@rule("broadcast")
def broadcast_twice(m: Terms, node: Node) -> Node | None:
    """broadcast(broadcast(x)) -> broadcast(x)"""
    (a,) = node.operands
    if not m.has(a, "broadcast"):
        return None
    axes = tuple(node["axes"][i] for i in a["axes"])
    return m.broadcast(a.operands[0], node.type, axes)


@rule("broadcast", "reshape", "running")
def nothing_moves(m: Terms, node: Node) -> Node | None:
    """reshape(x) -> x, where x has that shape already"""
    (a,) = node.operands
    if a.type.shape != node.type.shape:
        return None
    if a.type.running == node.type.running or m.final:
        return a
    return m.running(a, node.type) if node.op != "running" else None


@rule("transpose")
def transpose_twice(m: Terms, node: Node) -> Node | None:
    """x'' -> x"""
    (a,), perm = node.operands, node["perm"]
    if perm == tuple(range(len(perm))):
        return a
    if not m.has(a, "transpose"):
        return None
    return m("transpose", a.operands[0], perm=tuple(a["perm"][p] for p in perm))


@rule("slice")
def slice_of_slice(m: Terms, node: Node) -> Node | None:
    """x[a:b][c:d] -> x[a + c:a + d]"""
    (a,) = node.operands
    if not m.has(a, "slice") or a["axis"] != node["axis"]:
        return None
    start, stop = a["start"] + node["start"], a["start"] + node["stop"]
    return m("slice", a.operands[0], axis=node["axis"], start=start, stop=stop)


@rule("slice")
def slice_of_joined(m: Terms, node: Node) -> Node | None:
    """concat(x, y)[inside y] -> y[...]"""
    (a,), axis, at = node.operands, node["axis"], 0
    if not m.has(a, "concat") or a["axis"] != axis:
        return None
    for part in a.operands:
        size = part.type.shape[axis].value
        if size is None:
            return None
        start, stop = node["start"] - at, node["stop"] - at
        if 0 <= start and stop <= size:
            return m("slice", part, axis=axis, start=start, stop=stop)
        at += size
    return None


@rule("window")
def window_of_all(m: Terms, node: Node) -> Node | None:
    """window(x) -> reshape(x), where there is one window, as wide as its axis"""
    (a,), axis = node.operands, node["axis"]
    wide = [(c, n) for c, n in node["terms"] if Size.of(n).value != 1]
    if node["offset"] or len(wide) != 1 or wide[0][0] != 1:
        return None
    if Size.of(wide[0][1]) != a.type.shape[axis]:
        return None
    return m("reshape", a, shape=node.type.shape, running=node.type.running)


@rule("window")
def window_of_window(m: Terms, node: Node) -> Node | None:
    """windows along two axes -> the later axis first: its derivative then adds up whole rows"""
    (a,), axis = node.operands, node["axis"]
    if not m.has(a, "window") or m.shared(a):
        return None
    behind = axis - len(a["terms"]) + 1
    if behind <= a["axis"]:
        return None
    first = m("window", a.operands[0], **{**node.attrs, "axis": behind})
    return m("window", first, **a.attrs)


def padded(m: Terms, node: Node) -> tuple[int, int]:
    """The axis of a pad and how wide it was; of a sum of such, how wide its terms are together.
    (-1, 0) for what is none."""
    if m.has(node, "pad"):
        axis = int(node["axis"])
        return axis, node.operands[0].type.shape[axis].constant
    if not m.has(node, "add"):
        return -1, 0
    sums = [node]
    while sums:
        last = sums[-1]
        missing = [n for n in last.operands if m.has(n, "add") and n not in m.padded]
        if missing:
            sums += missing
            continue
        (axis, width), (other, more) = (m.padded.get(n) or padded(m, n) for n in last.operands)
        m.padded[sums.pop()] = (axis, width + more) if axis == other >= 0 else (-1, 0)
    return m.padded[node]


@rule("add")
def pads_side_by_side(m: Terms, node: Node) -> Node | None:
    """pad(x) + pad(y) -> concat(x, y), where they lie side by side and leave nothing out"""
    axis, width = padded(m, node)
    if axis < 0 or width != node.type.shape[axis].value:
        return None  # else all terms of a long sum were looked at, at each of its nodes
    terms, sums = [], [node]
    while sums:
        for part in sums.pop().operands:
            if m.has(part, "add") and not m.shared(part):
                sums.append(part)
            else:
                terms.append(part)
    if not all(m.has(t, "pad") and t["axis"] == axis for t in terms):
        return None
    terms.sort(key=lambda t: int(t["before"]))
    at: Size | int = 0
    for t in terms:
        if at != t["before"]:
            return None
        at = t["before"] + t.operands[0].type.shape[axis].constant
    if at != node.type.shape[axis].value:
        return None
    return m("concat", *(t.operands[0] for t in terms), axis=axis)


RULES = [*ROWS, *rules_of(globals())]
