"""What an earlier process has worked out of a spec stands for what would be worked out now, or for
nothing: changed files, versions and options, damage and forgery."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import dln
from dln.cli import carried_out, main
from dln.compiler.ir.tensor_type import IndexAxis
from dln.compiler.model import Model
from dln.compiler.plan import Plan
from dln.compiler.schema.keys import ProgramKind
from dln.grammar.diagnostics import Problem, Source, Span
from dln.kept import folder, kept_spec
from dln.kept.as_text import Unkept, from_plain, to_plain
from dln.kept.folder import Folder
from dln.reading import tables

SPEC = """use "parts.dln"
data points = table("points.csv") {
  x[2] = raw[:2]
  label: class(2) = raw[2]
}
let net = two()
train fit on points batch 4 for 1 epoch {
  minimize cross_entropy(net(x), label) over net with sgd(lr = rate)
  watch error = argmax(net(x)) != label every 1 epoch
}
const rate = 0.1
check "what it has" {
  expect params(net) == 12
}
"""
PARTS = """block two(x[n]) -> z[2]: logit {
  z = x -> dense(2, act = tanh) -> dense(2)
}
"""
ROWS = "\n".join(f"{i % 3}.5,{i % 5}.25,{i % 2}" for i in range(20))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DLN_CACHE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dln" / "plans"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    for name, text in (("net.dln", SPEC), ("parts.dln", PARTS), ("points.csv", ROWS)):
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path / "net.dln"


def is_known(spec: dln.Spec) -> bool:
    """Whether a spec was read by an earlier process: its model has not been built."""
    return "model" not in vars(spec)


def whole(plan: Plan) -> str:
    """All of a plan, its programs too."""
    fields = {k: getattr(plan, k) for k in plan._fields if k != "programs"}
    return repr((fields, {k: plan.programs[k] for k in plan.programs}))


def files(place: Path) -> Iterator[tuple[Path, str, Any]]:
    """The files of a cache, with the names and the data in them."""
    for path in sorted(place.rglob("*.json")):
        (_, name), data = json.loads(path.read_bytes().partition(b"\n")[2])
        yield path, name, data


# ---- the same, and only where it is the same ---------------------------------------------------


def test_what_is_kept_is_what_would_be_worked_out(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLN_CACHE", "0")
    plain = dln.load(net)
    monkeypatch.setenv("DLN_CACHE", "1")
    first = dln.load(net)
    first.compile().session(seed=1).train("fit")
    again = dln.load(net)
    assert not is_known(plain) and not is_known(first) and is_known(again)
    assert repr(again.facts) == repr(plain.facts)
    assert whole(again.compile().plan) == whole(plain.compile().plan)
    trained = [spec.compile().session(seed=1) for spec in (plain, again)]
    for session in trained:
        session.train("fit")
    assert all(np.array_equal(trained[0].params[k], trained[1].params[k]) for k in
               plain.compile().plan.params)  # fmt: skip
    assert again.model.constants == plain.model.constants  # it can be built all the same


def test_programs_of_one_recipe_are_one(net: Path) -> None:
    for spec in (dln.load(net), dln.load(net)):
        programs = spec.compile().plan.programs
        single, double = (ProgramKind.INIT.of(dtype) for dtype in ("float32", "float64"))
        assert programs[single] is programs[double]


def test_a_changed_file_constant_or_option_is_another_spec(net: Path) -> None:
    def anew(**given: Any) -> bool:
        made = not is_known(dln.load(net, **given))
        assert is_known(dln.load(net, **given))
        return made

    assert anew() and anew(rate=0.2)
    net.with_name("parts.dln").write_text(PARTS.replace("dense(2, ", "dense(3, "), "utf-8")
    assert anew() and dln.load(net).facts.parameters == 17
    net.with_name("points.csv").write_text(f"{ROWS}\n1.5,2.5,0", "utf-8")
    assert anew() and dln.load(net).compile().plan.data["points"].count == 21
    net.write_text(SPEC.replace("0.1", "0.3"), "utf-8")
    assert anew() and dln.load(net).facts.constants["rate"] == 0.3


def test_the_numbers_of_a_table_are_looked_at_once_for_its_bytes(
    net: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks: list[object] = []

    def look(model: Model) -> list[Problem]:
        looks.append(model)
        return [Problem("W313", "likely wrong", Span(model.source, 0, 3), word="warning")]

    monkeypatch.setattr(tables, "check_tables", look)
    said = []
    for lines in (ROWS, ROWS, "\n".join(ROWS.split("\n")[::-1])):  # and in another order
        net.with_name("points.csv").write_text(lines, "utf-8")
        assert carried_out(["check", str(net)]) == 0
        said.append((len(looks), "".join(capsys.readouterr())))
    assert [n for n, _ in said] == [1, 1, 2]
    assert "W313" in said[0][1] and len({text for _, text in said}) == 1

    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(net.parent / "cache"))
    net.with_name("points.csv").write_text(ROWS.replace("0.25,0", "0.25,7"), "utf-8")
    for _ in range(2):  # what is refused is not kept
        assert carried_out(["check", str(net)]) == 2
        assert "7" in capsys.readouterr().err


def test_another_version_of_dln_or_numpy_knows_nothing(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dln.load(net)
    monkeypatch.setattr(kept_spec, "own", lambda: "another")
    assert not is_known(dln.load(net))


def test_a_used_file_that_is_gone_is_missed(net: Path) -> None:
    dln.load(net)
    net.with_name("parts.dln").unlink()
    with pytest.raises(dln.DlnError, match="E384"):
        dln.load(net)


def test_what_fails_is_not_kept(net: Path, cache: Path) -> None:
    net.write_text(SPEC + "let wrong = nothing()\n", "utf-8")
    for _ in range(2):
        with pytest.raises(dln.DlnError):
            dln.load(net)
    assert not list(files(cache))


def test_it_can_be_turned_off(net: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("DLN_CACHE", "0"), ("DLN_VERIFY", "1")):
        with monkeypatch.context() as m:
            m.setenv(name, value)
            dln.load(net).compile().session()
            assert not cache.exists()
    dln.load(net)
    with monkeypatch.context() as m:
        m.setenv("DLN_CACHE", "0")
        assert not is_known(dln.load(net))


# ---- damage and forgery ------------------------------------------------------------------------


def test_what_is_damaged_is_made_anew(net: Path, cache: Path) -> None:
    first = dln.load(net).compile().plan
    wanted = whole(first)
    for path, _, _ in list(files(cache)):
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 1
        for bad in (bytes(body), b"", body[:40], b"\xff" * 100):
            path.write_bytes(bad)
            assert whole(dln.load(net).compile().plan) == wanted
        assert path.read_bytes() not in (bytes(body), b"")


def test_a_file_in_the_place_of_another_counts_for_nothing(net: Path, cache: Path) -> None:
    plan = dln.load(net).compile().plan
    wanted = whole(plan)
    programs = [path for path, name, _ in files(cache) if name.startswith("program")]
    texts = [path.read_bytes() for path in programs]
    for path, text in zip(programs, texts[1:] + texts[:1], strict=True):
        path.write_bytes(text)
    assert whole(dln.load(net).compile().plan) == wanted


def test_a_forged_program_is_looked_at_as_any_other(net: Path, cache: Path) -> None:
    dln.load(net).compile().session().train("fit")
    for path, name, data in files(cache):
        if name.endswith("step:fit"):
            text = json.dumps([[path.parent.name, name], data])
            body = text.replace("return run", "__import__('os').abort()").encode()
            path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    with pytest.raises(dln.DlnError, match="a program text"):
        dln.load(net).compile().session().train("fit")


# ---- where it is kept --------------------------------------------------------------------------


def test_what_was_used_longest_ago_goes_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MOST_BYTES", 3000)
    for i in range(5):
        made = Folder(f"key{i}")
        made.write("value", ["x" * 1000])
        os.utime(made.path, (i, 9 if i == 1 else i))
    assert sorted(p.name for p in cache.iterdir()) == ["key1", "key3", "key4"]
    assert Folder("key4").read("value") == ["x" * 1000] and Folder("key0").read("value") is None


def test_a_write_that_fails_leaves_no_litter(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Folder("key").write("value", 1)

    def fails(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fails)
    Folder("key").write("value", 2)
    assert Folder("key").read("value") == 1 and len(list((cache / "key").iterdir())) == 1


def test_a_run_is_verified_with_nothing_that_was_kept(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(net), "--out", run])
    seen = list[str]()
    monkeypatch.setattr(Folder, "read", lambda self, name: seen.append(name))
    with pytest.raises(SystemExit, match="0"):
        main(["verify", run])
    assert not seen and "differs" not in capsys.readouterr().out


def test_where_nothing_can_be_written_all_is_worked_out(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert not is_known(dln.load(net))


def test_a_second_process_reads_and_compiles_nothing(net: Path) -> None:
    text = f"""
