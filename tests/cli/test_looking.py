"""check, show, plan, explain, gradcheck, time: commands that train nothing."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dln.grammar.parser import parse
from dln.runtime.device import limits
from dln.spec import LIBRARIES, load

SHIPPED = sorted(p.stem for p in (Path(__file__).parents[2] / "specs").glob("*.dln"))


def test_dln_alone_lists_commands_and_specs(dln: Callable[..., Any]) -> None:
    got = dln()
    assert got.code == 0
    for name in ("check", "run", "sweep", "gradcheck", "perceptron", "Rosenblatt"):
        assert name in got.out
    assert max(map(len, got.out.splitlines())) <= 80


@pytest.mark.parametrize("spec", [s for s in SHIPPED if s not in LIBRARIES])
def test_every_shipped_spec_checks(dln: Callable[..., Any], spec: str) -> None:
    got = dln("check", spec)
    assert got.code == 0, got.out + got.err
    assert spec in got.out and "failed" not in got.out


def test_check_says_what_was_tested_and_what_not(dln: Callable[..., Any], line: Path) -> None:
    got = dln("check", line)
    assert "passed   two numbers make a line (1 expectation)" in got.out
    assert "not run  it is found (0 of 2 expectations tested: the phase fit was not run)" in got.out
    assert "line: 2 parameters in 2 tensors, 2 phases, 1 data set" in got.out
    assert got.out.endswith("1 passed, 3 not run\n")


def test_check_as_json(dln: Callable[..., Any], line: Path) -> None:
    data = dln("check", line, "--json").data
    assert data["spec"] == "line" and data["parameters"] == 2 and data["phases"] == ["fit", "again"]
    assert data["checks"][0] == {
        "text": "two numbers make a line", "expect": "params(line) == 2", "status": "passed",
        "value": 2.0, "expected": 2.0, "within": None, "reason": "", "op": "==", "phases": [],
    }  # fmt: skip


def test_a_failed_check_shows_both_sides_and_exits_1(dln: Callable[..., Any], line: Path) -> None:
    got = dln("check", line, "-D", "wide=1", "-D", "rate=0.2")
    assert got.code == 0
    line.write_text(line.read_text().replace("params(line) == 2", "params(line) == 3"))
    got = dln("check", line)
    assert got.code == 1
    assert "failed   two numbers make a line" in got.out
    number = line.read_text().split("params(line) == 3")[0].count("\n") + 1
    assert "measured 2, expected 3" in got.out and f"line.dln:{number}:" in got.out


def test_what_is_not_equal_is_printed_until_it_differs(
    dln: Callable[..., Any], tmp_path: Path
) -> None:
    """The digits are Python's own; with the tolerance that is said, each of them holds."""
    path = tmp_path / "sums.dln"
    lines = {
        "0.1 + 0.2 == 0.3": "measured 0.30000000000000004, expected 0.3: equal within 1e-16",
        "[1, 0.1 + 0.2] == [1, 0.3]": "measured [1, 0.30000000000000004], expected [1, 0.3]",
        "0.1 + 0.2 <= 0.3": "measured 0.30000000000000004, expected <= 0.3",
        "1 / 3 == 0.333333333": "measured 0.3333333333, expected 0.333333333: equal within 1e-09",
        "1 / 3 == 0.333": "measured 0.333333, expected 0.333\n",
    }
    path.write_text('check "sums" {\n' + "".join(f"  expect {x}\n" for x in lines) + "}\n")
    got = dln("check", path)
    assert got.code == 1 and all(text in got.out for text in lines.values()), got.out
    near = [f"{x} within {t.split('within ')[1]}" for x, t in lines.items() if "within" in t]
    path.write_text('check "sums" {\n' + "".join(f"  expect {x}\n" for x in near) + "}\n")
    assert dln("check", path).code == 0


def test_show_writes_out_every_default(dln: Callable[..., Any], line: Path) -> None:
    got = dln("show", line, "-D", "rate=0.25")
    assert got.code == 0
    assert "const rate = 0.25" in got.out
    assert "order shuffled for 60 epochs dtype float32" in got.out
    assert "sgd(lr = rate, momentum = 0, decay = 0)" in got.out
    assert "dense(wide, init = zero, act = id)" in got.out
    assert "line.W" in got.out and "[1, 1]" in got.out and "# parameters: 2" in got.out


