"""A graph understood node by node, under some reading of its axes: which is that of the examples,
and which runs over time.

A file seldom says it. So the readings that its open axes allow are tried in order, and the first
under which every node makes sense is taken; where none does, the one that came furthest says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from dln.flags import read_flags
from dln.grammar.diagnostics import DlnError, Fault
from dln.importing.body import BlockBody
from dln.importing.model import Array, FileModel, FileNode, FilePort, Unsaid, refused, shown
from dln.importing.naming import Names, candidates
from dln.importing.operators import OPERATORS
from dln.importing.operators.records import MOST, OnnxCall, Operator, given
from dln.importing.syntax_of import name
from dln.importing.values import BATCH, TIME, Arg, Constant, Leaf, Size, Value, leaf

BROKEN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class AxisReading:
    """The axis of the examples and that of time of each input, None where it has none, and how
    many of both there are, where that is known."""

    batch: tuple[int | None, ...]
    time: tuple[int | None, ...]
    examples: int | None
    steps: int | None


@dataclass
class Input:
    port: FilePort
    name: str
    value: Value
    batch: int | None


@dataclass
class Understood:
    """A graph in the words of a spec."""

    reading: AxisReading
    body: BlockBody
    inputs: list[Input]
    outputs: list[tuple[FilePort, str, Value]]


def understood(model: FileModel) -> Understood:
    """The first reading under which all of it makes sense. Raises `DlnError`: E616 for a node that
    a spec cannot say, E619 where inputs or outputs are of no use."""
    known(model)
    best: tuple[tuple[int, bool], DlnError] | None = None
    for reading in readings(model):
        walk = GraphWalk(model, reading)
        try:
            return walk.done()
        except DlnError as error:
            far = walk.number, not walk.misread
            if best is None or far > best[0]:
                best = far, error
    if best is None:
        several = (
            "their axes are open in more than two ways, or the file does not say how many they have"
        )
        names = ", ".join(shown(p.name) for p in model.inputs[:5])
        message = f"{model.file}: nothing can be made of its inputs {names}: {several}"
        raise Fault(message, "export it with only the axis of examples open", "E619").at(None)
    raise best[1]


def known(model: FileModel) -> None:
    """Raise `DlnError` E616 for operators that there are none of here, all of them at once."""
    missing: dict[tuple[str, str], FileNode] = {}
    for node in model.nodes:
        if (node.domain, node.op) not in OPERATORS:
            missing.setdefault((node.domain, node.op), node)
    if not missing:
        return
    first = next(iter(missing.values()))
    others = sorted({shown(n.op) for n in missing.values()} - {shown(first.op)})
    more = f"; nor {', '.join(others[:8])}" if others else ""
    raise refused(first, Unsaid(f"this operator is not known here{more}"))


# ---- which axis is which -----------------------------------------------------------------------


def readings(model: FileModel) -> Iterator[AxisReading]:
    """What the axes may be, the likeliest first."""
    ports = model.inputs
    if any(p.dims is None for p in ports):
        return
    dims = [
        [f"{p.name}?{k}" if d is None else d for k, d in enumerate(p.dims or ())] for p in ports
    ]
    names = [d for lanes in dims for d in lanes if isinstance(d, str)]
    first = [lanes[0] for lanes in dims if lanes and isinstance(lanes[0], str)]
    recurrent = any(n.op in RECURRENT for n in model.nodes)
    for batch in batches(dims, [*dict.fromkeys([*first, *names])]):
        held = [lanes[b] for lanes, b in zip(dims, batch, strict=True) if b is not None]
        examples = {d for d in held if isinstance(d, int)}
        if len(examples) > 1 or (examples and len(examples) < len({*held})):
            continue
        count = next(iter(examples)) if examples else None if held else 1
        rest = [
            [d if k != b else None for k, d in enumerate(lanes)]
            for lanes, b in zip(dims, batch, strict=True)
        ]
        opens = {d for lanes in rest for d in lanes if isinstance(d, str)}
        if len(opens) > 1:
            continue
        if opens:
            times = tuple(
                next((k for k, d in enumerate(r) if isinstance(d, str)), None) for r in rest
            )
            yield AxisReading(batch, times, count, None)
            continue
        if recurrent:
            yield from over_time(batch, rest, count)
        yield AxisReading(batch, (None,) * len(ports), count, None)


def over_time(
    batch: tuple[int | None, ...], rest: Sequence[Sequence[object]], count: int | None
) -> Iterator[AxisReading]:
    """The first axis beside the examples' as time, where the first input has two or one."""
    lane = [k for k, d in enumerate(rest[0]) if d is not None]
    steps = rest[0][lane[0]] if lane else None
    if not isinstance(steps, int) or len(lane) > 2:
        return
    times: list[int | None] = []
    for lanes in rest:
        first = next((k for k, d in enumerate(lanes) if d is not None), None)
        times.append(first if first is not None and lanes[first] == steps else None)
    yield AxisReading(batch, tuple(times), count, steps)


