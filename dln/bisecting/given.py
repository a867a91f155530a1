"""What programs are given where results are compared: numbers drawn by type, by counter.

Parameters are their first values, moved a little so that none is 0; entries that are not there stay
0. All else is drawn by its domain: a class of its number, a probability away from 0 and 1, a state
positive (it may be under a root). Nothing that is compared has made any of it: first values are
worked out by the evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dln.compiler.autodiff.differentiate import differentiate
from dln.compiler.ir.evaluate import evaluate, name_of
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.ir.sizes import BATCH
from dln.compiler.ir.tensor_type import TensorType
from dln.compiler.model import Model
from dln.compiler.passes.scan_bodies import inside
from dln.compiler.pipeline import Recipe, recipes
from dln.compiler.plan import Plan, ProgramKey, ProgramKind, site_number
from dln.compiler.schema.keys import CLOCKS
from dln.runtime.device import kernels
from dln.runtime.execution.store import joined

Array: TypeAlias = NDArray[Any]
Env: TypeAlias = dict[tuple[str, Any], Any]
Values: TypeAlias = dict[str, Array]

EXAMPLES = 5
CLOCK = dict(zip(CLOCKS, (2.0, 7.0, 0.25), strict=True))
MOVED = 0.1  # how far parameters are from their first values, of these
derivatives = inside(lambda graph, log: differentiate(graph))
"""Every derivative of a graph written out, in loops too."""


class Given:
    """The values of what the programs of a spec are given, the same for all of them."""

    def __init__(self, model: Model, plan: Plan, seed: int) -> None:
        self.plan, self.seed, self.examples = plan, seed, EXAMPLES
        self.params: Values = {}
        first = recipes(model)[ProgramKind.INIT.of("float64")].outputs
        for path, value in self.evaluated({str(k.key): node for k, node in first.items()}).items():
            self.params[path] = self._moved(path, value)

    def to(self, recipe: Recipe, key: ProgramKey) -> Given:
        """What one program is given: few examples, or where windows of a text go on in rows that
        are kept, one for each row."""
        found, phase = copy(self), self.plan.phases.get(key.of)
        if phase and (phase.order == "stream" or any(w.stream for w in phase.watches)):
            found.examples = recipe.capacity
        return found

    def env(self, nodes: Iterable[Node]) -> Env:
        """What some nodes read, by kind and name."""
        found: Env = {("clock", name): now for name, now in CLOCK.items()}
        for node in sources(nodes):
            kind, name = name_of(node)
            if kind == "param" and name in self.params:
                found[kind, name] = self.params[name]
            elif (kind, name) not in found:
                found[kind, name] = self._drawn(kind, name, node.type)
        return found

    def values(self, graph: Graph, real: Any = float) -> Values:
        """The outputs of a graph as the evaluator has them, by the texts of their keys. `real` is
        the type of the numbers."""
        return self.evaluated(derivatives(graph, None).outputs, real)

    def evaluated(self, nodes: Mapping[Any, Node], real: Any = float) -> Values:
        """The values of nodes in which no derivative is left."""
        env = self.env(nodes.values())
        with np.errstate(all="ignore"):
            found = evaluate(nodes, env, real, {BATCH: self.examples}, self._draw)
        return {str(k): v for k, v in found.items()}

    def _draw(self, kind: str, site: str, shape: tuple[int, ...]) -> Array:
        """The counter-based draws, as programs make them."""
        out = np.empty(shape)
        fill: Callable[..., None] = getattr(kernels, kind)
        fill(out, self.seed, site_number(site), int(CLOCK["update"]))
        return out

    def _moved(self, path: str, first: Array) -> Array:
        rng, live = self._chance("param", path), joined(self.plan.params[path])
        apart = first * (1 + MOVED * rng.uniform(-1, 1, first.shape))
        found = np.where(first == 0, MOVED * rng.normal(size=first.shape), apart)
        return found if live is None else np.asarray(found * live)

    def _drawn(self, source: str, name: object, type: TensorType) -> Any:
        """A value of a type."""
        if source == "clock":
            return 0.5
        rng = self._chance(source, str(name))
        shape = tuple(self.examples if s.value is None else s.value for s in type.shape)
        size = type.domain.size
        if type.kind == "index":
            return rng.integers(0, 2 if size is None else size.constant, shape)
        if type.kind == "bool" or type.domain.name == "binary":
            return rng.random(shape) < 0.5
        if source == "state" or type.domain.name in ("prob", "positive"):
            return rng.uniform(0.1, 0.9, shape)
        return rng.normal(size=shape) / 2

    def _chance(self, *names: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, site_number(".".join(names))])


def sources(outputs: Iterable[Node]) -> list[Node]:
    """The inputs, parameters, states and clocks that some nodes need."""
    return [n for n in ancestors(outputs) if op_of(n).key]