STREAM = """
use "shakespeare.dln"
data lines = text("tinyshakespeare.txt") {
  c[time]: class(V) = raw[:-1]
}
data short = text("tinyshakespeare.txt") like bard {
  set window = 20
}
train a on lines stream 50 for 1 epoch {
  watch w = mean(onehot(c))
}
train b on bard.fit batch all for 1 epoch {
  watch w = mean(onehot(c))
}
"""


def test_show_writes_out_a_window_and_no_order_of_a_stream(
    dln: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "s.dln"
    path.write_text(STREAM)
    got = dln("show", path)
    assert got.out.count("set window = 50") == 1 and got.out.count("set window = 20") == 1
    assert "train a on lines stream 50 for 1 epoch dtype float32 {" in got.out
    assert "train b on bard.fit batch all order shuffled for 1 epoch dtype float32 {" in got.out
    assert "a  on lines.all stream 50 for 1 epoch" in got.out
    assert "b  on bard.fit batch all order shuffled for 1 epoch" in got.out


@pytest.mark.parametrize("spec", [s for s in SHIPPED if s not in LIBRARIES])
def test_what_show_prints_means_the_same(
    dln: Callable[..., Any], spec: str, tmp_path: Path
) -> None:
    shown = dln("show", spec, "--json").data
    parse(shown["text"])
    again = tmp_path / "again.dln"
    again.write_text(shown["text"], encoding="utf-8")
    data = Path(__file__).parents[2] / "specs" / "data"
    for table in (*data.glob("*.csv"), *data.glob("*.txt")):
        (tmp_path / table.name).write_bytes(table.read_bytes())
    other = dln("show", again, "--json").data
    for key in ("text", "tensors", "parameters", "phases", "constants"):
        assert other[key] == shown[key]


@pytest.mark.parametrize(
    ("option", "start"), [("--graph", "n0"), ("--dot", "digraph"), ("--mermaid", "flowchart")]
)
def test_show_draws_the_graph(dln: Callable[..., Any], line: Path, option: str, start: str) -> None:
    assert dln("show", line, option).out.startswith(start)


def test_plan_prints_programs_and_their_cost(dln: Callable[..., Any], line: Path) -> None:
    got = dln("plan", line)
    assert got.code == 0
    assert "def bind(xp, n, seed, v):" in got.out and "step:fit" in got.out
    one = dln("plan", line, "--program", "step:fit", "--json").data
    assert list(one["programs"]) == ["step:fit"] and one["programs"]["step:fit"]["flops"] > 0


def test_plan_for_a_gpu_needs_none(dln: Callable[..., Any], line: Path) -> None:
    got = dln("plan", line, "--backend", "cupy", "--program", "step:fit")
    assert got.code == 0 and "step:fit: cupy, float32" in got.out


def test_explain_tells_rule_place_before_and_after(dln: Callable[..., Any]) -> None:
    got = dln("explain", "mlp", "--pass", "stabilise", "--program", "step:sse")
    assert got.code == 0
    first = got.out.split("\n\n")[0].splitlines()
    assert first[0].startswith("stabilise: ") and "step:sse" in first[0]
    assert any(x.startswith("  at ") and "mlp.dln:" in x for x in first)
    assert first[-2].startswith("  - ") and first[-1].startswith("  + ")


def test_explain_tells_how_a_program_is_laid_out(dln: Callable[..., Any]) -> None:
    program = load("backprop").compile(shards=2).plan.programs
    words = ["explain", "backprop", "--shards", "2", "--json"]
    steps = dln(*words, "--pass", "schedule", "--program", "step:first").data["rewrites"]
    assert len(steps) == len(program["step:first"].lines)
    assert steps[0]["after"] == program["step:first"].lines[0].code
    slots = dln(*words, "--pass", "allocate", "--program", "step:first").data["rewrites"]
    assert len(slots) == len(program["step:first"].slots) and slots[0]["after"] == "16 bytes"
    assert "v12 steps 1 to " in slots[0]["before"]
    sums = dln(*words, "--pass", "shards").data["rewrites"]
    weights = [row["after"] for row in sums if row["programs"][0].startswith("shard:first")]
    assert weights.count("added over the shards: 32 bytes") == 2  # of 2 x 2 numbers in float64
    assert dln("explain", "backprop", "--pass", "shards").out == "0 rows\n"


def test_explain_as_json(dln: Callable[..., Any]) -> None:
    rows = dln("explain", "mlp", "--pass", "stabilise", "--json").data["rewrites"]
    assert rows and {"pass", "rule", "exact", "at", "before", "after"} <= rows[0].keys()


def test_gradcheck_agrees(dln: Callable[..., Any], line: Path) -> None:
    got = dln("gradcheck", line, "--phase", "fit")
    assert got.code == 0
    assert "2 gradients checked, 0 wrong" in got.out


def test_gradcheck_of_a_spec_without_gradients(dln: Callable[..., Any]) -> None:
    got = dln("gradcheck", "perceptron")
    assert got.code == 2 and "minimises nothing" in got.err


def test_time_by_line_of_the_spec(
    dln: Callable[..., Any], line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("time", line, "--phase", "again")
    data = dln(*words, "--json").data["phases"]["again"]
    assert data["examples"] == 4 and data["milliseconds"] > 0
    assert any("line.dln:" in x["at"] for x in data["lines"] if x["at"])
    for x in data["lines"]:
        least = max(x["flops"] / 2e9, x["bytes"] / 4e9)  # by conftest.py; all is in the caches
        assert x["of_limit"] == pytest.approx(least / (x["milliseconds"] / 1e3))
        assert sum(op["calls"] for op in x["operations"].values()) == x["calls"]
    assert "limits: 2 GFLOP/s in products, 4 GB/s in caches" in dln(*words).out
    monkeypatch.setattr(limits, "measured", lambda *_: limits.Limits(5e9, 1e9, 1e9, 1e9))
    assert "limits: 2 GFLOP/s" in dln(*words).out  # what was measured is kept
    monkeypatch.setattr(limits, "measured", lambda *_: limits.Limits(3e9, 1.0, 1.0, 1.0))
    assert "limits: 3 GFLOP/s" in dln(*words, "--anew").out
    monkeypatch.setattr(limits, "measured", lambda *_: limits.Limits(2e9, 1e9, 1e9, 1e9))
    said = dln(*words).out  # a limit that is passed is measured again, and the higher one kept
    assert "limits: 3 GFLOP/s in products, 1 GB/s" in said


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["check", "mpl"], "try: mlp"),
        (["chek", "mlp"], "check"),
        (["check", "mlp", "--jsn"], "--json"),
        (["check", "mlp", "-D", "hiden=3"], "try: hidden"),
        (["check", "mlp", "-D", "hidden"], "NAME=VALUE"),
        (["check", "mlp", "-D", "hidden=1", "-D", "hidden=2"], "given twice"),
        (["plan", "mlp", "--program", "stp:sse"], "try: step:sse"),
        (["explain", "mlp", "--pass", "stabilize"], "try: stabilise"),
        (["time", "mlp", "--phase", "ssse"], "try: sse"),
        (["run"], "dln run SPEC"),
        (["run", "mlp", "--epochs", "-1"], "epochs"),
        (["run", "mlp", "--limit", "0"], "limit"),
        (["run", "mlp", "--phase", "see"], "try: sse"),
        (["sweep", "perceptron"], "has no sweep"),
        (["task", "nowhere", "x"], "holds no run"),
        (["derive", "mlp"], "not built yet"),
    ],
)
def test_mistakes_are_told_with_a_remedy_and_exit_2(
    dln: Callable[..., Any], words: list[Any], says: str
) -> None:
    got = dln(*words)
    assert got.code == 2
    assert says in got.err and "Traceback" not in got.err and got.out == ""


