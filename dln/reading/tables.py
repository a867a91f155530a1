"""What `dln check` looks at of the data: tables, which are read to know their size anyway."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.model import DataSet, Model
from dln.compiler.schema.keys import RawInput
from dln.kept.facts import TABLES

FREE = ("real", "logit")


def check_tables(model: Model) -> None:
    """Raise `DlnError` where a table holds what its fields do not allow, as `dln run` would."""
    for data in model.data.values():
        bounded = any(f.node.type.domain.name not in FREE for f in data.fields.values())
        if data.reader in TABLES and (data.claims or bounded):
            _check_table(model, data)


def _check_table(model: Model, data: DataSet) -> None:
    from dln.compiler.pipeline import claimed, data_spec  # late: few specs have tables
    from dln.runtime.device.source_map import placed  # late: few specs have tables
    from dln.runtime.readers import readers  # late: few specs have tables
    from dln.runtime.readers.tables import in_place  # late: few specs have tables
    from dln.runtime.readers.validation import check_field  # late: few specs have tables

    spec, texts = data_spec(data), {path: s.text for path, s in model.sources.items()}
    where = partial(readers.origin, spec.source)
    fields = {f.name: f for f in spec.fields}
    with placed(texts, spec.place):
        given = {("input", RawInput(data.name, key)): array
                 for key, array in readers.read(spec.source).items()}  # fmt: skip
        whole, width = ("input", RawInput(data.name, "")), data.raw[""].type.shape[1].constant
        given[whole] = in_place(given[whole], spec.columns, width)
        for said, declared in ((claimed(data), spec.claims), (data.fields, fields)):
            for key, array in _values({k: f.value for k, f in said.items()}, given).items():
                check_field(declared[key], array, texts, 0, where)


def _values(nodes: Mapping[str, Node], given: Mapping[Any, Any]) -> dict[str, Any]:
    """The values of what is not drawn, in double precision."""
    import numpy as np  # late: NumPy

    from dln.compiler.ir.evaluate import evaluate  # late: NumPy

    still = {key: node for key, node in nodes.items()
             if not any(op_of(n).is_("random") for n in ancestors([node]))}  # fmt: skip
    with np.errstate(all="ignore"):
        found = evaluate(still, given)
    return {key: found[key] for key in still}
