"""The plan of a model. Each program is compiled when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from dln.compiler.fingerprint import fingerprint
from dln.compiler.ir.graph import Graph, Node, ancestors
from dln.compiler.ir.op import volume
from dln.compiler.ir.structure import is_full_data
from dln.compiler.lower.emit import lower
from dln.compiler.lower.targets import TARGETS, Target
from dln.compiler.model import Model
from dln.compiler.pausing import uncollected
from dln.compiler.pipeline import specs
from dln.compiler.pipeline.recipes import Cutting, Recipe, common_dtype, recipes
from dln.compiler.plan import Plan, Program, ProgramTable
from dln.compiler.schema.keys import Output
from dln.compiler.schema.tables import DTYPE, DTYPES
from dln.compiler.stages import APART, optimise, part
from dln.grammar.diagnostics import DlnError, Fault, nearest

LARGEST = 1 << 24  # elements that examples held against whole data may fill at a time
Look = Callable[[Program], None]


def compile_model(
    model: Model, target: str, dtype: str | None, name: str, seen: Sequence[Look] = (),
    shards: int | None = None,
) -> Plan:  # fmt: skip
    """The plan of an inferred model. `dtype` and `shards` override what the phases say; those in
    `seen` are shown each program when it is compiled. Raises `Fault` for an unknown target (E522)
    or precision (E361), `DlnError` E437 for a phase that says `shards` and cannot be cut."""
    for what, said, known, code in (("backend", target, TARGETS, "E522"),
                                    ("precision", dtype or DTYPE, DTYPES, "E361")):  # fmt: skip
        if said not in known:
            remedy = nearest(said, known) or f"one of {', '.join(known)}"
            raise Fault(f"there is no {what} {said}", remedy, code)
    uncut, asked = dict[str, DlnError](), in_shards(model, shards)
    cutting = Cutting(None if shards is None else uncut, TARGETS[target].examples_last)
    made = recipes(asked, dtype, cutting)
    wanted = {str(key): recipe for key, recipe in made.items()}
    whole = {k: model.phases[k].changed(shards=None) for k in uncut}  # until one is to be run
    model = asked.changed(phases={**asked.phases, **whole})
    instances = model.functions.applied
    return Plan(
        name=name,
        target=target,
        dtype=dtype or common_dtype(model),
        programs=ProgramTable(CompiledPrograms(model, TARGETS[target], wanted, seen)),
        params={k: specs.param_spec(v) for k, v in model.params.items() if not v.checks},
        data={k: specs.data_spec(d) for k, d in model.data.items()},
        phases={
            k: specs.phase_spec(model, ph, wanted, uncut.get(k)) for k, ph in model.phases.items()
        },
        applied={path: specs.applied_spec(a) for path, a in instances.items()},
        refused=model.functions.refused,
        tasks={k: specs.task_spec(t) for k, t in model.tasks.items()},
        texts={path: s.text for path, s in model.sources.items()},
        constants=dict(model.constants),
        fingerprint=fingerprint(model),
        wholes=tuple(sorted({n["name"] for n in model.graph.topological() if is_full_data(n)})),
    )


def in_shards(model: Model, shards: int | None) -> Model:
    """A model whose phases are all learned in so many shards; itself where nothing is said."""
    if shards is None:
        return model
    count = shards if shards > 1 else None
    phases = {k: ph.changed(shards=count) for k, ph in model.phases.items()}
    return model.changed(phases=phases)


class CompiledPrograms(Mapping[str, Program]):
    """Programs by the texts of their keys, compiled when they are first asked for. Those of one
    recipe are one."""

    def __init__(
        self, model: Model, target: Target, wanted: Mapping[str, Recipe], seen: Sequence[Look]
    ) -> None:
        self.model, self.target, self.wanted, self.seen = model, target, wanted, seen
        self.made: dict[int, Program] = {}

    def __getitem__(self, name: str) -> Program:
        recipe = self.wanted[name]
        if id(recipe) not in self.made:
            self.made[id(recipe)] = self._compile(name, recipe)
        return self.made[id(recipe)]

    def _compile(self, name: str, recipe: Recipe) -> Program:
        begun = recipe.begun
        with uncollected():
            graph = optimise(begun, APART) if begun else optimised(self.model, recipe.outputs)
            capacity = bearable(graph, recipe.capacity) if recipe.chunked else recipe.capacity
            made = lower(name, graph, self.target, recipe.dtype, capacity, recipe.reported)
        for look in self.seen:
            look(made)
        return made

    @property
    def alike(self) -> dict[str, str]:
        """Of each program the first that is made by the same recipe."""
        first: dict[int, str] = {}
        return {name: first.setdefault(id(recipe), name) for name, recipe in self.wanted.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self.wanted)

    def __len__(self) -> int:
        return len(self.wanted)


def optimised(model: Model, outputs: Mapping[Output, Node]) -> Graph:
    """The graph of some outputs, whatever it is lowered for."""
    return optimise(part(model, outputs))


def bearable(graph: Graph, count: int) -> int:
    """So many examples at a time that what holds each against whole data stays of a size."""
    nodes = ancestors(graph.outputs.values())
    if not any(map(is_full_data, nodes)):
        return count
    each = (volume(n.type.shape) for n in nodes if "batch" in n.type.running)
    most = max((c for size in each for _, c in size.terms), default=1)
    return max(1, min(count, LARGEST // most))
