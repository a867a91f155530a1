"""The facts of a checkpoint, tested against the plan before anything of a run is changed.

Hashes tell that a file is what was written. Whether what was written is of this run, and could have
come out of it at all, is told here: where a phase is, how long it is to be, what it has reported,
and that each array is there, of its shape and precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isfinite, isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dln.compiler.plan import DTYPES, CheckpointKey, PhaseSpec, Plan, new_state
from dln.grammar.diagnostics import Fault
from dln.runtime.checkpoint import checkpoint
from dln.runtime.execution.phase_result import ARRAYS
from dln.runtime.execution.store import paths_of
from dln.runtime.training.minibatches import updates_of_epoch

Facts = Mapping[str, Any]
Named = Mapping[str, NDArray[Any]]
Test = Callable[[Any], bool]
SHOWN = 3  # misfits that are told
HELD = ("best", "last")
KINDS = ("state", *ARRAYS, *HELD)

# ---- what facts look like ------------------------------------------------------------------------


def text(value: Any) -> bool:
    return isinstance(value, str)


def truth(value: Any) -> bool:
    return isinstance(value, bool)


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def count(value: Any) -> bool:
    return isinstance(value, int) and number(value) and 0 <= value < 1 << 63


def amount(value: Any) -> bool:
    return number(value) and isfinite(value) and value >= 0


def smallest(value: Any) -> bool:
    return value is None or (number(value) and not isnan(value))


def maybe(test: Any) -> Test:
    return lambda value: value is None or like(value, test)


def each(test: Any) -> Test:
    return lambda value: isinstance(value, dict) and all(like(v, test) for v in value.values())


def listed(test: Any, size: int | None = None) -> Test:
    return lambda value: (
        isinstance(value, list | tuple)
        and all(like(v, test) for v in value)
        and size in (None, len(value))
    )


def like(value: Any, form: Any) -> bool:
    """Whether a value has a form: a test, or the tests of all its entries."""
    return not list(unlike(value, form, ""))


def unlike(value: Any, form: Any, name: str) -> Iterator[str]:
    """Where a value does not have a form: `running.update is -3`."""
    if not isinstance(form, Mapping):
        if not form(value):
            yield f"{name} is {value!r:.60}"
    elif not isinstance(value, Mapping):
        yield f"{name or 'the whole'} is {value!r:.60}"
    else:
        for key in form:
            inner = f"{name}.{key}".lstrip(".")
            if key in value:
                yield from unlike(value[key], form[key], inner)
            else:
                yield f"{inner} is missing"


def watched(value: Any) -> bool:
    """What a watch is: a number, or several."""
    return bool(number(value) or listed(number)(value))


def table(value: Any) -> bool:
    """A number, or a table of such."""
    return number(value) or (isinstance(value, list) and all(map(table, value)))


HISTORY = each(lambda rows: all(
    listed(watched, 3)(r) and count(r[0]) and count(r[1]) for r in rows
) if isinstance(rows, list | tuple) else False)  # fmt: skip
LENGTH = {"count": count, "unit": text, "epochs": maybe(count), "per_epoch": count,
          "total": maybe(count)}  # fmt: skip
RESULT = {"name": text, "epochs": count, "updates": count, "seconds": amount,
          "watch": each(watched), "history": HISTORY, "complete": truth, "shortened": truth,
          "ended": text, "best": each(watched), "length": each(lambda _: True),
          "note": text}  # fmt: skip
PLACE = {
    "phase": text, "update": count, "seconds": amount, "examples": count, "batch": count,
    "best": {"smallest": listed(smallest), "then": each(watched)}, "length": LENGTH, "note": text,
    "watches": {"values": each(watched), "history": HISTORY, "sums": each(watched),
                "since": each(listed(count, 2))},
}  # fmt: skip
META = {"spec": text, "fingerprint": text, "seed": count, "updates": each(count),
        "results": each(RESULT), "running": maybe(PLACE), "ended": maybe(PLACE)}  # fmt: skip
"""What a checkpoint of a run says, beside its arrays."""

# ---- whether they are of this run ----------------------------------------------------------------


def refuse(plan: Plan, seed: int, arrays: Named, meta: Facts) -> None:
    """Raise `Fault` E561 where a checkpoint is of another spec or seed, or says what cannot be;
    E532 where its parameters are not those of the plan."""
    _raise(list(unlike(meta, META, "")))
    for key, mine in {"fingerprint": plan.fingerprint, "seed": seed}.items():
        if meta[key] != mine:
            what = "spec (or other constants)" if key == "fingerprint" else f"seed, {meta[key]}"
            remedy = "start a new run; `load` takes over the parameters alone"
            raise Fault(f"the checkpoint is of another {what}", remedy, "E561")
    refuse_params(plan, arrays)
    unknown = [*meta["updates"], *meta["results"]]
    unknown += [p["phase"] for p in (meta["running"], meta["ended"]) if p is not None]
    _raise([f"there is no phase {name}" for name in unknown if name not in plan.phases])
    found = [w for name in meta["results"] for w in _result(plan.phases[name], meta)]
    for which in ("running", "ended"):
        if meta[which] is not None:
            found += _place(plan, arrays, meta, which)
    _raise([*found, *_arrays(plan, arrays, meta)])


def refuse_form(value: Any, form: Any, name: str) -> None:
    """Raise `Fault` E561 where a fact does not have the form it must have."""
    _raise(list(unlike(value, form, name)))


def _raise(misfits: list[str]) -> None:
    if misfits:
        more = f"; and {len(misfits) - SHOWN} more" if len(misfits) > SHOWN else ""
        message = f"the checkpoint says what cannot be: {'; '.join(misfits[:SHOWN])}{more}"
        raise Fault(message, "go on from an earlier checkpoint, or start a new run", "E561")


def refuse_params(plan: Plan, arrays: Named) -> None:
    """Exactly the parameters of the spec, of their shapes, in any precision, else `Fault` E532."""
    found = {k: a for k, a in arrays.items() if CheckpointKey.parse(k) is None}
    real = {k: a.dtype for k, a in found.items() if str(a.dtype) in DTYPES}
    expected = {p: (s.shape, real.get(p, plan.dtype)) for p, s in plan.params.items()}
    checkpoint.compare_keys(expected, found)


def measured(plan: Plan, meta: Facts) -> dict[str, dict[str, NDArray[Any]]]:
    """The numbers by which data are standardised or scaled, by name, of any shape; in a checkpoint
    that is older than these there are none. Raises `Fault` E561 where they cannot be those of the
    plan."""
    held = meta.get("measured", {})
    _raise(list(unlike(held, each(each(table)), "measured")))
    found = {name: {k: np.asarray(v, np.float64) for k, v in n.items()} for name, n in held.items()}
    specs = {f"{d.name}.{m.name}": m for d in plan.data.values() for m in d.measured.values()}
    for name, numbers in found.items():
        shapes = {k: a.shape for k, a in numbers.items()}
        if name not in specs or shapes != dict.fromkeys(specs[name].kept, specs[name].shape):
            _raise([f"measured.{name} is not what the spec measures"])
    return found


def of_kind(arrays: Named, kind: str, phase: str) -> dict[str, NDArray[Any]]:
    """The arrays of a kind of a phase, by name."""
    keys = [(CheckpointKey.parse(text), array) for text, array in arrays.items()]
    return {k.name: a for k, a in keys if k is not None and (k.kind, k.phase) == (kind, phase)}


def _result(spec: PhaseSpec, meta: Facts) -> Iterator[str]:
    """What does not fit in the result of a phase."""
    result, name = meta["results"][spec.name], f"results.{spec.name}"
    if result["name"] != spec.name:
        yield f"{name}.name is {result['name']}"
    yield from _watched(spec, result["watch"], result["history"], result["updates"], name)
    if result["length"]:
        yield from unlike(result["length"], LENGTH, f"{name}.length")
        if like(result["length"], LENGTH):
            yield from _length(result["length"], result["updates"], name)
            early = result["updates"] < (result["length"]["total"] or 0)
            why = result["ended"] or result["length"].get("until") or not result["complete"]
            if early and not why and result["length"]["unit"] != "second":
                yield f"{name} is complete after {result['updates']:,} updates"


def _watched(
    spec: PhaseSpec, values: Facts, history: Facts, update: int, name: str
) -> Iterator[str]:
    """What does not fit in what a phase has reported up to an update."""
    known = {w.name: w.numbers for w in spec.watches}
    for watch in {**values, **history}:
        if watch not in known:
            yield f"{name} has the watch {watch}"
    said = [(watch, value) for watch, value in values.items() if watch in known]
    said += [(watch, r[2]) for watch, rows in history.items() if watch in known for r in rows]
    for watch, value in said:
        if known[watch] != (len(value) if isinstance(value, list | tuple) else None):
            yield f"{name} has {watch} as {value!r:.40}"
    for watch, rows in history.items():
        counts = [r[0] for r in rows]
        if counts != sorted(counts) or (counts and counts[-1] > update):
            yield f"{name} has reports of {watch} at {counts[-2:]}, which is at update {update:,}"


def _length(length: Facts, update: int, name: str) -> Iterator[str]:
    """What does not fit in how long a phase is to be."""
    each, wanted = length["per_epoch"], length["epochs"]
    said = {"epoch": length["count"] * each, "update": length["count"]}.get(length["unit"])
    if wanted is not None:
        cut = length["unit"] == "update"
        said = min(length["count"], wanted * each) if cut else wanted * each
    if length["total"] != said or length["unit"] not in ("epoch", "update", "second"):
        yield f"{name} is to have {length['total']} updates, which does not follow"
    elif said is not None and update > said:
        yield f"{name} is at update {update:,} of {said:,}"


def _place(plan: Plan, arrays: Named, meta: Facts, which: str) -> Iterator[str]:
    """What does not fit in the place where a phase goes on."""
    place = meta[which]
    spec, update, n = plan.phases[place["phase"]], place["update"], place["examples"]
    if meta["updates"].get(spec.name) != update:
        yield f"{which}.update is {update:,}, updates.{spec.name} another"
    if not n or place["batch"] != min(spec.batch or n, n):
        yield f"{which} has {n} examples in minibatches of {place['batch']}"
    elif place["length"]["per_epoch"] != updates_of_epoch(spec, n):
        yield f"{which}.length.per_epoch is {place['length']['per_epoch']}"
    yield from _length(place["length"], update, which)
    watches = place["watches"]
    yield from _watched(spec, watches["values"], watches["history"], update, which)
    summed = {w.name for w in spec.watches if w.on is None and w.program is None}
    for kept in ("sums", "since"):
        if watches[kept].keys() != summed:
            yield f"{which}.watches.{kept} is of {', '.join(watches[kept]) or 'none'}"
    for name, (examples, minibatches) in watches["since"].items():
        if minibatches > update or examples > update * place["batch"]:
            yield f"{which}.watches.since.{name} is {[examples, minibatches]}"
    first = watches.get("first", {})
    if not like(first, each(watched)) or set(first) - set(spec.heard):
        yield f"{which}.watches.first is {first!r:.60}"
    elif set(first) != set(spec.heard):
        yield f"{which}.watches.first lacks {', '.join(set(spec.heard) - set(first))}"
    if spec.handed and which == "running" and place["best"]["then"]:
        held = of_kind(arrays, "best", spec.name)
        asked = {path for key in spec.steps for path in paths_of(plan.programs[key])}
        if lost := {*asked, *(str(new_state(k)) for k in spec.states)} - held.keys():
            yield f"there is no {sorted(lost)[0]} of the best report of {spec.name}"
    if len(place["best"]["smallest"]) != len(spec.keeps):
        yield f"{which}.best has {len(place['best']['smallest'])} values"
    programs = [plan.programs[key] for key in spec.steps]
    program = programs[0]
    for path in dict.fromkeys(path for p in programs for path in paths_of(p)):
        if arrays[path].dtype != program.dtype:
            yield f"{path} is {arrays[path].dtype}, {spec.name} computes in {program.dtype}"
    buffers = [b for p in programs for b in p.buffers]
    real = {b.key for b in buffers if b.place == "state" and b.kind == "real"}
    for path, array in of_kind(arrays, "state", spec.name).items():
        if array.dtype != program.dtype if path in real else array.dtype.kind not in "iufb":
            yield f"state {path} is {array.dtype}, {spec.name} computes in {program.dtype}"


def _arrays(plan: Plan, arrays: Named, meta: Facts) -> Iterator[str]:
    """What does not fit in the arrays of phases: states of each that has begun, and what is kept
    for checks."""
    for name, spec in plan.phases.items():
        found = {k: a.shape for k, a in of_kind(arrays, "state", name).items()}
        if found != dict(spec.states) and (found or name in meta["updates"]):
            differ = sorted(found.items() ^ dict(spec.states).items())
            yield f"the optimiser of {name} has other states: {differ[0][0]} {list(differ[0][1])}"
        for kept in ("before", "after"):
            for path, array in of_kind(arrays, kept, name).items():
                if path in plan.params and array.shape != plan.params[path].shape:
                    yield f"{kept}({path}) of {name} is {list(array.shape)}"
        wanted = {p: s.shape for p, s in plan.params.items()}
        wanted |= {f"state:{k}": shape for k, shape in spec.states.items()}
        for kept in HELD:
            for path, array in of_kind(arrays, kept, name).items():
                if array.shape != wanted.get(path):
                    yield f"{kept}({path}) of {name} is {list(array.shape)}"
    for text in arrays:
        key = CheckpointKey.parse(text)
        if key is not None and (key.kind not in KINDS or key.phase not in plan.phases):
            yield f"the array {text} is of no phase"