def batches(
    dims: Sequence[Sequence[int | str]], names: Sequence[int | str]
) -> Iterator[tuple[int | None, ...]]:
    """The axis of the examples in each input: an open one by its name, else the first, the second,
    or none."""
    found = [
        tuple(next((k for k, d in enumerate(lanes) if d == n), None) for lanes in dims)
        for n in names
    ]
    places = [tuple(k if len(lanes) > k else None for lanes in dims) for k in (0, 1)]
    for one in dict.fromkeys([*found, *places, (None,) * len(dims)]):
        if one[0] is not None or len({*one}) == 1:
            yield one


# ---- node by node ------------------------------------------------------------------------------


class GraphWalk:
    """One pass over the nodes under one reading."""

    def __init__(self, model: FileModel, reading: AxisReading) -> None:
        uses = Counter(t for n in model.nodes for t in n.inputs if t)
        uses.update(p.name for p in model.outputs)
        self.model, self.reading, self.number = model, reading, 0
        self.misread = False  # whether what failed last were axes that are others than was read
        sizes = {"batch": reading.examples, TIME: reading.steps}
        self.body = BlockBody(uses, sizes, Names({"net", "network"}))
        self.tensors: dict[str, Arg] = {
            k: Constant(a, a.dtype.kind == "f", k) for k, a in model.constants.items()
        }

    def done(self) -> Understood:
        inputs = [self.input(p, k) for k, p in enumerate(self.model.inputs)]
        for node in self.model.nodes:
            self.number = node.number
            self.node(node)
        self.number += 1
        if odd := self.body.asked - self.body.classes.keys():
            what = f"the input {next(iter(odd))} is compared with 0, and is no class"
            raise Fault(f"{self.model.file}: {what}", "", "E619").at(None)
        outputs = self.outputs()
        return Understood(self.reading, self.body, inputs, outputs)

    def input(self, port: FilePort, k: int) -> Input:
        """An input as a port of the block."""
        batch, time = self.reading.batch[k], self.reading.time[k]
        if port.dtype is None or port.dims is None:
            message = f"{self.model.file}: the input {shown(port.name)} holds no numbers"
            raise Fault(message, "", "E619").at(None)
        hints = [*candidates(port.name)]
        hints = [port.name] if len(port.name) == 1 and port.name.isalpha() else hints
        label = self.body.names.new(
            [*hints, "x", "c"] if port.dtype.kind == "f" else [*hints, "c", "x"], "x"
        )
        rest = [a for a in range(len(port.dims)) if a != batch]
        shape: list[Size] = []
        for a in rest:
            size = port.dims[a]
            shape.append(TIME if a == time else size if isinstance(size, int) else -1)
        if TIME in shape[1:] or -1 in shape:
            message = (
                f"{self.model.file}: the input {shown(port.name)} has an open axis behind others"
            )
            raise Fault(message, "export it with that axis fixed", "E619").at(None)
        axes = tuple((BATCH,) if a == batch else (rest.index(a),) for a in range(len(port.dims)))
        kind = {"f": "real", "b": "truth"}.get(port.dtype.kind, "index")
        value = Value(leaf(name(label), tuple(shape), label), axes, kind)
        self.tensors[port.name] = value
        return Input(port, label, value, batch)

    def node(self, node: FileNode) -> None:
        """What a node gives. Raises `DlnError` E616."""
        operator = OPERATORS[node.domain, node.op]
        try:
            found = self.run(operator, node)
            results = found if isinstance(found, list) else [found]
            for tensor, result in zip(node.outputs, results, strict=False):
                if tensor:
                    self.keep(tensor, result)
        except Unsaid as unsaid:
            self.misread = unsaid.of_axes
            raise refused(node, unsaid) from None
        except BROKEN as e:  # what no exporter writes, and nobody thought of
            if read_flags().debug:
                raise
            odd = Unsaid("its inputs and attributes do not go together", "export the model again")
            raise refused(node, odd) from e

    def run(self, operator: Operator, node: FileNode) -> Arg | list[Arg]:
        least, most = operator.inputs
        if not least <= len(node.inputs) <= most or not node.outputs:
            raise Unsaid(f"it has {len(node.inputs)} inputs")
        if missing := [t for t in node.inputs if t and t not in self.tensors]:
            raise Unsaid(f"nothing before it gives {shown(missing[0])}")
        args = [self.tensors[t] if t else None for t in node.inputs]
        call = OnnxCall(node, given(operator, node), args, self.model.opsets.get("", 20), self.body)
        known = [a for a in args if isinstance(a, Constant)]
        if args and operator.fold is not None and len(known) == len(args):
            return folded(operator, call, known)
        return operator.run(call)

    def keep(self, tensor: str, result: Arg) -> None:
        if isinstance(result, Value):
            result = self.body.kept_short(result, self.body.uses[tensor])
        elif isinstance(result, Constant) and not result.name:
            result = Constant(result.array, result.learnt, tensor, result.other)
        self.tensors[tensor] = result

    def outputs(self) -> list[tuple[FilePort, str, Value]]:
        """The outputs under names of their own, in the axes of ONNX."""
        found = []
        taken = {self.tensor_name(p) for p in self.model.inputs}
        for port in self.model.outputs:
            value = self.tensors.get(port.name)
            if not isinstance(value, Value):
                what = "is made by no node" if value is None else "is the same for all examples"
                message = f"{self.model.file}: the output {shown(port.name)} {what}"
                raise Fault(message, "", "E619").at(None)
            try:
                value = self.body.filled(self.body.canonical(value))
                target = self.result_name(port)
                held = leaf_of(value)
                assert held is not None
                line = self.body.line_of(value)
                if held.key in taken or line is None:
                    value = self.body.named(value, self.body.names.new(target, "y"))
                    held = leaf_of(value)
                    assert held is not None
                else:
                    self.body.rename(held.key, target)
                taken.add(held.key)
                found.append((port, held.key, value))
            except Unsaid as unsaid:
                message = f"{self.model.file}: the output {shown(port.name)}: {unsaid.message}"
                raise Fault(message, unsaid.remedy, "E619").at(None) from None
        return found

    def tensor_name(self, port: FilePort) -> str:
        held = leaf_of(self.tensors[port.name])
        return held.key if held is not None else ""

    def result_name(self, port: FilePort) -> list[str]:
        return ["y"] if len(self.model.outputs) == 1 else [*candidates(port.name), "y"]


