"""What onnxruntime makes of instances, beside what dln does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import dln
from dln.compiler.ir.tensor_type import TensorType
from dln.exporting.exported import onnx_file
from dln.grammar.diagnostics import DlnError
from dln.runtime.session import Session
from dln.spec import LIBRARIES, Spec, shipped


def opened(data: bytes) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def answers(data: bytes, fed: Mapping[str, Any]) -> dict[str, Any]:
    session = opened(data)
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(fed)), strict=True))


def sample(rng: Any, type: TensorType, n: int, dtype: str, longest: int = 1) -> Any:
    """Values of a type for n examples; lengths of sequences are from 1 up to `longest`."""
    shape = tuple(n if s.value is None else s.value for s in type.shape)
    if type.kind == "index":
        size = type.domain.size
        return rng.integers(0, size.value, shape) if size else rng.integers(1, longest + 1, shape)
    if type.kind == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if type.domain.name == "real":
        return np.asarray(rng.normal(size=shape), dtype)
    return np.asarray(rng.uniform(0.3, 0.9, shape), dtype)


def differences(spec: Spec, dtype: str, names: tuple[str, ...] = ()) -> dict[str, float]:
    """By instance of a spec, the largest difference between onnxruntime and dln, for 1, 2 and 7
    examples, of numbers that are about 1."""
    session = spec.compile(dtype=dtype).session(seed=3)
    moved(session)
    found: dict[str, float] = {}
    for path, applied in spec.model.functions.applied.items():
        if names and path not in names:
            continue
        made = opened(onnx_file(spec, session, path).data)
        steps = [p.type.size_of("time").constant for p in applied.ports.values()
                 if "time" in p.type.running]  # fmt: skip
        worst = 0.0
        for n in (1, 2, 7):
            rng = np.random.default_rng(n)
            fed = {k: sample(rng, p.type, n, dtype, min(steps, default=1))
                   for k, p in applied.ports.items()}  # fmt: skip
            wanted = session.apply(path, **fed)
            wanted = wanted if isinstance(wanted, dict) else {next(iter(applied.results)): wanted}
            got = made.run(list(wanted), fed)
            for mine, theirs in zip(wanted.values(), got, strict=True):
                assert mine.shape == theirs.shape, path
                gap = np.abs(mine.astype(float) - theirs.astype(float)).max(initial=0.0)
                worst = max(worst, gap / max(1.0, float(np.abs(mine).max(initial=0.0))))
        found[path] = worst
    return found


def moved(session: Session) -> None:
    """Move parameters a little, as many begin as zeros; not those in which some entries stay 0."""
    rng = np.random.default_rng(7)
    for path, spec in session.plan.params.items():
        if not spec.joins:
            shape = session.params[path].shape
            session.params[path][...] += rng.normal(0, 0.3 / np.sqrt(max(*shape, 1, 1)), shape)


class Row(NamedTuple):
    """A row of the table: the largest differences of all instances of a spec."""

    spec: str
    instances: int
    operators: int
    float32: str
    float64: str


def drawing(spec: Spec) -> list[str]:
    """The instances that a model of ONNX cannot hold."""
    session, found = spec.compile().session(), list[str]()
    for path in spec.model.functions.applied:
        try:
            onnx_file(spec, session, path)
        except DlnError as error:
            assert [p.code for p in error.problems] == ["E610"]
            found.append(path)
    return found


def rows(names: Sequence[str] = ()) -> Iterator[Row]:
    for name in names or [n for n in shipped() if n not in LIBRARIES]:
        spec = dln.load(name)
        gone = drawing(spec) if spec.model.functions.applied else []
        paths = tuple(p for p in spec.model.functions.applied if p not in gone)
        if not paths:
            continue
        worst = [max(differences(spec, d, paths).values()) for d in ("float32", "float64")]
        session = spec.compile().session()
        count = sum(onnx_file(spec, session, p).operators for p in paths)
        yield Row(name, len(paths), count, *(f"{w:.0e}" if w else "0" for w in worst))
