"""dln results: what is kept from run to run, and the page that is made of it."""

import json
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dln.reading.facts import Facts
from dln.results.page import Known, document, drawn_together
from dln.results.published import about
from dln.results.recipes import printed, problem_of
from dln.results.records import Measurements, in_words, read
from dln.results.verdicts import beyond, verdict
from dln.running.processes import Finished
from dln.spec import specs_folder

QUICK = """# A sum: of two numbers. More is not said.
# Slides 3, 7-9. Source: Euclid, 300 B.C., book 7.
const one = 1
data points = rows([[0, 1], [1, 3], [2, 5], [3, 7]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
let line = dense(1, init = zero)
train fit on points.all batch 2 for 60 epochs {
  minimize sum((line(x) - t)^2) / 2 over line with sgd(lr = 0.1)
  watch error = sum((line(x) - t)^2) every 1 epoch
}
train again on points.all batch all for 3 updates after fit {
  minimize sum((line(x) - t)^2) over line with sgd(lr = 0.01)
}
check "two numbers" {
  expect params(line) == 2
}
check "it is found" {
  expect fit.error == 0.001 within 0.01
}
check "again" slow {
  expect again.updates == 3
}
sweep sums {
  vary one in 1..2
  report fit.error
  expect fit.error < 1
}
"""

MISSED = """# A wrong claim.
check "two and two" {
  expect 2 + 2 == 5 within 0.25
}
"""

ONE = ("--jobs", "1", "--threads", "1")


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """A folder with a spec that passes and one that does not."""
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "quick.dln").write_text(QUICK)
    (folder / "missed.dln").write_text(MISSED)
    return folder


def of(name: str) -> dict[str, Any]:
    return json.loads(Path(f"page/{name}.json").read_text())


def page() -> str:
    return Path("page.md").read_text()


def test_it_runs_every_spec_and_writes_the_page(dln: Callable[..., Any], specs: Path) -> None:
    got = dln("results", "--specs", specs, "--to", "page.md", "--jobs", 2)
    assert got.code == 1
    assert "page.md: 2 specs\nmissed or failed: missed\n" in got.out
    assert "quick: 2 of 3 passed" in got.err and "missed: 0 of 1 passed" in got.err
    text = page()
    assert "| [`quick`](#quick) | 3, 7-9 | A sum | Euclid, 300 B.C., book 7 | 2 of 3 passed" in text
    assert "A sum. Slides 3, 7-9. Source: Euclid, 300 B.C., book 7.\n" in text
    assert "| two numbers: `params(line)` | 2 | 2 | exact |  |  | passed |" in text
    assert "| again: `again.updates` | 3 | not run | exact |  |  | not run (slow) |" in text
    assert "| two and two: `2 + 2` | 5 | 4 | ± 0.25 |  |  | **missed by 0.75** |" in text
    assert "Sweep `sums`: 2 runs, not run (`dln sweep quick sums`)." in text
    assert text.index("## quick") < text.index("## missed")
    assert str(specs) not in text + json.dumps(of("quick"))


def timeless(text: str) -> str:
    """A page on which all has taken a tenth of a second: a busy machine takes longer."""
    return re.sub(r"\| \d+\.\d s \|", "| 0.1 s |", text)


def test_a_slow_figure_stays_until_it_is_measured_again(
    dln: Callable[..., Any], specs: Path
) -> None:
    words = ("results", "quick", "--specs", specs, "--to", "page.md", "-q", *ONE)
    assert dln(*words, "--slow", "--seed", 5).code == 0
    slow = timeless(page())
    assert "| again: `again.updates` | 3 | 3 | exact | 0.1 s | 5 | passed |" in slow
    assert "| 1 | " in slow and "| 2 | " in slow and "Sweep `sums`: 2 runs." in slow
    assert dln(*words).code == 0
    both = of("quick")
    assert [r["seed"] for r in both["runs"]] == [5, 5, 0]  # the first run, its sweep, the second
    assert [f["run"] for f in both["figures"]] == [2, 2, 0]
    assert "| 3 | 3 | exact | 0.1 s | 5 | passed |" in timeless(page()) and "[^older]" not in page()

    changed = QUICK.replace("lr = 0.1)", "lr = 0.11)")
    (specs / "quick.dln").write_text("# Said otherwise.\n" + QUICK)
    dln("results", "--table", "--specs", specs, "--to", "page.md")
    assert "[^older]" not in page()  # a comment decides nothing
    (specs / "quick.dln").write_text(changed)
    dln("results", "--table", "--specs", specs, "--to", "page.md")
    assert page().count("passed[^older] |") == 5
    assert "[^older]: Measured before the last change of the spec's text." in page()