import sys, dln
dln.load({str(net)!r}).compile().session().train("fit")
print(*(m for m in sys.modules if m in ("lark", "networkx", "click") or m.startswith("dln.")))
"""
    seen = [
        subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True)
        for _ in range(2)
    ]
    before, after = (set(run.stdout.split()) for run in seen)
    assert {"lark", "dln.compiler.frontend.build", "dln.compiler.lower.emit"} <= before
    parts = {m.split(".")[2] for m in after if m.startswith("dln.compiler.")}
    assert parts == {"plan", "schema"} and not {"lark", "networkx", "click"} & after


# ---- values as text ----------------------------------------------------------------------------


SOURCE = Source("net.dln", "let net = two()\n")
VALUES = (
    (1, 2.5, -0.0, float("inf"), True, None, "é\n"), [1, (2, [3])], {"a": (1,), ("b", 2): []},
    frozenset({"x", "y"}), IndexAxis("i", 3), ProgramKind.WATCH.of("fit", "error"), 1e-320, 2**70,
    Problem("E310", "wrong", Span(SOURCE, 4, 7), facts=("a", "b")),
)  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=map(str, range(len(VALUES))))
def test_a_value_comes_back(value: Any) -> None:
    back = from_plain(json.loads(json.dumps(to_plain(value))), {"net.dln": SOURCE})
    assert back == value and type(back) is type(value)
    assert isinstance(value, frozenset) or repr(back) == repr(value)


def test_what_has_no_form_is_refused() -> None:
    for value in (np.float64(1), np.ones(2), object(), {1, 2}, Path(), lambda: 0, print):
        with pytest.raises(Unkept):
            to_plain(value)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
LETTERS = st.sampled_from(["r", "d", "l", "s", "o", "k", "x", "q"])
JSON = st.recursive(
    LEAVES | st.sampled_from(["Plan", "Program", "Span", "Problem", "os"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(LETTERS, inner, max_size=2),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JSON)
@example({"r": []})
@example({"x": ["a", float("inf")]})
def test_any_data_are_a_value_or_refused(data: Any) -> None:
    try:
        from_plain(data, {})
    except Unkept:
        pass