def leaf_of(arg: Arg) -> Leaf | None:
    return arg.tree if isinstance(arg, Value) and isinstance(arg.tree, Leaf) else None


def folded(operator: Operator, call: OnnxCall, known: Sequence[Constant]) -> Arg | list[Arg]:
    """Numbers of numbers, for both sizes that stand for open axes."""
    assert operator.fold is not None
    learnt = any(k.learnt for k in known)
    first = worked_out(operator, call, known, False)
    second = (
        worked_out(operator, call, known, True)
        if any(k.other is not None for k in known)
        else first
    )
    made: list[Arg] = []
    for one, two in zip(first, second, strict=True):
        same = one is two or np.array_equal(one, two)
        label = known[0].name if learnt and known[0].learnt else ""
        made.append(Constant(one, learnt and one.dtype.kind == "f", label, None if same else two))
    return made


def worked_out(
    operator: Operator, call: OnnxCall, known: Sequence[Constant], second: bool
) -> list[Array]:
    """Arrays of arrays, of a size that is bounded before it is made."""
    assert operator.fold is not None
    arrays = [k.other if second and k.other is not None else k.array for k in known]
    if max(sum(a.size for a in arrays), spread(arrays)) > 4 * MOST:
        raise Unsaid("it computes with more constants than are worked out here")
    inner = OnnxCall(call.node, call.given, [Constant(a) for a in arrays], call.opset, call.body)
    try:
        with np.errstate(all="ignore"):
            found = operator.fold(inner, arrays)
    except Unsaid:
        raise
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError, MemoryError) as e:
        raise Unsaid("its constants do not go together") from e
    listed = found if isinstance(found, list) else [found]
    return [np.asarray(a) for a in listed]


def spread(arrays: Sequence[Array]) -> int:
    """How many numbers an operation on each element of several arrays gives."""
    try:
        return prod(np.broadcast_shapes(*(a.shape for a in arrays)))
    except ValueError:
        return 0