def test_the_figures_of_a_run_directory_can_be_taken(dln: Callable[..., Any], specs: Path) -> None:
    assert dln("run", specs / "quick.dln", "--slow", "--seed", 3, "-q").code == 0
    assert dln("sweep", specs / "quick.dln", "-q", "--jobs", 1).code == 0
    got = dln("results", "--take", "runs/quick-1", "--take", "runs/quick-sweep-1",
              "--specs", specs, "--to", "page.md")  # fmt: skip
    assert got.code == 0, got.err
    assert "quick: 3 of 3 passed, from runs/quick-1" in got.err
    row = r"\| again: `again.updates` \| 3 \| 3 \| exact \| [\d.]+ s \| 3 \| passed \|"
    assert re.search(row, page())
    assert "[^older]" not in page() and "`one` | `fit.error`" in page()
    assert dln("results", "--take", "nowhere", "--specs", specs, "--to", "page.md").code == 2


SEEDED = """# A line by three orders. Slide 4.
const order_seed = 1
data points = rows([[0, 1], [1, 3], [2, 5], [3, 7]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
let line = dense(1, init = zero)
train fit on points.all batch 1 order replacement for 9 updates seed order_seed {
  minimize sum((line(x) - t)^2) / 2 over line with sgd(lr = 0.1)
  watch error = sum((line(x) - t)^2) on points.all
}
train long on points.all for 1000000000 updates after fit {
  minimize sum((line(x) - t)^2) / 2 over line with sgd(lr = 0.01)
  watch error = sum((line(x) - t)^2) on points.all every 10 updates
}
# The order was chosen.
check "after nine" {
  expect fit.error < 100
}
check "at the end" slow {
  expect long.error < 1e-30
}
sweep orders {               # of three
  vary order_seed in [0, 1, 2]
  report fit.error
  expect fit.error < BOUND
}
sweep asks {
  vary seed in [3, 4]
  report 2 * fit.updates
}
"""


@pytest.fixture
def seeded(tmp_path: Path) -> Path:
    """A spec whose phase takes its seed from a constant; BOUND parts the orders in two."""
    folder = tmp_path / "seeded"
    folder.mkdir()
    (folder / "seeded.dln").write_text(SEEDED.replace("BOUND", "100"))
    return folder


def rows_of(name: str, sweep: str) -> list[Any]:
    return [r["reports"]["fit.error"] for r in of(name)["sweeps"][sweep]]


def test_seeds_that_phases_fix_stand_beside_figures_with_the_spread_over_them(
    dln: Callable[..., Any], seeded: Path
) -> None:
    path = seeded / "seeded.dln"
    words = ("--specs", seeded, "--to", "page.md")
    dln("sweep", path, "orders", "-q", "--jobs", 1, "--out", "swept")
    dln("results", "--take", "swept", *words)
    low, middle, high = sorted(rows_of("seeded", "orders"))
    path.write_text(SEEDED.replace("BOUND", f"{(low + middle) / 2}"))
    for out in ("again", "asked"):
        dln("sweep", path, "orders" if out == "again" else "asks", "-q", "--jobs", 1, "--out", out)
    assert dln("run", path, "-q", "--phase", "fit", "--seed", 5, "--out", "ran").code == 0
    got = dln("results", "--take", "ran", "--take", "again", "--take", "asked", *words)
    assert got.code == 1
    assert got.err.count("newly missed: fit.error < ") == 2
    own = rows_of("seeded", "orders")[1]
    text = timeless(page())
    assert "| 0.1 s | 5; `fit`: 1 | passed |" in text
    assert "- after nine: The order was chosen.\n" in text
    assert "Sweep `orders`: 3 runs; `order_seed` 0 to 2. Of three.\n" in text
    [line] = [row for row in text.splitlines() if "1 of 3 passed" in row]
    cells = line.strip("| ").split(" | ")
    assert float(cells[0]) == pytest.approx(own, rel=1e-4)
    mean, _, ends = cells[1].partition(", ")
    assert float(mean) == pytest.approx((low + middle + high) / 3, rel=1e-3)
    assert [float(v) for v in ends.split(" to ")] == pytest.approx([low, high], rel=1e-4)
    assert cells[3] == "0; `fit`: 1" and f"missed by {high - (low + middle) / 2:.3g}" in cells[5]
    assert "`fit.error` of `orders`, 2 of 3 runs | < " in text
    assert "| 18 | 0.1 s | 3, 4; `fit`: 1 | 2 runs |" in text


