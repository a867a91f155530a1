"""The standard library: every definition has a row in its table and, of those that are read on
demand, a value worked out by hand in `library.dln`; a spec that uses none of them reads none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dln
import dln.spec as spec
from dln.grammar.diagnostics import DlnError, Source
from dln.grammar.parser import DEFINED
from dln.running.expectations import verdicts

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
HELPERS = {"fitting", "covered", "unbiased"}
HELPERS |= {"middle", "outside", "over", "righter", "righter8", "toward", "above", "told"}


def test_every_value_by_hand() -> None:
    found = verdicts(dln.load(HERE / "library.dln").model)
    assert found and [v.text for v in found if v.status != "passed"] == []


def lion(p: float, g: list[float]) -> float:
    m = 0.0
    for x in g:
        p, m = p - 0.1 * (np.sign(0.9 * m + 0.1 * x) + 0.5 * p), 0.99 * m + 0.01 * x
    return p


def nesterov(p: float, g: list[float]) -> float:
    v = 0.0
    for x in g:
        v = 0.8 * v + x
        p -= 0.1 * (x + 0.8 * v)
    return p


def adamw(p: float, g: list[float]) -> float:
    m = s = 0.0
    for n, x in enumerate(g, 1):
        m, s = 0.9 * m + 0.1 * x, 0.999 * s + 0.001 * x * x
        p = (1 - 0.1 * 0.5) * p - 0.1 * (m / (1 - 0.9**n)) / (np.sqrt(s / (1 - 0.999**n)) + 1e-8)
    return p


@pytest.mark.parametrize(
    ("text", "rule"),
    [("lion(lr = 0.1, decay = 0.5)", lion), ("nesterov(lr = 0.1, mass = 0.8)", nesterov),
     ("adamw(lr = 0.1, decay = 0.5)", adamw)],
)  # fmt: skip
def test_optimisers_by_their_papers(text: str, rule: Callable[[float, list[float]], float]) -> None:
    """Three updates of one weight, whose gradients are given: w * x has the slope x."""
    line = (
        "data d = rows([[1]]) {\n  x = raw[0]\n}\n"
        "block line(x) -> y {\n  param w = 2\n  y = w * x\n}\nlet net = line()\n"
        "train t on d batch 1 for 1 update dtype float64 {\n"
        f"  minimize net(x) over net with {text}\n}}\n"
    )
    s = dln.load(line).compile(dtype="float64").session(seed=0)
    for x in (1.0, -3.0, 0.5):
        s.step("t", x=[x])
    np.testing.assert_allclose(s.params["net.w"], rule(2.0, [1.0, -3.0, 0.5]), rtol=1e-12)


@pytest.mark.parametrize(("m", "n"), [(5, 5), (3, 8), (40, 7)])
def test_first_values_at_right_angles(m: int, n: int) -> None:
    spec = f"let net = dense({m}, init = orthogonal)\nlet y = net(zeros({n}))\n"
    W = dln.load(spec).compile(dtype="float64").session(seed=3).params["net.W"]
    small = W @ W.T if m <= n else W.T @ W
    np.testing.assert_allclose(small, np.eye(min(m, n)), atol=1e-12)


def test_first_values_within_two_deviations() -> None:
    spec = (
        "block form(x[2]) -> y[40000] {\n  param W[40000, 2] ~ truncated_normal(1, 0.5)\n"
        "  y = W @ x\n}\nlet net = form()\nlet y = net(zeros(2))\n"
    )
    W = (dln.load(spec).compile(dtype="float64").session(seed=3).params["net.W"] - 1) / 0.5
    assert np.abs(W).max() <= 2 and np.abs(W).max() > 1.99
    assert abs(W.mean()) < 0.015 and abs(W.std() - 0.87962566) < 0.01


def test_every_definition_has_a_row_and_a_value() -> None:
    table = (ROOT / "specs/README.md").read_text(encoding="utf-8").partition("## The standard")[2]
    said = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", table))))
    standard = DEFINED.findall((ROOT / "specs/std.dln").read_text(encoding="utf-8"))
    assert not {*standard, *spec.shelf()} - said - HELPERS
    values = set(re.findall(r"\w+", (HERE / "library.dln").read_text(encoding="utf-8")))
    elsewhere = {"lion", "nesterov", "adamw", "weighted"}  # above, and runtime/test_weighting.py
    elsewhere |= set(re.findall(r"\w+", (HERE / "test_metrics.py").read_text(encoding="utf-8")))
    assert not set(spec.shelf()) - values - HELPERS - elsewhere


def test_no_name_is_defined_twice() -> None:
    files = [ROOT / "specs/std.dln", *sorted((ROOT / "specs/std").glob("*.dln"))]
    names = [n for f in files for n in DEFINED.findall(f.read_text(encoding="utf-8"))]
    assert len(names) == len(set(names))


def test_only_what_is_used_is_read() -> None:
    plain = dln.load("let net = dense(2)\nlet y = net([1, 2])\n")
    assert [Path(p).name for p in plain.model.sources if p.endswith(".dln")] == ["std.dln"]
    more = dln.load("let net = conv1d(2, 2)\nlet y = net([[1, 2]])\n")
    found = [Path(p).name for p in more.model.sources if p.endswith(".dln")]
    assert found == ["std.dln", "convolutions.dln"]
    own = dln.load("block conv1d(x) -> y { y = 2 * x }\nlet net = conv1d()\nlet y = net(3)\n")
    assert [Path(p).name for p in own.model.sources if p.endswith(".dln")] == ["std.dln"]


def test_no_file_beside_a_spec_takes_the_place_of_the_library(tmp_path: Path) -> None:
    """Whatever it is called, also where the spec itself is: `my_std.dln` has one as well."""
    text = "let net = dense(3)\nlet y = net([1, 2])\n"
    for name in ("std.dln", "my_std.dln", "net.dln"):
        (tmp_path / name).write_text(text)
        assert spec.load(str(tmp_path / name)).model.graph
    with pytest.raises(DlnError, match="is the library"):
        spec.from_source(Source(f"{tmp_path}/net.dln", f'use "std.dln"\n{text}'), "net")
