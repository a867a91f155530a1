"""What `dln check` looks at of the data: tables, which are read to know their size anyway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.ir.structure import is_input
from dln.compiler.model import DataSet, Model
from dln.compiler.schema.keys import MeasuredInput, RawInput
from dln.grammar.diagnostics import Problem, Span
from dln.kept.facts import TABLES

FREE = ("real", "logit")


def check_tables(model: Model) -> list[Problem]:
    """What is likely wrong in tables. Raises `DlnError` where one holds what its fields do not
    allow, as `dln run` would."""
    found: list[Problem] = []
    for data in model.data.values():
        bounded = any(f.node.type.domain.name not in FREE for f in data.fields.values())
        if data.reader in TABLES and (data.claims or bounded):
            found += _check_table(model, data)
    return found


def _check_table(model: Model, data: DataSet) -> Iterator[Problem]:
    from dln.compiler.pipeline import claimed, data_spec  # late: few specs have tables
    from dln.runtime.data.division import in_runs  # late: few specs have tables
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
                checked = check_field(declared[key], array, texts, 0, where)
                if data.split is not None and data.division.placed and said is data.fields:
                    if declared[key].label and in_runs(checked):
                        yield sorted_by(data, key, data.split)


def sorted_by(data: DataSet, label: str, split: Span) -> Problem:
    """A warning of parts that lack classes."""
    text = f"{data.name} is sorted by {label}, and its parts are stretches of the file"
    why, remedy = "each part has few of the classes", f"{split.text} shuffled by {label}"
    return Problem("W313", text, split, why, remedy=remedy, word="warning")


def _values(nodes: Mapping[str, Node], given: Mapping[Any, Any]) -> dict[str, Any]:
    """The values of what is not drawn, and not measured over a part, in double precision."""
    import numpy as np  # late: NumPy

    from dln.compiler.ir.evaluate import evaluate  # late: NumPy

    still = {key: node for key, node in nodes.items() if not any(map(_open, ancestors([node])))}
    with np.errstate(all="ignore"):
        found = evaluate(still, given)
    return {key: found[key] for key in still}


def _open(node: Node) -> bool:
    """Whether a node is drawn, or measured over a part."""
    return op_of(node).is_("random") or (is_input(node) and isinstance(node["name"], MeasuredInput))
