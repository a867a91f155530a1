"""`standardised(e)` and `scaled(e)` in a data set: by what one part of it is like.

    x[4] = standardised(raw[:4])
    y = scaled(raw[4], by = fit)

Of each number of an example the mean and the deviation (or the least and the most) are measured
over one part: that which the first phase learns from, or `by` another. They stand in the graph as
two inputs, which a runtime fills in; what is constant in that part becomes 0. A set that is `like`
another uses the numbers of that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dln.compiler.frontend.context import broadcasting
from dln.compiler.frontend.context.build_context import Build, Scope
from dln.compiler.frontend.context.place import Poisoned
from dln.compiler.frontend.context.static_values import tensor, unknown
from dln.compiler.frontend.context.values import DataValue, describe
from dln.compiler.frontend.data import splits
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.model import DataSet, FieldOf, Measuring
from dln.compiler.schema.keys import MeasuredInput
from dln.grammar import syntax as s
from dln.grammar.diagnostics import Note, Span


class FieldClaims(list[FieldOf]):
    """What is asserted of the values of a data set while its fields are read, and what of it is
    `measured`, by name. `data` is the set, `line` the field at hand, and `owner` the set in whose
    body that stands."""

    def __init__(self, data: str) -> None:
        super().__init__()
        self.data = self.owner = data
        self.line: s.Field | None = None
        self.model: Callable[[], object] = lambda: None
        self.measured: dict[str, Measuring] = {}
        self._taken: dict[str, int] = {}

    def at(self, line: s.Field, owner: str, model: Callable[[], object]) -> None:
        """Go on to a field; `model` looks into the set that it is written in."""
        self.line, self.owner, self.model = line, owner, model
        self._taken[line.port.name] = 0

    def name(self) -> str:
        """What the next value that is measured in this field is called: after the field, with a
        number where there are several."""
        assert self.line is not None
        field = self.line.port.name
        self._taken[field] += 1
        return field if self._taken[field] == 1 else f"{field}_{self._taken[field]}"


def function(kind: str) -> Callable[[Build, s.Call, Scope], Node]:
    """`standardised(e)`: less the mean, by the deviation; or `scaled(e)`: less the least number, by
    the range."""

    def call(b: Build, expr: s.Call, scope: Scope) -> Node:
        claims, by = b.claims, _by(b, kind, expr)
        if not isinstance(claims, FieldClaims) or claims.line is None:
            text = f"{kind} stands in a data set: it goes by what a part of that is like"
            fact = f"as in x[4] = {kind}(raw[:4]), in the body of the set"
            b.fail("E428", text, expr.span, "stands elsewhere", facts=(fact,))
        at = expr.plain[0].span
        value = broadcasting.quantity(b, tensor(b, expr.plain[0], scope), at)
        if "batch" not in value.type.running:
            text = f"{kind} takes what differs from example to example"
            fact = "as in standardised(raw[:4]), of columns of the file"
            b.fail(
                "E428", text, at, f"{broadcasting.short(at.text)} is the same in all", facts=(fact,)
            )
        dims, shape = claims.line.port.dims, value.type.shape
        timed = "time" in value.type.running or bool(dims and dims[0].span.text == "time")
        lead = 2 if timed and len(shape) > 1 else 1
        name, make = claims.name(), b.at(expr.span)
        if claims.owner == claims.data:
            claims.measured[name] = Measuring(
                name=name, kind=kind, part="", field=claims.line.port.name, timed=lead == 2,
                value=value, by=by, span=expr.span,
            )  # fmt: skip
        else:
            _as_measured(b, claims, name, shape[lead:], at)
        keys = (MeasuredInput(claims.owner, name, what) for what in MEASURES[kind])
        type = TensorType(shape[lead:], (), "real")
        numbers = [make("input", name=key, type=type) for key in keys]
        if type.shape:
            axes = tuple(range(lead, len(shape)))
            numbers = [make.broadcast(n, value.type, axes) for n in numbers]
        return make.div(make.sub(value, numbers[0]), numbers[1])

    return call


def _by(b: Build, kind: str, expr: s.Call) -> s.Expr | None:
    """What stands behind `by`."""
    named = {name: a.value for name, a in expr.named.items()}
    if len(expr.plain) != 1 or named.keys() - {"by"}:
        facts = (f"as in {kind}(raw[:4]), or {kind}(raw[:4], by = fit)",)
        b.fail("E322", f"{kind} takes one value, and by", expr.span, facts=facts)
    return named.get("by")


def _as_measured(
    b: Build, claims: FieldClaims, name: str, shape: Sequence[Size], span: Span
) -> None:
    """Refuse other numbers of an example than the set has in which the field is written."""
    claims.model()
    owner = b.data.sets.get(claims.owner)
    if owner is None or name not in owner.measured:
        raise Poisoned
    m = owner.measured[name]
    wanted = [b.number(n) for n in m.value.type.shape[2 if m.timed else 1 :]]
    found = [b.number(n) for n in shape]
    if wanted != found:
        text = f"{claims.data} is like {owner.name}, by which its numbers are measured"
        label = f"has {found} numbers for each example, {owner.name} has {wanted}"
        b.fail("E429", text, span, label, (Note(m.span, "is measured here"),))


MEASURES = {"standardised": ("mean", "deviation"), "scaled": ("least", "range")}


# ---- by which part -----------------------------------------------------------------------------


def resolve(b: Build, name: str, own: str, scope: Scope) -> None:
    """Find the parts by which the values of a set are measured that is called `own` in its file."""
    found = {}
    for key, m in b.data.sets[name].measured.items():
        with b.collecting():
            part = "" if m.by is None else _part(b, name, own, m.by, scope)
            found[key] = m.changed(part=part, by=None)
    b.data.sets[name] = b.data.sets[name].changed(measured=found)


def _part(b: Build, name: str, own: str, expr: s.Expr, scope: Scope) -> str:
    """A part as it stands behind `by`: `fit`, `all - fold[k]`, `fit + valid`."""
    data, inner = b.data.sets[name], scope.child()
    for part in splits.known(data):
        value = DataValue(name) if part == "all" else splits.part_of(data, part)
        inner.value(part, value, expr.span)
    inner.value(own, DataValue(name), expr.span)
    if isinstance(expr, s.Name) and expr.id not in inner.names:
        unknown(b, "part", expr.id, expr.span, splits.known(data), own)
    value = b.evaluate(expr, inner)
    if not isinstance(value, DataValue):
        parts = ", ".join(splits.known(data))
        remedy = f"{splits.known(data)[-1]}[0]" if isinstance(value, list) else f"one of {parts}"
        b.fail("E353", f"by is a part of {own}", expr.span, f"is {describe(value)}", (), remedy)
    return value.part or "all"


def learned_from(sets: Mapping[str, DataSet], on: Sequence[tuple[str, str]]) -> dict[str, DataSet]:
    """The sets, with the parts by which values are measured where the spec does not say: those of
    the first phase that learns, `on` (set, part) in the order of the spec; else the first part."""
    found = {}
    for name, data in sets.items():
        first = next((part for of, part in on if of == name), "")
        own = [part for part in splits.known(data) if part != "all"]
        part = first or (own[0] if own and own[0] in data.parts else "all")
        measured = {k: m.changed(part=m.part or part) for k, m in data.measured.items()}
        found[name] = data.changed(measured=measured)
    return found
