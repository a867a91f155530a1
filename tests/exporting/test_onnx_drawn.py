"""Drawn specs as ONNX, in double precision: onnxruntime makes of each what NumPy makes of it, which
shares no code with dln."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing.differences import answers
from drawing.choices import Choices
from drawing.specs import draw

import dln
from dln.exporting.exported import onnx_file
from dln.grammar.diagnostics import DlnError

LARGEST = 1e6


def fares(seed: int, folder: Path) -> str:
    """How a spec fares: `same`, `large`, or the code that it is refused with."""
    spec = draw(Choices(seed))
    wanted = spec.outputs(spec.first)
    scale = float(np.abs(wanted).max(initial=0.0))
    if not scale <= LARGEST:
        return "large"
    try:
        compiled = dln.load(spec.save(folder)).compile(dtype="float64")
    except DlnError as error:
        return error.problems[0].code
    fed = dict[str, Any]()
    for port in compiled.plan.applied["net"].ports:
        value = np.asarray(spec.fields[port.name])
        if port.domain == "class":  # past the end of a sequence it need not be one
            value = np.minimum(value, (port.classes or 1) - 1)
        fed[port.name] = value.astype(np.int64 if port.kind == "index" else float)
    (found,) = answers(onnx_file(compiled.spec, compiled.session(), "net").data, fed).values()
    gap = np.abs(found - wanted).max(initial=0.0)
    assert found.shape == wanted.shape and gap <= 1e-8 * (1 + scale), f"seed {seed}: {gap}"
    return "same"


@pytest.mark.skipif(
    not (find_spec("onnx") and find_spec("onnxruntime")), reason="needs onnx and onnxruntime"
)
@pytest.mark.parametrize(
    "seeds", [range(8), pytest.param(range(100, 500), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_drawn_specs_mean_what_they_say(seeds: range, tmp_path: Path) -> None:
    with np.errstate(all="ignore"):
        fared = Counter(fares(seed, tmp_path) for seed in seeds)
    assert fared["same"] >= 0.8 * len(seeds), fared
