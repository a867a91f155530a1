"""What an instance is given where it is trained: which fields of which data set go into its ports.

The spec is read once more, noting what is applied to what. Faults: E578 an instance that is given
no fields as they are, E579 data sets of which several, or none, fit what is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dln.compiler.frontend.build import build
from dln.compiler.frontend.data import origins
from dln.compiler.frontend.energy.groups import VERBS
from dln.compiler.frontend.tracing.applied import Trace, TracedCall
from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.ir.op import op_of
from dln.compiler.ir.structure import is_draw, is_param
from dln.compiler.model import DataSet, FieldOf, Model
from dln.compiler.plan import AppliedSpec, Plan
from dln.compiler.schema.headers import TableFacts
from dln.grammar.diagnostics import Fault, nearest
from dln.kept.questions import Questions
from dln.runtime.device.source_map import unknown
from dln.spec import Spec


@dataclass(frozen=True)
class InstanceFeed:
    """The fields of a data set that go into the ports of an instance, by port, with what these
    need: `raw` arrays of the reader, and `columns` of a table as numbers. `claims` are the
    assertions made on the way. `labels` are the fields of classes that the phase
    which trains it learns from; `logit` whether its results are taken as logits, `probable` are the
    results that are probabilities, `timed` those that run over time."""

    data: str
    ports: Mapping[str, str]
    raw: frozenset[str]
    columns: tuple[int, ...]
    claims: frozenset[str]
    labels: tuple[str, ...]
    logit: bool
    probable: frozenset[str]
    timed: frozenset[str]
    table: TableFacts | None
    alphabet: str | None

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that are needed, each once."""
        return tuple(dict.fromkeys(self.ports.values()))


def feed_of(
    spec: Spec, plan: Plan, path: str, applied: AppliedSpec, wanted: str | None
) -> InstanceFeed:
    """What feeds an instance, in the data set `wanted` or in that of the phases that train it.
    Raises `Fault` E578, E579."""
    trace = Trace()
    model = build(spec.source, spec.syntax, spec.outside(trace))
    if wanted is not None and wanted not in model.data:
        raise unknown("E560", "data set", wanted, list(model.data))
    found = dict[str, dict[str, str]]()
    given = [c for c in _calls(trace, path) if _phase(c) in model.phases and not c.in_step]
    _refuse_other(spec, model, path, given, applied)
    for call in sorted(given, key=lambda c: _rank(model, path, _phase(c))):
        own = model.phases[_phase(call)].on.data
        for name in sorted(model.data, key=lambda d: d != own):
            ports = _ports(call, model.data[name], applied)
            if ports is not None:
                found.setdefault(name, ports)
                if name == own:
                    break
    if wanted is None and len(found) > 1:
        trained = [d for d in found if d in _learnt_from(model, path)]
        found = {d: found[d] for d in trained or found}
    if not found:
        raise _unfed(spec, path, given, applied)
    if wanted is not None:
        ports = found.get(wanted) or _by_name(model.data[wanted], applied)
        if ports is None:
            listed = ", ".join(p.name for p in applied.ports)
            text = f"{wanted} has no fields {listed}, which {path} takes"
            raise Fault(text, f"--as {next(iter(found))}", "E579")
        return _needs(model, plan, spec.kept.questions, path, wanted, ports, given, trace)
    if len(found) > 1:
        text = f"{path} is given fields of {' and of '.join(found)}"
        raise Fault(text, " or ".join(f"--as {d}" for d in found), "E579")
    name, ports = next(iter(found.items()))
    return _needs(model, plan, spec.kept.questions, path, name, ports, given, trace)


# ---- what is applied to what -------------------------------------------------------------------


def _calls(trace: Trace, path: str) -> Iterator[TracedCall]:
    """Where an instance, a chain or a machine is applied, but for its being laid out by itself."""
    head, _, verb = path.rpartition(".")
    wanted = head if verb in VERBS else path
    for call in [*_all(trace.found), *trace.chains]:
        kinds = ("machine",) if verb in VERBS else ("block",)
        if call.path == wanted and not call.alone and call.kind in kinds:
            yield call


