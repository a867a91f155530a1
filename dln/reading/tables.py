"""What `dln check` looks at of the data: tables, which are read to know their size anyway."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.model import DataSet, FieldOf, Model
from dln.compiler.schema.keys import RawInput

TABLES = ("table", "rows")
FREE = ("real", "logit")


def check_tables(model: Model) -> None:
    """Raise `DlnError` where a table holds what its fields do not allow, as `dln run` would."""
    for data in model.data.values():
        if data.reader in TABLES and (data.claims or any(map(_bounded, data.fields.values()))):
            _check_table(model, data)


def _bounded(f: FieldOf) -> bool:
    return f.node.type.domain.name not in FREE


def _check_table(model: Model, data: DataSet) -> None:
    from dln.compiler.pipeline import claimed, data_spec  # late: few specs have tables
    from dln.runtime.device.source_map import placed  # late: few specs have tables
    from dln.runtime.readers import readers  # late: few specs have tables
    from dln.runtime.readers.validation import check_field  # late: few specs have tables

    spec = data_spec(data)
    texts = {path: s.text for path, s in model.sources.items()}
    decl = spec.source
    where = partial(readers.origin, decl)
    still = {f.name: f for f in spec.fields}
    with placed(texts, spec.place):
        raw = readers.read(decl)[""]
        values = _values({k: f.value for k, f in claimed(data).items()}, data, raw)
        for key, array in values.items():
            check_field(spec.claims[key], array, texts, 0, where)
        values = _values({k: f.value for k, f in data.fields.items()}, data, raw)
        for key, array in values.items():
            check_field(still[key], array, texts, 0, where)


def _values(nodes: Mapping[str, Node], data: DataSet, raw: Any) -> dict[str, Any]:
    """The values of what is not drawn, in double precision."""
    import numpy as np  # late: NumPy

    from dln.compiler.ir.evaluate import evaluate  # late: NumPy

    still = {
        key: node
        for key, node in nodes.items()
        if not any(op_of(n).is_("random") for n in ancestors([node]))
    }
    with np.errstate(all="ignore"):
        given: dict[tuple[str, Hashable], Any] = {("input", RawInput(data.name, "")): raw}
        found = evaluate(still, given)
    return {key: found[key] for key in still}
