"""What a data set is made of: `mnist.fit`, a part, and `mnist.fit.x`, a field as one tensor.

Such a tensor has all the examples, its first axis: [50000, 784]. It depends on no minibatch and on
no parameter. In the graph it is a source of its own, `whole`, called `mnist.fit.x` (`mnist.all.x`
without a part), which a runtime fills once.
"""

from __future__ import annotations

from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.place import Poisoned
from dln.compiler.frontend.context.static_values import unknown
from dln.compiler.frontend.context.values import DataValue
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import Size
from dln.compiler.model import DataSet, FieldOf
from dln.compiler.schema.keys import WholeField
from dln.grammar.diagnostics import Note, Span


def of_data(b: Build, value: DataValue, name: str, span: Span) -> Value:
    """A part of a data set, or a field of it or of a part."""
    data = b.data.sets[value.name]
    if value.part is None and name in data.parts:
        return DataValue(data.name, name)
    if name in data.fields:
        return _whole(b, data, value.part or "all", data.fields[name], span)
    if name in b.data.broken.get(data.name, ()):
        raise Poisoned
    if value.part is None:
        unknown(b, "part or field", name, span, [*data.parts, *data.fields], data.name)
    unknown(b, "field", name, span, list(data.fields), f"{data.name}.{value.part}")


def _whole(b: Build, data: DataSet, part: str, field: FieldOf, span: Span) -> Node:
    """The field of all examples of a part; of as many as are read, where they are limited. It is
    one tensor if it is the same at every visit, and as long in every example."""
    notes = (Note(field.span, "is declared here"),)
    if field.drawn:
        text = f"the field {field.name} is drawn anew at each visit, so it is no fixed tensor"
        remedy = f"another field, or data set, with = in place of ~ after {field.name}"
        b.fail("E376", text, span, "is drawn", notes, remedy)
    if data.length is not None and "time" in field.node.type.running:
        text = f"the sequences of {field.name} are of unequal lengths, so they are no one tensor"
        label = f"runs over time, up to the {data.length} of each example"
        b.fail("E376", text, span, label, notes, "take it in a phase, example by example")
    count = data.parts[part][1]
    rows = Size(count if b.outside.limit is None else min(count, b.outside.limit))
    type = field.node.type.like((rows, *field.node.type.shape[1:]), ())
    name = WholeField(data.name, part, field.name)
    return b.mark(b.at(span)("whole", name=name, type=type), span, name.spoken)
