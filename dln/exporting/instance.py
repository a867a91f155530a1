"""An instance of a spec as a model in the making: its ports, its graph, its results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dln.compiler.ir.graph import Graph, Node
from dln.compiler.ir.structure import is_input, is_param
from dln.compiler.model import Applied, Model
from dln.compiler.stages import STAGES, optimise, part
from dln.exporting.listing import OnnxFacts, OnnxGraph, OnnxModel
from dln.exporting.operations import ROWS
from dln.exporting.tidying import baptised, tidied
from dln.exporting.writing import OnnxValue, OnnxWriter

LEFT_OUT = ("fission", "accumulate")
"""Passes for speed alone: a loop stays the equation that it was, a sum a sum."""


def instance_model(
    model: Model, applied: Applied, params: Mapping[str, Any], dtype: str
) -> OnnxModel:
    """The calls and arrays of an instance, named as in the spec. Raises `DlnError` E610 for what a
    model cannot hold, with its line."""
    steps = [stage for stage in STAGES if stage[0] not in LEFT_OUT]
    graph = optimise(part(model, dict(applied.results)), steps)
    return graph_model(graph, applied.ports, params, dtype)


def graph_model(
    graph: Graph, ports: Mapping[str, Node], params: Mapping[str, Any], dtype: str
) -> OnnxModel:
    """A graph as it stands. Raises as `instance_model` does."""
    made = OnnxModel(dtype)
    w = OnnxWriter(made, graph, OnnxGraph(), ROWS)
    made.listing = w.listing
    nodes = w.follow(list(graph.outputs.values()))
    inputs = {n["name"]: n for n in nodes if is_input(n)}
    for name, port in ports.items():
        node = inputs.get(name, port)
        found = made.new(OnnxFacts(name, type=node.type))
        w.values[node] = w.whole(found, node)
        made.listing.inputs.append(found)
    for node in nodes:
        if is_param(node):
            array = np.asarray(params[node["path"]], w.dtype(node.type.kind))
            w.values[node] = w.whole(made.array(array, OnnxFacts(node["path"])), node)
    w.write(nodes)
    results = ended(w, graph)
    made.listing.outputs = list(results)
    tidied(made)
    baptised(made, {**dict(zip(made.listing.inputs, ports, strict=True)), **results})
    return made


def ended(w: OnnxWriter, graph: Graph) -> dict[str, str]:
    """The value of each result and what it is called: each made by a call, and none twice."""
    found: dict[str, str] = {}
    for key, node in graph.outputs.items():
        w.at = node
        value = OnnxValue(w.full(node), (), w.values[node].home)
        name = value.name
        if name in found or name in w.made.arrays or name in w.made.listing.inputs:
            name = w.call("Identity", name)
        w.made.facts[name] = w.made.facts[name].changed(type=node.type)
        found[name] = str(key)
    w.at = None
    return found
