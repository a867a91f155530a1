"""The standard library: every definition has a row in its table and, of those that are read on
demand, a value worked out by hand in `library.dln`; a spec that uses none of them reads none."""

from __future__ import annotations

import re
from pathlib import Path

import dln
import dln.spec as spec
from dln.running.expectations import verdicts

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
HELPERS = {"fitting", "covered"}


def test_every_value_by_hand() -> None:
    found = verdicts(dln.load(HERE / "library.dln").model)
    assert found and [v.text for v in found if v.status != "passed"] == []


def test_every_definition_has_a_row_and_a_value() -> None:
    table = (ROOT / "specs/README.md").read_text(encoding="utf-8").partition("## The standard")[2]
    said = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", table))))
    standard = spec.DEFINED.findall((ROOT / "specs/std.dln").read_text(encoding="utf-8"))
    assert not {*standard, *spec.shelf()} - said - HELPERS
    values = set(re.findall(r"\w+", (HERE / "library.dln").read_text(encoding="utf-8")))
    assert not set(spec.shelf()) - values - HELPERS


def test_no_name_is_defined_twice() -> None:
    files = [ROOT / "specs/std.dln", *sorted((ROOT / "specs/std").glob("*.dln"))]
    names = [n for f in files for n in spec.DEFINED.findall(f.read_text(encoding="utf-8"))]
    assert len(names) == len(set(names))


def test_only_what_is_used_is_read() -> None:
    plain = dln.load("let net = dense(2)\nlet y = net([1, 2])\n")
    assert [Path(p).name for p in plain.model.sources if p.endswith(".dln")] == ["std.dln"]
    more = dln.load("let net = conv1d(2, 2)\nlet y = net([[1, 2]])\n")
    found = [Path(p).name for p in more.model.sources if p.endswith(".dln")]
    assert found == ["std.dln", "convolutions.dln"]
    own = dln.load("block conv1d(x) -> y { y = 2 * x }\nlet net = conv1d()\nlet y = net(3)\n")
    assert [Path(p).name for p in own.model.sources if p.endswith(".dln")] == ["std.dln"]