def _phase(call: TracedCall) -> str:
    """The phase that a call stands in, in its updates or in a watch."""
    return call.site.partition(".")[0]


def _refuse_other(
    spec: Spec, model: Model, path: str, given: list[TracedCall], applied: AppliedSpec
) -> None:  # fmt: skip
    """Raise `Fault` E578 where an instance is trained on something else that is made of fields: the
    fields themselves would be other numbers. Noise is none."""
    for call in given:
        if call.site not in _trainers(model, path):
            continue
        data = model.data[model.phases[call.site].on.data]
        fields = {f.node for f in data.fields.values()}
        for node in call.ports.values():
            above = set(ancestors([node]))
            plain = _plain(node) in fields or any(map(is_draw, above)) or any(map(is_param, above))
            if not plain and above & fields:
                raise _unfed(spec, path, [call], applied)


def _trainers(model: Model, path: str) -> list[str]:
    """The phases that train an instance."""
    owner = path.rpartition(".")[0] if path.rpartition(".")[2] in VERBS else path
    return [p.name for p in model.phases.values()
            if any(k.startswith((f"{owner}.", f"{owner}[")) for k in _moves(p))]  # fmt: skip


def _all(calls: Iterable[TracedCall]) -> Iterator[TracedCall]:
    for call in calls:
        yield call
        yield from _all(call.inside)


def _learnt_from(model: Model, path: str) -> list[str]:
    """The data sets of the phases that train an instance, the last first."""
    moved = [model.phases[name] for name in _trainers(model, path)]
    return list(dict.fromkeys(p.on.data for p in reversed(moved or [*model.phases.values()])))


def _moves(phase: Any) -> set[str]:
    descent = [k for line in phase.lines for k in line.slopes]
    return {*phase.updates, *descent}


def _rank(model: Model, path: str, site: str) -> int:
    """Phases that train it first, the last of them before others."""
    order = _learnt_from(model, path)
    data = model.phases[site].on.data
    return order.index(data) if data in order else len(order)


def _plain(node: Node) -> Node:
    """A value without what is only said of it, and whichever of batch and time comes first."""
    while node.operands and (op_of(node).name in ("asserted", "running") or _turned(node)):
        node = node.operands[0]
    return node


def _turned(node: Node) -> bool:
    """Whether it is another value of which only running axes have changed places."""
    perm, inner = node.attrs.get("perm"), node.operands[0].type
    if not op_of(node).is_("view") or perm is None:
        return False
    running = len(inner.running)
    rest = [i for i in perm if i >= running]
    return sorted(rest) == rest and sorted(inner.running) == sorted(node.type.running)


def _ports(call: TracedCall, data: DataSet, applied: AppliedSpec) -> dict[str, str] | None:
    """The fields of a set that a call is given as they are, by port; None where one is not."""
    known = {f.node: f.name for f in data.fields.values()}
    given = [known.get(_plain(node)) for node in call.ports.values()]
    names = [p.name for p in applied.ports if p.domain != "length"]
    by_name = dict(zip(call.ports, given, strict=True))
    fed = [by_name.get(n) if n in by_name else None for n in names]
    if len(given) == 1 == len(names):
        fed = given[:1]
    if len(fed) != len(names) or None in fed:
        return None
    found = {n: f for n, f in zip(names, fed, strict=True) if f is not None}
    for port in applied.ports:
        if port.domain == "length":
            field = next((data.fields[f].ends for f in found.values() if data.fields[f].ends), "")
            field = field or next(iter(data.lengths), "")
            if not field:
                return None
            found[port.name] = field
    return found


def _by_name(data: DataSet, applied: AppliedSpec) -> dict[str, str] | None:
    """The fields that are called as the ports are."""
    names = [p.name for p in applied.ports]
    return {n: n for n in names} if set(names) <= set(data.fields) else None


def _unfed(spec: Spec, path: str, given: list[TracedCall], applied: AppliedSpec) -> Fault:
    """Why nothing can be made of a file for an instance."""
    ports = ", ".join(p.name for p in applied.ports)
    if not given:
        text = f"no phase of {spec.name} applies {path} to its data"
        return Fault(text, f"from Python: dln.open(RUN)[{path!r}]({ports})", "E578")
    text = f"{path} is not given fields of the data as they are in {given[0].site}"
    remedy = "make what it is given a field of the data set, as x[3] = raw[:3] / 10"
    return Fault(text, f"{remedy}; or from Python: dln.open(RUN)[{path!r}]({ports})", "E578")