def test_of_a_run_that_was_stopped_what_is_finished_is_taken_and_how_far_it_came(
    dln: Callable[..., Any], seeded: Path
) -> None:
    words = [sys.executable, "-m", "dln", "run", str(seeded / "seeded.dln"), "--slow", "-q"]
    process = subprocess.Popen([*words, "--out", "stopped"], cwd=seeded.parent)
    log, waited = seeded.parent / "stopped/log.jsonl", time.monotonic() + 60
    while time.monotonic() < waited and not (log.exists() and '"long"' in log.read_text()):
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 130
    got = dln("results", "--take", "stopped", "--specs", seeded, "--to", "page.md")
    assert got.code == 0, got.err
    first, last = of("seeded")["figures"]
    assert (first["status"], first["seeds"], last["status"]) == ("passed", {"fit": 1}, "not run")
    assert last["reached"].startswith("long stopped at update ")
    assert " of 1,000,000,000: error " in last["reached"]
    assert f"not run to its end: {last['reached']} |" in page()
    assert dln("run", seeded / "seeded.dln", "-q", "--phase", "fit", "--out", "less").code == 0
    dln("results", "--take", "less", "--specs", seeded, "--to", "page.md")
    assert of("seeded")["figures"][1]["reached"] == last["reached"]  # it had come further


def test_a_spec_that_cannot_be_read_does_not_hide_the_others(
    dln: Callable[..., Any], specs: Path
) -> None:
    (specs / "broken.dln").write_text("let x = nothing(3)\n")
    got = dln("results", "broken", "missed", "--specs", specs, "--to", "page.md", *ONE, "--json")
    assert got.code == 1 and got.data["failed"] == ["broken", "missed"]
    assert "**It cannot be read: " in page() and "## missed" in page()


def test_names_are_checked(dln: Callable[..., Any], specs: Path) -> None:
    got = dln("results", "quik", "--specs", specs)
    assert got.code == 2 and "no such spec: quik" in got.err and "quick" in got.err


def test_interrupted_it_keeps_what_is_done(specs: Path) -> None:
    (specs / "slow.dln").write_text(QUICK.replace("60 epochs", "1000000000 epochs"))
    words = ["results", "missed", "slow", "--specs", "specs", "--to", "page.md", "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dln", *words], cwd=specs.parent, text=True,
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    waited = time.monotonic() + 60
    logs = [specs.parent / "page/missed.json", specs.parent / "runs/slow-1/log.jsonl"]
    while time.monotonic() < waited and not all(p.exists() for p in logs):
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert "interrupted; what was finished is kept" in err and "Traceback" not in err
    assert "missed by 0.75" in (specs.parent / "page.md").read_text()
    assert list((specs.parent / "runs/slow-1/checkpoints").iterdir())  # it can be resumed


# ---- records -------------------------------------------------------------------------------------


def check(
    text: str,
    expect: str,
    status: str,
    value: int | list[Any] | None = None,
    phases: Sequence[str] = (),
    **more: float | list[Any],
) -> dict[str, Any]:
    found = {"text": text, "expect": expect, "op": "==", "status": status, "value": value,
             "expected": None, "within": None, "reason": "", "phases": list(phases)}  # fmt: skip
    return {**found, **more}


def run(seed: int = 0, text: Any = "t") -> dict[str, Any]:
    return {"date": "2026-01-02", "seed": seed, "seconds": 9.0, "dln": "1", "python": "3",
            "numpy": "2", "machine": "2 cores", "options": "", "text": text}  # fmt: skip


def test_the_time_of_a_figure_is_that_of_its_phases_and_those_before() -> None:
    record = Measurements("a")
    phases = {"p": {"seconds": 1.0, "after": []}, "q": {"seconds": 2.0, "after": ["p"]},
              "r": {"seconds": 4.0, "after": []}}  # fmt: skip
    record.take_run(
        {"checks": [check("c", "q.x == 1", "passed", 1, ["q"])], "phases": phases}, run()
    )
    assert record.figures[0]["seconds"] == 3.0


