"""dln sweep --part and --gather: one table from many commands, with nothing else in it."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

Dln = Callable[..., Any]


def measured(data: Any) -> Any:
    """All of the rows but their time."""
    return {k: [{**r, "seconds": 0} for r in rows] for k, rows in data["sweeps"].items()}


def table(folder: str) -> list[list[str]]:
    """The table without its seconds."""
    lines = [line.split(",") for line in Path(folder, "table.csv").read_text().splitlines()]
    return [line[:-2] + line[-1:] for line in lines]


def shortened(line: Path) -> None:
    """Four rows of a moment each, and two of another sweep."""
    text = (
        line.read_text()
        .replace("for 60 epochs", "for 2 epochs")
        .replace("error < 1\n", "error < 9\n")
    )
    line.write_text(text + "sweep once {\n  vary rate in [0.2, 0.3]\n  report params(line)\n}\n")


@pytest.fixture
def parts(dln: Dln, line: Path, monkeypatch: pytest.MonkeyPatch) -> Dln:
    """Runs a part of a short spec into `rows`; pictures are drawn elsewhere, and take a second."""
    monkeypatch.setattr("dln.printing.pictures.available", lambda: True)
    monkeypatch.setattr("dln.printing.pictures.of_panels", lambda panels, kind: b"drawn")
    shortened(line)
    return lambda share, *words: dln("sweep", line, "--part", share, "--out", "rows", *words)


def test_parts_are_gathered_to_what_one_process_finds(dln: Dln, line: Path, parts: Dln) -> None:
    whole = dln("sweep", line, "--jobs", 1, "--threads", 1, "--out", "whole", "--json").data
    first, third = parts("1/4", "--json"), parts("3/4")
    assert first.code == third.code == 0 and "1 row in rows" in third.out
    assert [r["constants"] for r in first.data["sweeps"]["rates"]] == [{"rate": 0.05, "seed": 1}]
    assert [r["constants"] for r in first.data["sweeps"]["once"]] == [{"rate": 0.2}]
    early = dln("sweep", line, "rates", "--gather", "rows")
    assert early.code == 1 and "rates: 2 of 4 rows" in early.err and "0 ±" not in early.out
    missing = "rates: 2 rows missing: 2 (rate = 0.05, seed = 2), 4 (rate = 0.1, seed = 2)\n"
    assert early.out.endswith(missing) and not Path("rows/sweep.json").exists()
    assert "line.dln rates --part 1/1 --out rows" in early.err
    rest = parts("1/1")
    assert rest.code == 0 and "6 rows, 3 of them done" in rest.err
    assert parts("7/9").err.startswith("part 7 of 9 has no rows")
    got = dln("sweep", line, "--gather", "rows", "--json")
    assert got.code == 0 and "missing" not in got.data
    assert got.data["plots"] == ["rows/rates.png", "rows/once.png"]
    assert measured(got.data) == measured(whole) and got.data["means"] == whole["means"]
    assert table("rows") == table("whole") and len(table("rows")) == 7
    again = dln("sweep", line, "--resume", "rows", "--json", "--jobs", 1)  # a sweep like any other
    assert measured(again.data) == measured(whole) and "0 of them left" in again.err


def test_all_parts_have_the_settings_of_the_first(dln: Dln, line: Path, parts: Dln) -> None:
    parts("1/6", "--epochs", 1, "--dtype", "float64")
    second = parts("2/6")
    assert second.code == 0 and "note: as rows was begun: dtype float64, epochs 1" in second.err
    assert [r["settings"]["dtype"] for r in rows()] == ["float64", "float64"]
    for words, says in (
        (["--epochs", 2], "epochs is 2, was 1"),
        (["--seed", 1], "seed is 1, was 0"),
    ):
        for command in (["--part", "3/6", "--out", "rows"], ["--gather", "rows"]):
            refused = dln("sweep", line, *command, *words)
            assert refused.code == 2 and "error[E593]" in refused.err and says in refused.err
    line.write_text(line.read_text().replace("2 epochs", "3 epochs"))
    assert "line 10 is" in parts("3/6").err
    assert "line 10 is" in dln("sweep", line, "--gather", "rows").err


def rows() -> list[Any]:
    return [json.loads(p.read_text()) for p in sorted(Path("rows/rows").iterdir())]


def forged(path: Path, **changes: Any) -> None:
    """A row that says something else, with the digest of what it says."""
    facts = {**json.loads(path.read_text()), **changes}
    facts["sum"] = sha256(json.dumps({k: v for k, v in facts.items() if k != "sum"},
                                     sort_keys=True).encode()).hexdigest()  # fmt: skip
    path.write_text(json.dumps(facts))


def test_a_row_that_is_not_its_is_refused_with_what_differs(
    dln: Dln, line: Path, parts: Dln
) -> None:
    parts("1/3")
    path = Path("rows/rows/rates-1.json")
    good = path.read_text()
    row, settings = rows()[0]["row"], rows()[0]["settings"]
    for change, says in (
        ({"text": "0" * 64}, "rates-1.json is of another spec"),
        ({"number": 2}, "rates-1.json is row 2 of rates"),
        ({"row": {**row, "constants": {"rate": 0.3, "seed": 1}}}, "rate = 0.3, seed = 1, not rate"),
        ({"settings": {**settings, "seed": 5}}, "rates-1.json has seed 5, not 0"),
        ({"read": {"dln:std.dln": "0" * 64}}, "dln:std.dln is not what it was: rates-1.json and"),
    ):
        path.write_text(good)
        forged(path, **change)
        for got in (dln("sweep", line, "--gather", "rows"), parts("1/3")):
            assert got.code == 2 and "error[E593]" in got.err and says in got.err
    path.write_text(good.replace('"fit.error"', '"fit.terror"'))
    damaged = dln("sweep", line, "--gather", "rows")
    assert (
        damaged.code == 2
        and "error[E595]" in damaged.err
        and "try: remove rows/rows/" in damaged.err
    )


def test_data_that_change_between_two_parts_are_told(dln: Dln, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1\n2\n3\n")
    (tmp_path / "net.dln").write_text("""const k = 0
