"""Loops as Scan, and as Loop where no sequence goes in.

A step sees the values outside of it, so what stays from step to step is read where it lies. What
stands time first only for the loop, or after it, is not turned: Scan goes along any axis.
"""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.ir.graph import Node
from dln.compiler.ir.ops.loop import Body, body_of
from dln.compiler.ir.structure import is_item, is_slice
from dln.compiler.ir.tensor_type import scalar
from dln.exporting.listing import OnnxFacts, OnnxGraph, OnnxNode
from dln.exporting.moves import END, one_position
from dln.exporting.writing import OnnxValue, OnnxWriter


def row_scan(w: OnnxWriter, node: Node) -> OnnxValue:
    """All of a loop: its items are written with it."""
    body, items = body_of(node), [u for u in w.readers(node) if u is not None and is_item(u)]
    inner = OnnxWriter(w.made, body.graph, OnnxGraph(), w.rows, w)
    rows = [sequence(w, body.operand(node, s)) for s in body.rows]
    first = [w.full(body.operand(node, s)) for s in body.carried]
    for slot in body.fixed:
        inner.values[slot] = w.values[body.operand(node, slot)]
    given = [entering(inner, slot) for slot in (*body.carried, *body.rows)]
    wanted = [*body.nexts, *(item["value"] for item in items)]
    inner.write(inner.follow(wanted))
    left = leaving(inner, wanted)
    ends = [w.named(OnnxFacts("", called(inner, n), "last", n.type)) for n in body.nexts]
    made = [w.named(OnnxFacts("", called(inner, item["value"]), "steps")) for item in items]
    inner.listing.inputs, inner.listing.outputs = given, left
    if rows:
        axes = [leave_along(w, item, body) for item in items]
        scan(w, body, inner, (first, rows), (ends, made, axes))
    else:
        axes = [0] * len(items)
        made = loop(w, body, inner, first, (ends, made))
    final = 0 if body.reverse else (body.length.value or 0) - 1
    for item, name, axis in zip(items, made, axes, strict=True):
        hand_on(w, item, name, axis)
        if item["value"] in body.nexts:
            w.lasts[item, final] = ends[body.nexts.index(item["value"])]
    return OnnxValue("", (), w)


def row_item(w: OnnxWriter, node: Node) -> OnnxValue:
    """Written with its loop."""
    raise AssertionError(node)


def scan(
    w: OnnxWriter, body: Body, inner: OnnxWriter, given: tuple[list[str], list[tuple[str, int]]],
    left: tuple[list[str], list[str], list[int]],
) -> None:  # fmt: skip
    """A loop over sequences, each along an axis of its own."""
    (first, rows), (ends, made, axes), back = given, left, int(body.reverse)
    attrs: dict[str, object] = {
        "num_scan_inputs": len(rows),
        "scan_input_axes": [axis for _, axis in rows],
        "scan_input_directions": [back] * len(rows),
    }
    if made:
        attrs["scan_output_axes"] = axes
        attrs["scan_output_directions"] = [back] * len(made)
    inputs = [*first, *(name for name, _ in rows)]
    w.add(OnnxNode("Scan", inputs, [*ends, *made], attrs, body=inner.listing))


def loop(
    w: OnnxWriter, body: Body, inner: OnnxWriter, first: list[str],
    left: tuple[list[str], list[str]],
) -> list[str]:  # fmt: skip
    """A loop that only counts; what it leaves backwards is turned round."""
    (ends, made), step = left, inner.listing
    at = inner.named(OnnxFacts("", called(inner, None), "step", scalar("index")))
    go = inner.named(OnnxFacts("", called(inner, None), "go", scalar("bool")))
    step.inputs = [at, go, *step.inputs]
    step.outputs = [inner.call("Identity", go), *step.outputs]
    w.made.facts[step.outputs[0]] = w.made.facts[step.outputs[0]].changed(type=scalar("bool"))
    count = w.number(body.length.value, "index")
    w.add(OnnxNode("Loop", [count, "", *first], [*ends, *made], body=step))
    if not body.reverse:
        return made
    turned = (w.ints(-1), w.ints(END), w.ints(0), w.ints(-1))
    return [w.call("Slice", name, *turned) for name in made]


# ---- what goes in and comes out ------------------------------------------------------------------


def sequence(w: OnnxWriter, node: Node) -> tuple[str, int]:
    """A sequence and the axis along which its steps lie: where it was turned for the loop, it is
    taken as it was before."""
    if "perm" in node.attrs and (axis := brought(node["perm"])):
        return w.full(node.operands[0]), axis
    return w.full(node), 0


def brought(perm: Sequence[int]) -> int:
    """The axis that an order of axes brings to the front, the others staying as they are; else
    0.

    >>> brought((1, 0, 2)), brought((2, 0, 1)), brought((0, 2, 1))
    (1, 2, 0)
    """
    first, *rest = perm
    return first if rest == sorted(rest) else 0


def sent(perm: Sequence[int]) -> int:
    """The axis that the first one becomes, the others staying as they are; else 0.

    >>> sent((1, 0, 2)), sent((1, 2, 0)), sent((0, 2, 1))
    (1, 2, 0)
    """
    rest = [p for p in perm if p]
    return list(perm).index(0) if rest == sorted(rest) else 0


def entering(inner: OnnxWriter, slot: Node) -> str:
    """The value that a step is given for a slot."""
    name = inner.named(OnnxFacts(inner.graph.names.get(slot, ""), "", slot["role"], slot.type))
    inner.values[slot] = inner.whole(name, slot)
    return name


def leaving(inner: OnnxWriter, wanted: Sequence[Node]) -> list[str]:
    """What a step leaves: each value made in it, and none twice."""
    found = list[str]()
    for node in wanted:
        name = inner.full(node)
        made = {n for call in inner.listing.calls for n in call.outputs}
        if name not in made or name in found:
            name = inner.call("Identity", name)
            facts = inner.made.facts[name]
            inner.made.facts[name] = facts.changed(owner=called(inner, node), does="step")
        inner.made.facts[name] = inner.made.facts[name].changed(type=node.type)
        found.append(name)
    return found


def called(inner: OnnxWriter, node: Node | None) -> str:
    """What a value of a step is called: by its name, or by that of what it is for."""
    if node is None:
        return next(iter(inner.graph.names.values()), "")
    return inner.graph.names.get(node) or inner.owners.get(node, "")


def leave_along(w: OnnxWriter, item: Node, body: Body) -> int:
    """The axis of its result along which a loop puts the steps of a value: where all who read it
    have it turned first, where they have the steps."""
    final = 0 if body.reverse else (body.length.value or 0) - 1
    readers = [r for r in w.readers(item) if r is None or not only_last(w, r, final)]
    axes = {0 if r is None or "perm" not in r.attrs else sent(r["perm"]) for r in readers}
    return axes.pop() if len(axes) == 1 else 0


def only_last(w: OnnxWriter, cut: Node, final: int) -> bool:
    """Whether a slice is the last step of a loop, for those who want nothing else."""
    return is_slice(cut) and cut["start"] == final and all(
        r is not None and one_position(r, cut) for r in w.readers(cut)
    )  # fmt: skip


def hand_on(w: OnnxWriter, item: Node, name: str, axis: int) -> None:
    """Put a sequence in the place of an item, or of the turned item."""
    w.values[item] = w.whole(name, item)
    for reader in w.readers(item) if axis else ():
        if reader is not None and "perm" in reader.attrs:
            w.values[reader] = w.whole(name, reader)
