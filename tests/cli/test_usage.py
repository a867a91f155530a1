"""A wrong command line is answered with the right one. The oracle of a remedy: click reads it."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from dln.cli import cli, command_of, listed

Dln = Callable[..., Any]

# The words; the remedy. `L` is a spec with the constants rate and wide, the phases fit and again.
REMEDIES = """
mlp                               | dln run mlp
L                                 | dln run L
nosuch.dln                        | dln run nosuch.dln
trian L                           | dln run L
train L                           | dln run L
rnu L                             | dln run L
chekc L                           | dln check L
test L                            | dln check L
profile L                         | dln time L
lenet                             | dln run lenet5
version                           | dln --version
help run                          | dln run --help
quux                              | dln, which lists them
-v                                | dln --version
--epochs 3 run L                  | dln run L --epochs 3
run L --rate 0.2                  | dln run L -D rate=0.2
run L --lr 0.2                    | dln run L -D rate=0.2
run L --lr=0.2                    | dln run L -D rate=0.2
run --learning-rate 0.2 L         | dln run -D rate=0.2 L
run L -lr 0.2                     | dln run L -D rate=0.2
run mlp --hidden 50               | dln run mlp -D hidden=50
run mlp --hidden-size 50          | dln run mlp -D hidden=50
run L --batch 4                   | train fit on points.all batch 4 for 60 epochs { in line 10 of L
run L --bs=4                      | train fit on points.all batch 4 for 60 epochs { in line 10 of L
run L --dropout 0.5               | const dropout = 0.5 in L, used where it is meant
run L --gpu                       | dln run L --backend cupy
run --cuda L                      | dln run --backend cupy L
run L --device cuda               | dln run L --backend cupy
run L --device cpu                | dln run L --backend numpy
run L --precision double          | dln run L --dtype float64
run L --epoch 3                   | dln run L --epochs 3
run L --num-epochs 3              | dln run L --epochs 3
run L --seeds 3                   | sweep seeds { vary seed in 1..3 ... } in L, then dln sweep L
run L -v                          | dln run L
run L --verbose                   | dln run L
run L -o out                      | dln run L --out out
run L --output=out                | dln run L --out out
run L --checkpoint runs/a         | dln run L --resume runs/a
sweep L --workers 2               | dln sweep L --jobs 2
show L --format json              | dln show L --json
check L --epochs 3                | dln run L --epochs 3
check L --gpu                     | dln run L --backend cupy
run L -h2                         | dln run --help
run L --quux 3                    | dln run --help
run                               | dln run SPEC, or dln run --resume DIR
check                             | dln check SPEC, for instance dln check mlp
task runs/a                       | dln task runs/a NAME
run L mlp                         | dln run L; dln run mlp
run L fit                         | dln run L --phase fit
run L rate=0.2                    | dln run L -D rate=0.2
check L quux                      | dln check L
run L -D rate                     | -D rate=0.1
run L -D rate 0.2                 | dln run L -D rate=0.2
run L --data points=              | --data points=PATH
run L -D rate=abc                 | rate=0.1
run L -D rat=1                    | rate
run L --limit                     | --limit 1000
run L --limit abc                 | --limit 1000
run L --limit 0                   | --limit 1000
run L --limit 1e2                 | --limit 100
run L --limit 1,000               | --limit 1000
run L --seed -1                   | --seed 7
run L --seed 1e400                | --seed 7
run L --threads 0                 | --threads 2
run L --backend gpu               | --backend cupy
run L --dtype double              | --dtype float64
run L --dtype flaot32             | --dtype float32
run L --out ''                    | --out runs/mine
run L --phase fti                 | fit
run folder/L                      | L
run QQ                            | L
run ''                            | dln, which lists the shipped specs
run quux                          | dln, which lists the shipped specs
run mpl                           | mlp
run .                             | L
results quux                      | dln, which lists the shipped specs
data L --pictures a.txt           | --pictures a.png
run L --seed 1 --seed 2           | dln run L --seed 1; dln run L --seed 2
run --seed=1 L --seed 2 --seed 3  | dln run --seed=1 L; dln run L --seed 3
run L --resume --resume a         | dln run L --resume; dln run L --resume a
show L --graph --dot              | dln show L --graph; dln show L --dot
"""
ROWS = [tuple(map(str.strip, row.split(" | "))) for row in REMEDIES.strip().splitlines()]


@pytest.mark.parametrize(("words", "remedy"), ROWS)
def test_the_command_as_it_is_written(dln: Dln, line: Path, words: str, remedy: str) -> None:
    got = dln(*shlex.split(words.replace("L", "line.dln").replace("QQ", "lline.dln")))
    assert got.code == 2 and "Traceback" not in got.err
    _, _, said = got.err.rstrip().rpartition("= try: ")
    wanted = remedy.replace("L", "line.dln")
    assert said.startswith(wanted) if " in " in said else said == wanted
    for command in said.split("; ") if said.startswith("dln ") and "," not in said else ():
        understood(shlex.split(command)[1:])


def understood(words: list[str]) -> None:
    """Click takes the words: those of a command, or of `dln` itself."""
    ctx = cli.make_context("dln", [], resilient_parsing=True)
    if words[0][:1] != "-" and "--help" not in words:
        command = cli.get_command(ctx, words[0])
        assert command is not None
        command.make_context(words[0], words[1:])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "L", "-D", "rate=1e400"], "1e400 is more than a number holds"),
        (["run", "L", "-D", "rate=" + "9" * 5000], "is more than a number holds"),
        (["run", "L", "-D", "rate=[1, 1e400]"], "is more than a number holds"),
        (["run", "L", "-D", "rate=[NaN]"], "is more than a number holds"),
        (["run", "L", "-D", "rate=" + "[" * 100_000], "is not a list"),
        (["run", "L", "-D", "=1"], "-D takes NAME=VALUE, not =1"),
        (["run", "L", "-D", "rate=1", "-D", "rate=2"], "rate is given twice"),
        (["run", "L", "--data", "points"], "--data takes NAME=PATH"),
        (["run", "L", "-D", "rate="], "try: -D rate=VALUE"),
        (["run", "L", "-D", ""], "try: -D NAME=VALUE"),
        (["results", "mlp", "--table"], "SPEC and --table exclude each other"),
        (["results", "--table", "--take", "runs/mlp-1"], "--take and --table exclude each other"),
        (["run", "x" * 300], "no such spec or file: xxx"),
        (["run", "x" * 300 + ".dln"], "no such file: xxx"),
        (["x" * 300], "dln has no command xxx"),
        (["run", "L", "--" + "x" * 300], "dln run has no option --xxx"),
        (["run", "L", "--out", "x" * 300], "File name too long"),
        (["run", "L", "--data", "points=a.csv"], "rows reads no file"),
        (["run", "mlp", "--data", "mnist=" + "x" * 300], "there is no file"),
        (["run", "/dev/null"], "/dev/null is no ordinary file"),
        (["run", "L", "--resume", "x" * 300], "File name too long"),
        (["results", "--specs", "x" * 300], "xxx"),
        (["task", "x" * 300, "a"], "File name too long"),
        (["data", "L", "x" * 300], "there is no data set"),
        (["plan", "L", "--program", "x" * 300], "there is no program"),
    ],
)  # fmt: skip
def test_what_no_value_can_be(dln: Dln, line: Path, words: list[Any], says: str) -> None:
    got = dln(*(w if w != "L" else line.name for w in words))
    assert got.code == 2 and says in got.err
    assert "E999" not in got.err and len(got.err) < 900


@pytest.mark.parametrize("command", [name for name, _ in listed()])
def test_every_option_given_twice(dln: Dln, command: str) -> None:
    """Nothing is done; a switch is the same twice, and what may stand often is not refused."""
    known = command_of(command)
    assert known is not None
    for option in (p for p in known.params if isinstance(p, click.Option)):
        for word in option.opts:
            value = [] if option.is_flag else ["2"]
            got = dln(command, *2 * [word, *value], "nosuch")
            taken = option.is_flag or option.multiple
            assert got.code == 2 and f"{option.opts[-1]} is given twice" in got.err or taken
            assert "E999" not in got.err


def test_options_that_change_nothing_are_said(dln: Dln, tmp_path: Path) -> None:
    (tmp_path / "still.dln").write_text('check "sum" {\n  expect 1 + 1 == 2\n}\n', encoding="utf-8")
    got = dln("run", "still.dln", "--epochs", 3, "--limit", 5, "--slow")
    lack = {"--epochs": "trains nothing", "--limit": "has no data", "--slow": "has nothing slow"}
    said = [f"note: {word} changes nothing: still {why}" for word, why in lack.items()]
    assert got.code == 0 and got.err.splitlines()[:3] == said