def test_problems_as_json(dln: Callable[..., Any], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.dln"
    wrong.write_text("let net = dens(3)\nlet other = dense(\n", encoding="utf-8")
    got = dln("check", wrong, "--json")
    assert got.code == 2
    problems = got.data["problems"]
    assert problems and problems[0]["at"]["path"].endswith("wrong.dln")
    assert dln("check", "--json").data["problems"][0]["code"] == "E001"


def test_a_defect_is_one_line_and_exit_1(
    dln: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("nobody\nforesaw this")

    monkeypatch.setattr("dln.running.expectations.verdicts", broken)
    got = dln("check", "mlp")
    assert got.code == 1
    assert "ZeroDivisionError: nobody" in got.err and "DLN_DEBUG=1" in got.err
    assert "Traceback" not in got.err
    monkeypatch.setenv("DLN_DEBUG", "1")
    assert "Traceback" in dln("check", "mlp").err


def test_debug_levels(dln: Callable[..., Any], line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLN_DEBUG", "2")
    monkeypatch.setenv("DLN_VERIFY", "1")
    got = dln("plan", line, "--program", "step:fit")
    assert got.code == 0 and "debug: step:fit: differentiate: " in got.err
    monkeypatch.setenv("DLN_DEBUG", "9")
    assert "from 0 to 4" in dln("plan", line).err


# ---- as a process --------------------------------------------------------------------------------


def modules_after(*words: str) -> set[str]:
    """The modules loaded when a command is done."""
    code = (
        "import json, sys\nfrom dln.cli import carried_out\n"
        f"code = carried_out({list(words)!r})\n"
        "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    code_found, names = json.loads(done.stderr.splitlines()[-1])
    assert code_found == 0
    return {n.split(".")[0] for n in names}


@pytest.mark.parametrize("words", [("--help",), (), ("check", "mlp"), ("check", "softmax")])
def test_looking_loads_no_heavy_library(words: tuple[Any, ...]) -> None:
    heavy = {
        "numpy",
        "rich",
        "safetensors",
        "matplotlib",
        "scipy",
        "onnx",
        "cupy",
        "sklearn",
        "mpi4py",
    }
    assert modules_after(*words) & {*heavy, "mpi4py"} == set()


def test_a_closed_pipe_is_no_defect() -> None:
    command = f"{sys.executable} -m dln plan mlp | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "rror" not in done.stderr and done.stdout.count("\n") == 1


UNTRAINED = """
data d = rows([[1]]) {
  x[1] = raw
}
let first = dense(1)
let second = dense(1)
train fit on d for 1 update {
  minimize sum(second(first(x))) over second with sgd(lr = 1)
}
"""


@pytest.mark.parametrize("command", ["check", "run"])
def test_what_no_phase_trains_is_warned_of(dln: Any, tmp_path: Path, command: str) -> None:
    (tmp_path / "a.dln").write_text(UNTRAINED)
    said = dln(command, "a.dln", "--json")
    assert said.code == 0 and said.err.startswith("warning[W300]: no phase trains first.W, first.b")
    (found,) = said.data["warnings"]
    assert found["code"] == "W300" and found["at"]["path"] == "a.dln" and found["at"]["line"] == 8
    assert "warning" not in dln(command, "a.dln", "--quiet").err


# ---- what may be read in two ways ---------------------------------------------------------------

TWO_WAYS = """\
data d = rows([[1, 2, 3]]) {{
  x[3] = raw
}}
block f(x[n]; same) -> y {{
  y = sum({})
}}
let m = f(same = 1)
let k = f(same = 0)
train one on d batch all for 1 update {{
  minimize m(x) + k(x) over k with sgd(lr = 0.1)
}}
"""


def test_a_flow_behind_a_choice_is_told_with_both_readings(
    dln: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "s.dln").write_text(TWO_WAYS.format("x if same == 1 else 2 * x -> dense(2)"))
    first = "(x if same == 1 else 2 * x) -> dense(2)"
    other = "x if same == 1 else (2 * x -> dense(2))"
    said = (
        f"passes on whatever is chosen in front of it, as in {first}: write it so; or {other} for"
    )
    for command in ("check", "run"):
        got = dln(command, "s.dln")
        assert got.code == 0 and got.err.count(said) == 1 and "s.dln:5:11: ->" in got.err
    assert said in dln("check", "s.dln", "--json").data["notes"][0]
    for text, parameters in ((first, 16), (other, 8)):
        (tmp_path / "s.dln").write_text(TWO_WAYS.format(text))
        got = dln("check", "s.dln")
        assert "note" not in got.err and f"{parameters} parameters" in got.out
