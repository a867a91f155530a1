"""What asks for too much is refused before memory is taken or a loop entered.

The oracle is the operating system: a limit of memory, and the processor time that was taken.
"""

import gzip
import tracemalloc
from pathlib import Path

import pytest
from confinement.hostile import COMMANDS, SIZES, specs, through
from confinement.process import Left, confined

from dln.cli import main
from dln.runtime.device.host import Host
from dln.runtime.readers import files

GIGA = 1 << 30
LONG = 10  # seconds of processor time on any machine: what takes more hangs
TABLE = 'data d = table("a.csv") {\n  x[1] = raw[:1]\n}\n'
TEXT = 'data d = text("a.csv") {\n  c[time]: class(V) = raw\n}\n'


def check(text: str, memory: int = 2 * GIGA) -> Left:
    Path("a.dln").write_text(text, encoding="utf-8")
    return confined(lambda: main(["check", "a.dln"]), memory, 20)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DLN_DEBUG", "DLN_VERIFY", "DLN_POISON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Host, "poisons", False)  # which takes long where much is taken


def moment(name: str, text: str) -> None:
    found = check(text)
    assert found.code in (0, 1, 2) and not found.raw, (name, found)
    assert found.seconds < LONG and found.most < GIGA // 2, (name, found)


def test_hostile_sizes_are_checked_in_a_moment() -> None:
    """Every other kind with one size, another for the next; `--slow` tries all."""
    for i, (name, text) in enumerate(specs()):
        kind, size = divmod(i, len(SIZES))
        if kind % 2 == 0 and size == kind // 2 % len(SIZES):
            moment(name, text)


def test_a_sweep_of_many_values_is_read_in_a_moment() -> None:
    """It was held value against value."""
    moment(*next((name, text) for name, text in specs() if name == "runs 100000"))


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_all_hostile_sizes(size: str) -> None:
    for name, text in specs():
        if name.endswith(size):
            moment(name, text)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_specs_through_every_command(command: str) -> None:
    for name, text in specs():
        Path("a.dln").write_text(text, encoding="utf-8")
        found = through(command, "a.dln")
        assert found.code in (0, 1, 2) and not found.raw, (command, name, found)


@pytest.mark.parametrize("spec", [TABLE, TEXT], ids=["table", "text"])
def test_a_text_of_three_gigabytes(spec: str) -> None:
    Path("a.csv").write_bytes(b"1\n2\n")
    small = check(spec, GIGA)  # a process that has grown by other tests begins with what they hold
    with open("a.csv", "wb") as f:
        f.truncate(3 * GIGA)
    found = check(spec, GIGA)
    assert found.code == 2 and "E508" in found.said and "3,221,225,472 bytes" in found.said
    assert found.seconds < 3 and found.most - small.most < GIGA // 16


@pytest.mark.parametrize("spec", [TABLE, TEXT], ids=["table", "text"])
def test_a_bomb_of_gigabytes(spec: str) -> None:
    member = gzip.compress(b"0,1\n" * (1 << 22), 1)
    Path("a.csv.gz").write_bytes(member * 200)  # 3.3 GB
    found = check(spec)
    assert found.code == 2 and "E508" in found.said and "numpy.savez" in found.said
    assert found.seconds < LONG and found.most < GIGA


def test_a_small_bomb_unpacks_no_further_than_tables_go() -> None:
    Path("a.csv.gz").write_bytes(gzip.compress(b"1\n2\n"))
    small = check(TABLE)
    Path("a.csv.gz").write_bytes(gzip.compress(b"\n" * (64 << 20)))
    found = check(TABLE)
    assert small.code == 0 and found.code == 2 and "E508" in found.said
    assert found.most - small.most < GIGA // 16


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1,2\n" * 10)
    tracemalloc.start()
    assert len(files.decoded(path)) == 40
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 20


def test_many_members_and_a_table_that_is_packed_well() -> None:
    rows = b"".join(b"%d,%d\n" % (i, i % 7) for i in range(3000))
    Path("a.csv.gz").write_bytes(gzip.compress(rows[:9]) + gzip.compress(rows[9:]))
    found = check(TABLE)
    assert found.code == 0, found


DOUBLING = """block b0(x[n]) -> y[n] {
  param W[n, n] = 0
  y = W @ x
}
""" + "".join(
    f"block b{i}(x[n]) -> y[n] {{\n  let p = b{i - 1}()\n  let q = b{i - 1}()\n  y = q(p(x))\n}}\n"
    for i in range(1, 40)
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (DOUBLING + "let net = b39()\nlet y = net([1])\n", "E316"),
        ("fn f0(a) = a\n" + "".join(f"fn f{i}(a) = f{i - 1}(a) + f{i - 1}(a)\n"
         for i in range(1, 50)) + "let a = f49(1)\n", "E316"),
        ("".join(f"{'  ' * i}for i{i} in 0..999 {{\n" for i in range(3)) + "let z = 1\n"
         + "}\n" * 3, "E316"),
        ("let z = [for a in 0..999: [for b in 0..999: [for c in 0..999: 1]]]\n", "E316"),
        ('use "a.dln"\n', "E380"),
        (f'use "{"x" * 300}.dln"\n', "E384"),
        (f'data d = table("{"x" * 300}.csv") {{\n  x[1] = raw\n}}\n', "E501"),
        (f'data d = table("{"x/" * 3000}a.csv") {{\n  x[1] = raw\n}}\n', "E501"),
    ],
    ids=["blocks", "functions", "rounds", "lists", "itself", "name", "file", "path"],
)  # fmt: skip
def test_what_doubles_and_what_is_too_long(text: str, code: str) -> None:
    found = check(text)
    assert found.code == 2 and f"[{code}]" in found.said, found
    assert found.seconds < LONG and found.most < GIGA // 2, found