data d = table("a.csv") {
  x = raw[0]
}
train look on d batch all for 1 epoch {
  watch both = mean(batch: x) + k on d
}
sweep each {
  vary k in 0..2
  report look.both
}
""")
    words = ["sweep", "net.dln", "--out", "rows", "--part"]
    assert dln(*words, "1/3").code == 0
    (tmp_path / "a.csv").write_text("1\n2\n4\n")
    got = dln(*words, "2/3")
    assert got.code == 2 and "a.csv of d is not what it was: each-1.json and each-2.json" in got.err
    assert len(list(Path("rows/rows").iterdir())) == 1


def test_a_row_that_another_process_works_on_is_left_to_it(
    dln: Dln, line: Path, parts: Dln
) -> None:
    fcntl = pytest.importorskip("fcntl")
    parts("1/6")
    with open("rows/begun/rates-2.lock", "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        got = parts("2/6")
    assert got.code == 0 and "rate = 0.05, seed = 2: left to another process" in got.err
    assert "0 of 1 row in rows" in got.out and len(rows()) == 1


def test_a_row_that_broke_off_is_run_again(dln: Dln, line: Path, parts: Dln) -> None:
    line.write_text(line.read_text().replace("[0.05, 0.1]", "[1e20, 0.1]"))
    for _ in range(2):
        got = parts("1/6")
        assert got.code == 1 and "1 run broke off" in got.out and "error[E6" in got.err
    assert rows()[0]["row"]["problems"]
    gathered = dln("sweep", line, "--gather", "rows", "--json")
    assert (
        len(gathered.data["missing"]["rates"]) == 3
        and gathered.data["sweeps"]["rates"][0]["problems"]
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--part 0/3 --out a", "--part takes K/N, the K-th of N shares"),
        ("--part 4/3 --out a", "not 4/3\n  = try: --part 3/20"),
        ("--part third --out a", "not third"),
        ("--part 1/3", "= try: --part 1/3 --out runs/rows"),
        ("--part 1/3 --out a --jobs 2", "--part and --jobs do not go together"),
        ("--part 1/3 --out a --resume b", "--part and --resume do not go together"),
        ("--part 1/3 --out a --gather a", "--part and --gather do not go together"),
        ("--gather a --out b", "--gather and --out do not go together"),
        ("--gather a", "a holds no parts of a sweep"),
    ],
)
def test_what_makes_no_sense_is_answered(dln: Dln, line: Path, words: str, says: str) -> None:
    got = dln("sweep", line, *words.split())
    assert got.code == 2 and says in got.err and not Path("a").exists()


def test_parts_and_sweeps_keep_out_of_each_others_directories(
    dln: Dln, line: Path, parts: Dln
) -> None:
    parts("1/6")
    assert "rows already holds parts of a sweep" in dln("sweep", line, "--out", "rows").err
    dln("sweep", line, "once", "--jobs", 1, "--out", "whole")
    got = dln("sweep", line, "--part", "1/6", "--out", "whole")
    assert got.code == 2 and "whole holds a sweep that was not begun in parts" in got.err