# ---- what is needed ----------------------------------------------------------------------------


def _needs(
    model: Model, plan: Plan, asked: Questions, path: str, name: str, ports: Mapping[str, str],
    given: list[TracedCall], trace: Trace,
) -> InstanceFeed:  # fmt: skip
    """What of the raw data the fields of some ports are made of. Raises `Fault` E578 where they are
    drawn at each visit."""
    data = model.data[name]
    fields = [data.fields[f] for f in dict.fromkeys(ports.values())]
    drawn = next((f for f in fields if f.drawn), None)
    if drawn is not None:
        text = f"{drawn.name} of {name} is drawn anew at each visit, so it is no function of a file"
        raise Fault(text, f"an .npz file with {drawn.name}, or --as another data set", "E578")
    claims = {f"{i}": c for i, c in enumerate(data.claims) if c.name in {f.name for f in fields}}
    values = [*(f.value for f in fields), *(c.value for c in claims.values())]
    above = set(ancestors(values))
    raw = frozenset(k for k, node in data.raw.items() if node in above)
    whole = data.raw.get("")
    columns: tuple[int, ...] = ()
    if whole is not None and whole in above:
        columns = tuple(sorted(origins.columns(values, whole)))
    raw |= frozenset(k for k in _coded(data) if any(_is_raw(n, k) for n in above))
    labels = _labels(data, path, plan, ports)
    results = model.functions.applied[path].results if path in model.functions.applied else {}
    return InstanceFeed(
        name, dict(ports), raw, columns, frozenset(claims), labels, _logit(given, trace),
        frozenset(k for k, n in results.items() if n.type.domain.name == "prob"),
        frozenset(k for k, n in results.items() if "time" in n.type.running),
        _table(data, asked),
        data.alphabet,
    )  # fmt: skip


def _coded(data: DataSet) -> list[str]:
    """The arrays of raw that hold the classes of columns."""
    listed: Any = data.options.get("classes", ())
    return [key for key, _, _ in listed]


def _is_raw(node: Node, key: str) -> bool:
    name = node.attrs.get("name")
    return getattr(name, "name", None) == key


def _table(data: DataSet, asked: Questions) -> TableFacts | None:
    """What the table of a set was when it was read: names, kinds of columns, means."""
    found: TableFacts | None = None
    for declared, schema in asked.headers():
        same = (declared.reader, declared.args, declared.base, declared.override)
        if schema.table is None or same != (data.reader, data.args, data.base, data.override):
            continue
        before = found or schema.table
        found = schema.table.changed(
            columns={**before.columns, **schema.table.columns},
            means={**before.means, **schema.table.means},
        )
    return found


def _labels(
    data: DataSet, path: str, plan: Plan, ports: Mapping[str, str]
) -> tuple[str, ...]:  # fmt: skip
    """The fields of classes that the phase which trains an instance reads, beside its ports."""
    owner = path.rpartition(".")[0] if path.rpartition(".")[2] in VERBS else path
    for phase in reversed(list(plan.phases.values())):
        moved = (p for line in phase.lines for p in line.moves)
        if any(p.startswith((f"{owner}.", f"{owner}[")) for p in moved):
            every = plan.data[phase.data].fields
            known = {f.name for f in every if f.domain == "class"} & set(phase.fields)
            return tuple(f for f in data.fields if f in known and f not in ports.values())
    return ()


def _logit(given: list[TracedCall], trace: Trace) -> bool:
    """Whether a function takes what an instance gives as a logit."""
    made = {_plain(node) for call in given for node in call.results.values()}
    taken = (call.ports.get(name) for call in _all(trace.found) for name in call.logits)
    return any(node is not None and _plain(node) in made for node in taken)


def near(name: str, known: Iterable[str]) -> str:
    """The known name that was most likely meant, "" where none is like it."""
    return nearest(name, known) or ""


__all__ = ["InstanceFeed", "FieldOf", "feed_of", "near"]