def test_figures_of_a_loop_are_told_apart_by_their_turn() -> None:
    record = Measurements("a")
    both = [check("c", "x[i] == 1", "passed", 1), check("c", "x[i] == 1", "passed", 2)]
    record.take_run({"checks": both, "phases": {}}, run())
    waiting = [check("c", "x[i] == 1", "not run"), check("c", "x[i] == 1", "passed", 5)]
    record.take_run({"checks": waiting, "phases": {}}, run(1))
    assert [f["value"] for f in record.figures] == [1, 5]
    assert [f["run"] for f in record.figures] == [0, 1]


def test_an_expectation_that_is_gone_is_forgotten_and_so_is_its_run() -> None:
    record = Measurements("a")
    record.take_run({"checks": [check("c", "old == 1", "passed", 1)], "phases": {}}, run())
    record.take_run({"checks": [check("c", "new == 1", "not run")], "phases": {}}, run(1))
    assert [f["expect"] for f in record.figures] == ["new == 1"]
    assert [r["seed"] for r in record.runs] == [1]


def test_long_lists_are_not_written_down() -> None:
    record = Measurements("a")
    long = check("c", "x == y", "passed", [float(i) for i in range(100)], within=0.5,
                 expected=[i + 0.25 for i in range(100)])  # fmt: skip
    record.take_run({"checks": [long], "phases": {}}, run())
    [figure] = record.figures
    assert (figure["value"], figure["count"], figure["off"]) == (None, 100, 0.25)


def test_what_is_newly_missed_and_what_no_longer() -> None:
    record = Measurements("a")
    old = [check("c", "a == 1", "failed", 2), check("c", "b == 1", "passed", 1),
           check("c", "d == 1", "failed", 2), check("c", "d == 1", "passed", 1)]  # fmt: skip
    record.take_run({"checks": old, "phases": {}}, run())
    assert record.changes({"checks": old}) == []
    new = [check("c", "a == 1", "passed", 1), check("c", "b == 1", "failed", 2),
           check("c", "d == 1", "not run"), check("c", "d == 1", "failed", 2)]  # fmt: skip
    assert record.changes({"checks": new}) == [
        "no longer missed: a == 1", "newly missed: b == 1", "newly missed: d == 1",
    ]  # fmt: skip
    row = {"constants": {"n": 1}, "reports": {}, "seconds": 1.0, "checks": old[:1]}
    record.take_sweeps({"sweeps": {"s": [row]}}, run())
    assert record.changes(row, "s") == []
    assert record.changes({**row, "checks": new[:1]}, "s") == [
        'no longer missed: a == 1 with {"n": 1}'
    ]
    assert record.changes({**row, "constants": {"n": 2}}, "s") == [
        'newly missed: a == 1 with {"n": 2}'
    ]


def test_a_damaged_record_says_so(dln: Callable[..., Any], specs: Path) -> None:
    Path("page").mkdir()
    Path("page/quick.json").write_text("[]")
    got = dln("results", "--table", "--specs", specs, "--to", "page.md")
    assert got.code == 2 and "page/quick.json is damaged" in got.err
    assert read(Path("nowhere"), "x") == Measurements("x")


def test_machines_are_told_without_names() -> None:
    facts = {"cpus": 8, "simd": ["NEON", "ASIMD"], "cpu": "Secret 9000", "platform": "host"}
    assert in_words(facts, "numpy") == "8 cores, NEON CPU"
    assert in_words({"cpus": 1, "simd": []}, "cupy") == "1 core, CPU, CUDA GPU"


def test_why_a_command_gave_nothing() -> None:
    said = Finished("a", 1, '{"problems": [{"message": "no memory"}]}', "", 1.0)
    assert problem_of(printed(said), said) == "the last run failed: no memory"
    died = Finished("a", -9, "", "first\nlast\n", 1.0)
    assert problem_of(printed(died), died) == "the last run failed: last"


# ---- the page ------------------------------------------------------------------------------------


def figure(
    expect: str,
    status: str = "passed",
    value: float | None = None,
    expected: float | None = None,
    within: float | None = None,
    op: str = "==",
    **more: Any,
) -> dict[str, Any]:
    found: dict[str, Any]
    found = {"check": "c", "expect": expect, "op": op, "status": status, "value": value,
             "expected": expected, "within": within, "reason": "", "phases": [], "seconds": 0.0,
             "run": 0}  # fmt: skip
    return {**found, **more}


