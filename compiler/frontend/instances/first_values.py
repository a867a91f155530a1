"""The first values of parameters, worked out when all sizes are known."""

from __future__ import annotations

from collections.abc import Sequence

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Instance
from dln.compiler.frontend.context.frame import Drawing, Frame
from dln.compiler.frontend.context.missing import known
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.ports import fit
from dln.compiler.frontend.context.static_values import tensor
from dln.compiler.frontend.context.values import Function
from dln.compiler.ir import masks
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TensorType
from dln.grammar import syntax as s
from dln.grammar.diagnostics import CHOICES


def initial(b: Build, path: str, d: s.Declared, made: Instance, wanted: Sequence[Size]) -> None:
    """The first value of a parameter, worked out when all sizes are known."""
    shape = tuple(b.sizes.resolve(w) for w in wanted)
    if any(x.value is None for x in shape) and not b.built.rehearsal:
        return
    drawing = Drawing(path, shape) if d.drawn else None
    b = replace(b, frame=Frame(next(b.counter), path), drawing=drawing, calls=made.making)
    _refuse_initialiser(b, d, made)
    node = broadcasting.quantity(b, tensor(b, d.value, made.scope, d.name), d.value.span)
    if node.type.running:
        b.fail("E304", "a first value depends on no data", d.value.span)
    if rows := len(node.type.example):
        if not d.dims and rows == 1 and d.span.source is b.source:
            value = broadcasting.whole_text(d.value.span.text)
            size = b.shown(node.type)
            remedy = f"{d.name}{size} {'~' if d.drawn else '='} {value}"
            text = f"{d.name} has no sizes, and is a single number"
            b.fail("E215", text, d.span, f"begins as {size}", (), remedy)
        why = f"the first value of {d.name} fills {d.name}[{', '.join(map(str, shape))}]"
        if rows < len(shape):  # `b[4, m] = [0, 1, 0, 0]`
            why = f"the first value of {d.name} has one number for each row of it"
        fit(b, node, (), shape[:rows], d.value.span, why, d.span)
    node = b.at(d.value.span).broadcast(node, TensorType(shape), tuple(range(len(node.type.shape))))
    p = b.owned.params[path]
    if p.joins is not None:
        node = masks.cut(b.at(b.owned.owners[path].span), node, p.joins)
    b.owned.params[path] = p.changed(init=node)


def _refuse_initialiser(b: Build, d: s.Declared, made: Instance) -> None:
    """`~ glorot` and `~ "glorot"`: a function of the numbers of inputs and outputs, not applied;
    `~ 0.1`, a number that nothing draws."""
    value = d.value
    negative = isinstance(value, s.Unary) and isinstance(value.body, s.Number)
    if d.drawn and (isinstance(value, s.Number) or negative):
        text, number = "what stands after ~ is drawn", value.span.text
        remedy = f"{CHOICES}~ normal(0, {number}), = {number}"
        b.fail("E343", text, value.span, "is a number", remedy=remedy)
    name = value.id if isinstance(value, s.Name) else ""
    name = value.value if isinstance(value, s.String) else name
    found = known(b, made.scope.lookup(name)) if name else None
    if not isinstance(found, Function) or len(found.syntax.ports) != 2 or len(d.dims or ()) != 2:
        return
    m, n = (dim.span.text for dim in d.dims or ())
    text = f"{name} is a function of the numbers of inputs and outputs"
    b.fail("E302", text, value.span, "is not applied", remedy=f"{name}({n}, {m})")
