"""Names are told apart by where they stand, not by how they are spelt: the same spec under other
names gives the same numbers."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dln
from dln.grammar import diagnostics
from dln.grammar.diagnostics import MOST_FOUND, DlnError
from dln.running.expectations import verdicts

SPEC = """
const {C} = 3
data {D} = rows([[1, 2, 5], [3, 5, 1], [0, 1, 2], [4, 1, 1], [2, 2, 2], [1, 0, 3]]) {{
  {F}[2] = raw[:2]
  {G} = raw[2]
  split {PA} 4, {PB} 2
}}
fn {FN}({FP}) = {FP} * {FP} + 1
block {B}({X}[size]; {O}) -> {Y}[{O}] {{
  param {W}[{O}, size] = 0.25, {V}[{O}] = 0.5
  {H} = {W} @ {X}
  {K}[{I}] = {H}[{I}] + {V}[{I}]
  {Y} = tanh({K})
}}
block around({X}[size]) -> {Y}[2] {{
  let {L} = {B}({C})
  {H} = {L}({X})
  {Y} = {H} -> {B}(2)
}}
block rolled({X}[size]) -> {Y} {{
  param {W} = 0.5
  {R}[-1] = {X}
  scan {T} in 3 {{
    {R}[{T}] = {W} * {R}[{T}-1] + {X}
  }}
  {Y} = sum(last({R}))
}}
let {N} = around()
let {M} = rolled()
train {PH} on {D}.{PA} batch 2 order file for 3 epochs seed 3 {{
  state {S} = 0.5
  {S} := {S} + 0.25
  {E} = {FN}(sum({N}({F})) + {M}({F}) - {G})
  step {Z} {{
    minimize {E} over {N} with sgd(lr = 0.01, momentum = 0.5)
  }}
  minimize {E} + {S} over {M} with sgd(lr = 0.001)
  watch {WA} = {E} on {D}.{PB} every 1 epoch
  watch {WB} = {E} + {S} every 1 epoch
  checkpoint best by {WA}
  until {WB} < 0
  expect {WA} >= 0
}}
task {TA}({TO} = 2) {{
  {TE} = sum({N}([1, {TO}]))
  emit {TE}
}}
check "numbers" {{
  let {CL} = {B}(4)
  {CE} = sum({CL}([1, 2, 3]))
  expect params({N}) == 17
  expect params({M}) == 1
  expect params({CL}) == 16
  expect {CE} == 4 * tanh(2)
  expect {PH}.{WA} >= 0
  expect {PH}.{WB} >= 0
  expect {PH}.best.{WA} <= {PH}.{WA}
}}
"""
ROLES = (
    "C D F G PA PB FN FP B X O Y W V H K I L R T N M PH S E Z WA WB TA TO TE CL CE"
).split()  # fmt: skip
NAMES = (
    "check checker check0 task param value state step batch loss init phase until epoch epochs"
    " updates raw length fit x y net spec data train plan session input output node"
    " graph seed anonymous up down free h i t p lr g count real index prob logits self inf nan"
    " carried emit value_loss watch_loss W b n d_2 net_2"
).split()  # fmt: skip


def numbers(names: dict[str, str]) -> tuple[list[Any], ...]:
    """What the spec gives under some names: parameters, watches, the best of one, outcomes."""
    made = dln.load(SPEC.format(**names))
    session = made.compile(dtype="float64").session(seed=0)
    result = session.train(names["PH"])
    watched = [*(result.watch[names[w]] for w in ("WA", "WB")), result.best[names["WA"]]]
    found = verdicts(made.model, session)
    return (
        [np.asarray(session.params[k]) for k in session.params],
        watched,
        [v.value for v in found],
        [v.status for v in found],
    )


@pytest.fixture(scope="module")
def plain() -> tuple[list[Any], ...]:
    return numbers({role: f"q{role}" for role in ROLES})


@pytest.mark.parametrize("seed", range(6))
def test_renaming_changes_no_number(plain: tuple[list[Any], ...], seed: int) -> None:
    rng = random.Random(seed)
    names = dict(zip(ROLES, rng.sample(NAMES, len(ROLES)), strict=True))
    params, watched, values, statuses = numbers(names)
    for a, b in zip(params, plain[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert (watched, values, statuses) == plain[1:]
    assert set(statuses) == {"passed"}


LINE = """
block line(x[n]) -> y {
  param w[n] = 1
  y = w @ x
}
"""


def load(text: str, folder: Path, **files: str) -> dln.Spec:
    for name, body in files.items():
        (folder / f"{name}.dln").write_text(LINE + body)
    path = folder / "net.dln"
    path.write_text(text)
    return dln.load(path)


def test_files_may_use_the_same_names(tmp_path: Path) -> None:
    """A data set, an instance and a phase of the spec beside those of a used file."""
    used = "let fit = line()\ndata d = rows([[1, 2], [3, 5]]) {\n  x[2] = raw\n}\n"
    made = load(
        'use "a.dln" as A\n'
        "data d = rows([[10, 20, 30], [30, 50, 40]]) {\n  x[3] = raw\n}\n"
        "train one on A.d batch 2 for 1 update {\n  watch m = A.fit(x)\n}\n"
        "train fit on d batch 2 for 1 update {\n"
        "  let h = A.line()\n"
        "  minimize h(x) over h with sgd(lr = 1)\n"
        "  watch m = sum(x)\n"
        "}\n"
        "task A_fit() {\n  let g = A.line()\n  emit g([1, 2, 3, 4])\n}\n"
        'check "own" {\n  expect params(A.fit) == 2\n}\n',
        tmp_path,
        a=used,
    )
    session = made.compile().session(seed=0)
    assert session.train("one").watch["m"] == (3 + 8) / 2
    assert session.train("fit").watch["m"] == (60 + 120) / 2
    np.testing.assert_allclose(session.params["fit.h.w"], [-19, -34, -34])
    assert [v.status for v in verdicts(made.model)] == ["passed"]


def test_each_round_of_a_for_has_data_of_its_own() -> None:
    made = dln.load(
        "for k in 1..2 {\n"
        "  data d = rows([[k]]) {\n    x[1] = raw\n  }\n"
        "  train t[k] on d batch 1 for 1 update {\n    watch m = sum(x)\n  }\n"
        "}\n"
    )
    session = made.compile().session(seed=0)
    assert [session.train(f"t[{k}]").watch["m"] for k in (1, 2)] == [1, 2]


def test_an_instance_that_a_check_makes_is_no_parameter() -> None:
    text = LINE + (
        'let check = line()\nlet checked = check([1, 2])\ncheck "a" {\n  let g = line()\n'
        "  expect g([1, 2, 3]) == 6\n  expect line()([1, 2, 3, 4]) == 10\n"
        "  expect params(g) == 3\n  expect params(check) == 2\n}\n"
    )
    made = dln.load(text)
    assert list(made.compile().plan.params) == ["check.w"]
    assert {v.status for v in verdicts(made.model)} == {"passed"}


def test_phases_are_asked_by_their_numbers() -> None:
    """Not by their places: the first of these is number 3."""
    made = dln.load(
        "data d = rows([[1]]) {\n  x[1] = raw\n}\n"
        "for k in [3, 1] {\n"
        "  train t[k] on d for 1 update {\n    watch m = k\n  }\n"
        "}\n"
        'check "m" {\n  expect t[1].m == 1\n  expect t[3].m == 3\n'
        "  expect [for p in t: p.m] == [1, 3]\n}\n"
    )
    session = made.compile().session(seed=0)
    for name in ("t[3]", "t[1]"):
        session.train(name)
    assert {v.status for v in verdicts(made.model, session)} == {"passed"}


def test_a_field_called_raw_leaves_raw_as_it_is() -> None:
    made = dln.load(
        "data raw = rows([[1, 2, 7]]) {\n  raw[2] = raw[:2]\n  z = raw[2]\n}\n"
        "train t on raw for 1 update {\n  watch a = sum(raw)\n  watch b = z\n}\n"
    )
    assert made.compile().session(seed=0).train("t").watch == {"a": 3.0, "b": 7.0}


def test_a_loss_makes_the_same_instance_whenever_it_is_worked_out() -> None:
    made = dln.load(
        LINE + "data d = rows([[1, 2]]) {\n  x[2] = raw\n}\nlet net = line()\n"
        "train t on d for 1 update {\n  minimize net(x) * line()(x) over net with sgd(lr = 1)\n}\n"
    )
    assert list(made.compile().plan.params) == ["net.w", "anonymous.w"]


def test_a_phase_is_one_or_has_numbers() -> None:
    one = "train pre on d for 1 update {\n  watch m = sum(x)\n}\n"
    for text in (one + one.replace("pre", "pre[0]"), one.replace("pre", "pre[0]") + one):
        with pytest.raises(DlnError) as caught:
            dln.load("data d = rows([[1]]) {\n  x[1] = raw\n}\n" + text)
        assert [p.code for p in caught.value.problems] == ["E334"]


def test_many_unknown_names_take_little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearest names are looked for as often as problems are printed, however many there are."""
    looked = 0

    def counted(a: str, b: str) -> int:
        nonlocal looked
        looked += 1
        return len(a) + len(b)

    monkeypatch.setattr(diagnostics, "slips", counted)
    for n in (150, 2500):
        looked = 0
        with pytest.raises(DlnError) as caught:
            dln.load("".join(f"let b{i} = a{i}\n" for i in range(n)))
        found, least = (n, "") if n < MOST_FOUND else (MOST_FOUND, "at least ")
        assert len(caught.value.problems) == found
        assert str(caught.value).endswith(f"\n\nand {least}{found - 20:,} more")
        assert looked <= 20 * 1000


def test_a_line_costs_the_same_among_many() -> None:
    """Calls of Python and C that a line with an unknown name takes, from text to message."""
    spent = {n: _calls("".join(f"let b{i} = a{i}\n" for i in range(n))) for n in (10, 2000, 4000)}
    assert spent[2000] < 450_000
    assert (spent[4000] - spent[2000]) / 2000 < 180


def _calls(text: str) -> int:
    count = 0

    def called(frame: object, event: str, given: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    with pytest.raises(DlnError):
        sys.setprofile(called)
        try:
            dln.load(text)
        finally:
            sys.setprofile(None)
    return count