GOLDEN = """\
## net

A net. Slide 4. Source: Them 1999.

| figure | published or bound | measured | tolerance | time | seed | verdict |
| --- | --- | --- | --- | --- | --- | --- |
| sizes: `params(net)` | 100 | 100 | exact |  |  | passed |
| the error: `sse.error` | 2.5 | 3.25 | ± 0.5 | 1 min 5 s | 7 | **missed by 0.25** |
| `sse.worst` | < 9 | 4 | bound | 1 min 5 s | 7 | passed |
| 3 cases of `sse.rate[i]` | 1, 2, 3 | 1, 2, 3.5 | ± 1 | 1 min 5 s | 7 | all 3 passed |
| later: `full.error` | 1.25 | not run | ± 0.2 |  |  | not run (slow) |

Sweep `width`: tolerance ± 0.8.

| `hidden` | `want` | `sse.accuracy` | time | seed | verdict |
| --- | --- | --- | --- | --- | --- |
| 100 | 94.81 | 94.76 | 5.2 s | 7 | passed |
| 300 | 95.43 |  |  |  | not run |

Run: 2026-01-02, 2 cores, NumPy 2, Python 3, dln 1.
"""


def test_the_section_of_a_spec() -> None:
    trained: dict[str, Any] = {"phases": ["sse"], "seconds": 65.0}
    slow: dict[str, Any] = {"reason": "slow: needs --slow", "phases": ["full"], "check": "later"}
    figures = [
        figure("params(net) == 100", value=100.0, expected=100.0, check="sizes"),
        figure("sse.error == 2.5", "failed", 3.25, 2.5, 0.5, check="the error", **trained),
        figure("sse.worst < 9", value=4.0, expected=9.0, op="<", check="the error", **trained),
        *(figure("sse.rate[i] == r[i]", value=v, expected=e, within=1, check="the error", **trained)
          for v, e in [(1.0, 1.0), (2.0, 2.0), (3.5, 3.0)]),
        figure("full.error == 1.25", "not run", None, 1.25, 0.2, **slow),
    ]  # fmt: skip
    row = {"constants": {"hidden": 100, "want": 94.81},
           "reports": {"sse.accuracy": 94.76, "sse.seconds": 5.2}, "seconds": 5.2, "run": 0,
           "checks": [figure("sse.accuracy == want", value=94.76, expected=94.81, within=0.8)],
           }  # fmt: skip
    record = Measurements("net", [run(7)], figures, {"width": [row]})
    runs = [{"hidden": 100, "want": 94.81}, {"hidden": 300, "want": 95.43}]
    known = Known(Facts("net", "A net", "4", "Them 1999"), "t", [], {"width": runs})
    text = document({"net": known}, {"net": record})
    assert text.endswith(GOLDEN)
    assert "| [`net`](#net) | 4 | A net | Them 1999 | 6 of 8 passed, 1 missed, 1 not run |" in text


def test_the_lectures_table_has_ours_beside_it() -> None:
    known = {n: Known(Facts(n), "t", [], {}) for n in ("dbn", "baselines")}
    dbn = Measurements("dbn", [run()], [figure("top.error == 2.49", value=2.51, expected=2.49)])
    near = [figure("nearest.squares == 3.09", value=3.09, expected=3.09),
            figure("full[0].error == 1.6", "not run", None, 1.6)]  # fmt: skip
    svm = Measurements("svm", [run()], [figure("error == 1.4", value=1.40, expected=1.4)])
    records = {"dbn": dbn, "baselines": Measurements("baselines", [run()], near), "svm": svm}
    said = about(specs_folder())
    assert said.specs == {"dbn", "dbn_updown", "svm", "baselines"}
    text = document(known, records, said)
    lines = {row.split(" | ")[0][2:]: row for row in text.splitlines() if row.count(" | ") == 3}
    assert (
        "| 1.25 | Hinton, Osindero and Teh 2006 | 2.51 (`top.error` of dbn) |"
        in (lines["generative model of RBMs"])
    )
    assert lines["support vector machine"].endswith("| 1.4 (`error` of svm) |")
    assert lines["backpropagation, 1000 hidden units"].endswith("| not run |")
    assert lines["k nearest neighbours"].endswith("| 3.09 (`nearest.squares` of baselines) |")


