"""A spec as it stands under an estimator: compiled for the sizes of arrays, with its session.

Faults: E591 a spec that the estimator cannot be made of, E592 weights that the spec has no field
for, and whatever reading, compiling and training it finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import Plan, memory
from dln.grammar import syntax as s
from dln.grammar.diagnostics import DlnError, Problem, Source, Span, nearest
from dln.runtime.session import Session
from dln.runtime.training import resume
from dln.sklearn import inside
from dln.sklearn.columns import (
    Columns,
    SpecError,
    columns_of,
    module_of,
    refuse,
    shape_of,
    sizes_of,
)
from dln.sklearn.value import NetChain, value_of
from dln.spec import Compiled, Spec, from_source

Array = NDArray[Any]
ROWS = 6144  # a multiple of the 24 rows that a kernel of products takes, and of the fewer
MEMORY = 64 << 20  # bytes for examples that go through at a time
PLACES = ("arena", "input", "value")


@dataclass(frozen=True)
class Fitting:
    """What an estimator asks of a spec: its kind, its text, constants, the phases to train (all
    where it names none), the instance to give ("" for the loss's), the precision, the seed; then
    the sizes of the arrays: numbers of X, classes, numbers of y; what the classes are called."""

    kind: str
    source: Source
    constants: Mapping[str, object]
    phases: tuple[str, ...]
    instance: str
    dtype: str | None
    seed: int
    features: int
    classes: int | None = None
    outputs: int = 1
    labels: tuple[str, ...] = ()

    @property
    def columns(self) -> Columns:
        """The fields that it hands over. Raises `DlnError` E591."""
        return columns_of(self.source, self.constants, self.kind)


@dataclass
class Network:
    """A spec compiled for an estimator, with the session that is trained."""

    asked: Fitting
    columns: Columns = field(init=False)
    session: Session = field(init=False)
    phase: str = field(init=False)
    part: str = field(init=False)
    chain: NetChain = field(init=False)
    span: Span | None = field(init=False)
    probabilities: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        asked = self.asked
        self.columns = asked.columns
        self.sizes = sizes_of(self.columns, asked.features, asked.classes, asked.outputs)
        self.order = self._ordered()
        made = self._compiled(asked.source)
        root, named = inside.outer(made.plan, asked.instance), asked.instance
        if root:
            named, made = self._inside(made)
        self.phase, self.part = self._phase_of(made.plan.phases)
        plan, own = made.plan, self.columns
        others = {f.name for f in (own.target, own.weight) if f is not None}
        fields = [f.name for f in plan.data[own.data].fields if f.name not in others]
        found = value_of(asked.source, self.phase, plan, asked.kind, fields, root or named)
        self.chain, self.span = found
        if root:
            self.chain = self.chain.changed(paths=(*self.chain.paths[:-1], named))
        if asked.kind == "classifier":
            self.probabilities = self._domain(made.spec, plan) == "prob"
        if asked.kind == "regressor":
            self._plain_target()
            self._fits(made.plan, asked.outputs)
        self.session = made.session(seed=asked.seed)

    def _ordered(self) -> Array:
        """Which class of the spec each class of y is [class], where the spec names them."""
        words, labels = self.columns.words, self.asked.labels
        for label in labels if words else ():
            if label not in words:
                text = f"y has the class {label}, which the spec does not name"
                refuse(text, self.columns.span, "names them", f"one of {', '.join(words)}")
        named = (
            [words.index(label) for label in labels] if words else range(self.asked.classes or 0)
        )
        return np.array(named, int)

    def _inside(self, made: Compiled) -> tuple[str, Compiled]:
        """The name of an instance that gives a value inside of another, and the spec with it.
        Raises `DlnError` E591."""
        named, source = inside.extended(made.spec, made.plan, self.asked.instance)
        try:
            found = self._compiled(source)
        except DlnError as error:
            inside.told(error, made.spec, self.asked.instance)
            raise
        if named in found.plan.refused:
            why = DlnError([found.plan.refused[named]])
            inside.told(why, made.spec, self.asked.instance)
            raise why
        given = found.plan.programs[found.plan.applied[named].program].values[0]
        if given.shape_at(3)[0] != 3 or given.shape_at(2)[0] != 2:
            text = f"{self.asked.instance} is the same for all examples, and gives no codes"
            refuse(text, None, "", "a value that follows from x")
        return named, found

    def _compiled(self, source: Source) -> Compiled:
        """The spec with its open sizes bound. The classes of `label: class` are named by examples
        that stand for them."""
        asked, target = self.asked, self.columns.target
        bound, data = {**asked.constants, **self.sizes}, None
        open_names = target is not None and target.classes is None and not self.columns.words
        if asked.classes and open_names:
            part = f".{self.columns.parts[0]}" if self.columns.parts else ""
            x, codes = np.zeros((asked.classes, asked.features)), np.arange(asked.classes)
            data = {f"{self.columns.data}{part}": self.fields(x, codes, None)}
        items = module_of(source).items
        alone = not any(isinstance(item, s.Use) for item in items)
        alone &= sum(isinstance(item, s.Data) for item in items) == 1
        if data is None and alone and all(isinstance(v, str | int | float) for v in bound.values()):
            said = tuple((k, type(v), v) for k, v in sorted(bound.items()))
            return compiled_alone(source.path, source.text, said, asked.dtype)
        return compiled(source, bound, asked.dtype, data)

    def _phase_of(self, phases: Mapping[str, Any]) -> tuple[str, str]:
        """The phase whose loss is asked, the last that learns from the set, and its part."""
        own, data = self.asked.phases, self.columns.data
        for name in own:
            if name not in phases:
                remedy = nearest(name, phases) or f"the spec has {', '.join(phases)}"
                raise DlnError([Problem("E560", f"there is no phase {name}", remedy=remedy)])
        found = [n for n in own or phases if phases[n].data == data]
        if not found:
            text = f"no phase learns from {data}, which takes X"
            remedy = f"train fit on {data} batch 20 for 10 epochs {{ ... }}"
            refuse(text, self.columns.span, "is learnt from by none", remedy)
        return found[-1], phases[found[-1]].part

    def _fits(self, plan: Plan, numbers: int) -> None:
        """Raise `DlnError` E591 where the value is not so many numbers for each example: one for
        each class, or as many as y has."""
        path, classes = self.chain.paths[-1], self.asked.kind == "classifier"
        values = plan.programs[plan.applied[path].program].values
        shapes = [b.shape_at(2)[1:] for b in values]
        if len(shapes) == 1 and prod(shapes[0]) == numbers and len(shapes[0]) <= 1:
            return
        shown = f"the shape [{', '.join(map(str, shapes[0]))}]"
        how = f"{len(shapes)} values" if len(shapes) > 1 else shown
        wanted = f"for each of {numbers} classes" if classes else f"for each of {numbers} in y"
        text = f"a {self.asked.kind} takes a number {wanted}, and {path} gives {how}"
        last = "dense(k), with label: class(k)" if classes else "dense(m), with y[m]"
        refuse(text, self.span or self.columns.span, "takes it", f"let its last layer be {last}")

    def _domain(self, spec: Spec, plan: Plan) -> str:
        """Whether the value that a classifier takes its classes from are scores or probabilities.
        Raises `DlnError` E591 where it is neither, or not one for each class."""
        path = self.chain.paths[-1]
        self._fits(plan, self.asked.classes or 0)
        if self.chain.domain in ("logit", "prob"):
            return self.chain.domain
        results = spec.model.functions.applied[path].results.values()
        domain = next(iter(results)).type.domain.name
        if domain not in ("logit", "prob"):
            text = f"a classifier gives probabilities, and {path} gives any numbers"
            remedy = "minimize cross_entropy(net(x), label), or -> z[k]: logit in the block"
            refuse(text, self.span or self.columns.span, "takes them", remedy)
        return domain

    def _plain_target(self) -> None:
        """Raise `DlnError` E591 where the body of the set makes other numbers of y."""
        target = self.columns.target
        for item in module_of(self.asked.source).items:
            if isinstance(item, s.Data) and item.name == self.columns.data and target:
                for line in item.body:
                    if isinstance(line, s.Field) and f"raw.{target.name}" in line.value.span.text:
                        text = f"what a regressor gives would not be {target.name}, which is "
                        remedy = "TransformedTargetRegressor(DlnRegressor(...)) of scikit-learn"
                        refuse(f"{text}made into {line.port.name}", line.span, "", remedy)

    # ---- arrays --------------------------------------------------------------------------------

    def fields(self, x: Array, y: Array | None, weight: Array | None) -> dict[str, Array]:
        """What the set is handed, by field: X [example, numbers], y [example, ...] if there is one,
        weights [example], of 1 where none are given. Raises `DlnError` E592 for weights that the
        spec has no field for."""
        asked, n = self.columns, len(x)
        found = {asked.x.name: np.asarray(x).reshape(n, *shape_of(asked.x, self.sizes))}
        if asked.target is not None and y is not None:
            shape = shape_of(asked.target, self.sizes)
            codes = self.order[y] if len(self.order) else np.asarray(y)
            found[asked.target.name] = codes.reshape(n, *shape)
        if asked.weight is not None:
            found[asked.weight.name] = np.ones(n) if weight is None else weight
        if weight is not None:
            self._weighed()
        return found

    def _weighed(self) -> None:
        """Raise `DlnError` E592 where weights would be left out in silence."""
        asked, plan = self.columns, self.session.plan
        if asked.weight is None:
            refuse_weights(asked)
        elif plan.data[asked.data].plain:
            trained = [plan.phases[name] for name in self.asked.phases or plan.phases]
            if not any(asked.weight.name in ph.fields for ph in trained if ph.data == asked.data):
                text = f"sample_weight was given, and no phase reads {asked.weight.name}"
                remedy = f"minimize {asked.weight.name} * ..."
                said = Problem("E592", text, self.span, "leaves the weights out", remedy=remedy)
                raise SpecError([said])

    def train(self, fields: Mapping[str, Array]) -> None:
        """Train the phases on arrays by field, from their start. Raises what training raises."""
        phases = list(self.asked.phases) or None
        self.session.train(phases, data={self.columns.data: self._worded(fields)})

    def _worded(self, fields: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays by field, with the names of classes where the spec has such."""
        target, words = self.columns.target, self.columns.words
        if target is None or not words:
            return dict(fields)
        return {**fields, target.name: np.array(words)[fields[target.name]]}

    def step(self, fields: Mapping[str, Array]) -> None:
        """One update of the phase on all of the arrays by field. Raises `DlnError`: what a step
        raises, E591 where the phase asks how many examples there are in all."""
        try:
            self.session.step(self.phase, **self._made(fields))
        except DlnError as error:
            if [p.code for p in error.problems] != ["E518"]:
                raise
            text = "partial_fit does not know how many examples there will be, from which epochs "
            remedy = "fit, or a rate that does not change with epoch or progress"
            refuse(f"{text}and progress follow", error.problems[0].span, "asks for it", remedy)

    def apply(self, x: Array) -> Array:
        """What the net gives for X [example, numbers]: [example, ...], of a classifier in the order
        of its classes. It goes through in pieces, cut where the bits of a product are those of the
        whole. Raises what calls raise."""
        rows, n = self.rows, len(x)
        cuts = [0, *range(rows, n - rows + 1, rows), n]
        if len(cuts) == 2:
            return self._values(x)
        parts = [self._values(x[a:b]) for a, b in pairwise(cuts)]
        return np.concatenate(parts)

    @cached_property
    def rows(self) -> int:
        """How many examples go through at a time, at the least."""
        plan, rows, each = self.session.plan, ROWS, 0
        for path in self.chain.paths:
            program = plan.programs[plan.applied[path].program]
            many, few = (sum(memory(program, n)[k] for k in PLACES) for n in (1024, 512))
            each = max(each, (many - few) // 512)
        while rows % 2 == 0 and rows * each > MEMORY:
            rows //= 2
        return rows

    def _values(self, x: Array) -> Array:
        """What the net gives for a piece of X [example, numbers]."""
        target, y = self.columns.target, None
        if target is not None:
            y = np.zeros((len(x), *shape_of(target, self.sizes)), int)
        found = self._made(self.fields(x, y, None))[self.chain.field]
        for path in self.chain.paths:
            found = self.session.apply(path, found)
        values = np.asarray(found)
        return values[:, self.order] if self.asked.kind == "classifier" else values

    def _made(self, fields: Mapping[str, Array]) -> Mapping[str, Array]:
        """The fields that phases see, of what is handed: worked out as those of training are, with
        what was measured there."""
        data, session = self.columns.data, self.session
        if session.plan.data[data].plain:
            return fields
        dtype = session.plan.programs[session.plan.phases[self.phase].step].dtype
        asked = {f"{data}.{self.part}": self._worded(fields)}
        part = session.datasets.limited(asked, None).part(data, self.part, dtype)
        return {f.name: part.field(f.name, session.device) for f in session.plan.data[data].fields}

    # ---- kept ----------------------------------------------------------------------------------

    def packed(self) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
        """What it was asked, parameters and states by name, plain facts: all that it is, without
        any class of dln."""
        asked = dict(vars(self.asked))
        asked["source"] = self.asked.source.path, self.asked.source.text
        return asked, *resume.pack(self.session.state)


def compiled(
    source: Source, constants: Mapping[str, object], dtype: str | None,
    data: Mapping[str, Any] | None = None,
) -> Compiled:  # fmt: skip
    """A spec compiled with its sizes as constants. Raises what reading and compiling it raises."""
    name = Path(source.path).stem.strip("<>")
    return from_source(source, name, constants, data=data).compile(dtype=dtype)


@lru_cache(maxsize=32)
def compiled_alone(
    path: str, text: str, constants: tuple[tuple[str, type, Any], ...], dtype: str | None
) -> Compiled:
    """A spec that reads no other file, kept: a search fits the same sizes again and again. Raises
    what reading and compiling it raises."""
    return compiled(Source(path, text), {name: value for name, _, value in constants}, dtype)


def unpacked(
    asked: Mapping[str, Any], arrays: Mapping[str, Array], facts: Mapping[str, Any]
) -> Network:
    """A network of what `packed` gave, arrays of parameters by path. Raises what reading and
    compiling its text raises."""
    made = Network(Fitting(**{**asked, "source": Source(*asked["source"])}))
    resume.load(made.session.state, arrays, facts)
    return made


def refuse_weights(asked: Columns) -> None:
    """Raise `DlnError` E592: weights are not left out in silence."""
    text = f"sample_weight was given, and {asked.data} has no field for it"
    remedy = "given(..., weight), and minimize weight * ..."
    raise SpecError([Problem("E592", text, asked.span, "takes no weights", remedy=remedy)])