def test_many_expectations_are_drawn_together_but_for_those_a_training_is_known_by() -> None:
    exact = [figure(f"a{i} == {i}", value=i, expected=i, check="sizes") for i in range(9)]
    known = [figure(f"t.e{i} == 2", value=2.1, expected=2.0, within=0.5, check="errors",
                    phases=["t"]) for i in range(3)]  # fmt: skip
    extra = [figure(f"t.f{i} < 2", value=1, expected=2, op="<", check="errors", phases=["t"])
             for i in range(4)]  # fmt: skip
    groups = drawn_together([*exact, *known, *extra])
    assert [(g.title, len(g.figures)) for g in groups] == [
        ("sizes", 9), ("errors", 1), ("", 1), ("", 1), ("", 4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "value", "expected", "within", "amount"),
    [
        ("==", 93.5, 94.81, 0.8, 0.51), ("==", [1, 5], [1, 2], 1, 2), ("<=", 7, 6, None, 1),
        (">", [3, 1], 2, None, 1), ("==", True, True, None, None), ("!=", 1, 1, None, None),
    ],
)  # fmt: skip
def test_by_how_much_it_is_missed(
    op: str, value: Any, expected: Any, within: float | None, amount: float | None
) -> None:
    found = beyond({"op": op, "value": value, "expected": expected, "within": within})
    assert found == (amount if amount is None else pytest.approx(amount))


def test_the_verdict_of_several() -> None:
    cases = [
        figure("x == 1", "passed"),
        figure("x == 1", "failed", 3, 1),
        figure("x == 1", "not run"),
    ]
    assert verdict(cases) == "1 of 3 passed, **missed by 2**, 1 not run"


def test_runs_over_seeds_that_broke_off_or_report_lists() -> None:
    seeds = {"seed": None, "order": 1}
    rows: list[Any]
    rows = [{"constants": {"rate": 1, "order": k}, "reports": {"a": float(k), "w": [1.0, k]},
             "seconds": 2.0, "checks": [], "run": 0, "seeds": {"p": k}}
            for k in (0, 1, 2)]  # fmt: skip
    del rows[2]["reports"]["a"]
    rows[2]["problem"] = "no numbers"
    runs = [{"rate": 1, "order": k} for k in range(4)]
    record = Measurements("net", [run(7)], [], {"s": rows})
    known = Known(Facts("net"), "t", [], {"s": runs}, seeds=seeds)
    text = document({"net": known}, {"net": record})
    assert "Sweep `s`: 4 runs; `order` 0 to 3.\n" in text
    assert (
        "| 1 | 1 | [1, 1] | 0.5, 0 to 1 |  | 2.0 s | 7; `p`: 1 | reported only | "
        "2 of 3 passed, **failed: no numbers**, 1 not run |\n"
    ) in text


def test_a_page_of_ones_own_specs_has_nothing_of_the_lecture(
    dln: Callable[..., Any], specs: Path
) -> None:
    assert dln("results", "--specs", specs, "--to", "page.md", "--table").code == 0
    assert "lecture" not in page() and "MNIST" not in page()
    (specs / "quick.dln").write_text(QUICK.replace("# Slides 3, 7-9. ", "# "))
    assert dln("results", "--specs", specs, "--to", "page.md", "--table").code == 0
    assert "slide" not in page().lower() and "Beyond" not in page()


TABLE = """
beyond = "Beyond Euclid."
[[tables]]
title = "Sums"
head = ["which", "published", "ours"]
[[tables.rows]]
cells = ["of two", "5"]
specs = ["missed"]
figures = '2 . 2'
"""


def test_a_folder_may_have_a_table_of_its_own(dln: Callable[..., Any], specs: Path) -> None:
    (specs / "results.toml").write_text(TABLE)
    dln("results", "missed", "--specs", specs, "--to", "page.md", "--threads", 1)
    assert "## Sums\n\n| which | published | ours |\n| --- | --- | --- |\n" in page()
    assert "| of two | 5 | 4 (`2 + 2` of missed) |" in page()
    assert "A wrong claim. Beyond Euclid.\n" in page()
    (specs / "results.toml").write_text(TABLE.replace("cells", "sells"))
    got = dln("results", "--specs", specs, "--to", "page.md", "--table")
    assert got.code == 2 and "results.toml cannot be read: KeyError('cells')" in got.err


@pytest.mark.skipif(find_spec("sklearn") is None, reason="needs scikit-learn")
def test_the_support_vector_machine_on_few_images(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "svm.py"
    svm = runpy.run_path(str(path))
    found, seconds = svm["measured"](600)
    assert found["status"] == "not run"  # the claim is about all images
    assert found["value"] < 15
    svm["enter"](tmp_path, found, seconds)
    assert read(tmp_path, "svm").figures[0]["expect"] == "error == 1.4 within 0.1"
