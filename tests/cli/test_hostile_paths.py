"""Files that a spec names: nothing outside of its folder is opened, nothing waits for a pipe.

The oracle is an audit hook of the interpreter, which is told of every file that is opened and of
every folder that is listed.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

OPENED: list[str] = []
ARMED = [False]
EVENTS = {"open", "os.listdir", "os.scandir"}
HERE = Path(__file__).parents[2]


def noted(event: str, args: tuple[object, ...]) -> None:
    if ARMED[0] and event in EVENTS and isinstance(args[0], str | bytes | os.PathLike):
        OPENED.append(os.path.realpath(os.fsdecode(args[0])))


sys.addaudithook(noted)  # cannot be taken back: it looks only while it is armed

KINDS = {
    "use": 'use "{}"\nlet n = 1\n',
    "table": 'data d = table("{}") {{\n  x[1] = raw[:1]\n}}\n',
    "text": 'data d = text("{}") {{\n  x = raw\n}}\n',
    "npz": 'data d = npz("{}") {{\n  x[1] = x\n}}\n',
    "idx": 'data d = idx("{}") {{\n  x[1] = raw\n}}\n',
    "glyphs": 'let g = glyphs("{}")\n',
}
REFUSALS = {"E105", "E384", "E501", "E502", "E511"}  # a text with a line end is none
DIRECT = ["", ".", "..", "/", "inside", "//", "inside/../..", "../", "\0", "a\0b", "x" * 300,
          "~", "~/secret", "~root/secret", "$HOME/secret", "file:///etc/passwd", "file://secret",
          "http://127.0.0.1:9/secret", "C:\\secret", "..\\secret", "\\\\host\\secret", "NUL",
          "%2e%2e/secret", "-", "|cat /etc/passwd", "secret\n", "/etc/passwd", "/etc/hostname",
          "/dev/stdin", "/dev/zero", "/dev/tty", "/dev/fd/0", "/proc/self/environ",
          "/proc/self/root/etc/passwd", "/proc/self/cwd/../secret", "../secret", "./../secret",
          "inside/../../secret", "inside//..//../secret", "{out}/secret"]  # fmt: skip
LINKS = {"absolute": "{out}/secret", "relative": "../out/secret", "chain": "absolute",
         "passwd": "/etc/passwd", "environ": "/proc/self/environ", "memory": "/proc/self/mem",
         "zero": "/dev/zero", "stdin": "/dev/stdin", "tty": "/dev/tty", "loop": "loop",
         "one": "two", "two": "one", "nowhere": "{out}/nothing", "gone": "missing",
         "up": "..", "root": "/", "folder": "{out}", "cwd": "/proc/self/cwd"}  # fmt: skip
THROUGH = ["up/out/secret", "root/etc/passwd", "root/dev/zero", "folder/secret", "folder/pipe",
           "cwd/../out/secret", "inside/deep/secret", "loop/secret", "pipe", "socket",
           "data/secret", "secret"]  # `data` is searched, and a link  # fmt: skip


def laid_out(tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder for a spec, with links of every kind out of it, and the names to be tried."""
    out, base = tmp_path / "out", tmp_path / "base"
    (base / "inside").mkdir(parents=True)
    out.mkdir()
    np.savez(out / "numbers.npz", x=np.zeros((3, 1)))
    (out / "secret").write_text("1\n2\n3\n")
    os.mkfifo(out / "pipe")
    os.mkfifo(base / "pipe")
    (base / "data").symlink_to(out)
    (base / "inside" / "deep").symlink_to(out)
    for name, target in LINKS.items():
        (base / name).symlink_to(target.format(out=out))
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(base)  # the path of a socket is short
        s.bind("socket")
        os.chdir(here)
    return base, [*(n.format(out=out) for n in DIRECT), *LINKS, *THROUGH]


@contextmanager
def watched(seconds: float) -> Iterator[list[str]]:
    """What is opened in here; what takes longer than that is stopped."""

    def late(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    OPENED.clear()
    ARMED[0] = True
    try:
        yield OPENED
    finally:
        ARMED[0] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def escaped(found: list[str], base: Path) -> list[str]:
    """Paths that are neither the spec's, nor the package's, nor of Python itself."""
    known = [base, HERE, *map(Path, {sys.prefix, sys.base_prefix, *sys.path} - {"", "."})]
    roots = {os.path.realpath(p) for p in known}
    return [p for p in found if not any(Path(p).is_relative_to(r) for r in roots)]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_outside_is_opened(kind: str, tmp_path: Path, dln: Callable[..., Any]) -> None:
    base, names = laid_out(tmp_path)
    assert len(names) >= 60
    spec = base / "hostile.dln"
    for name in names:
        spec.write_text(KINDS[kind].format(name), encoding="utf-8")
        with watched(10.0) as opened:
            done = dln("check", spec)
        assert not escaped(opened, base), (name, opened)
        code = done.err[len("error[") :][:4]
        assert done.code == 2 and code in REFUSALS, (name, done.err)


@pytest.mark.parametrize("path", ["pipe", "socket", "zero", "loop", "nowhere", "no/such", "", "\0"])
def test_what_a_user_names_must_be_a_file_too(
    path: str, tmp_path: Path, dln: Callable[..., Any]
) -> None:
    base, _ = laid_out(tmp_path)
    spec = base / "d.dln"
    spec.write_text(KINDS["table"].format("inside.csv"), encoding="utf-8")
    for words in (["check", spec, "--data", f"d={base / path}"], ["check", base / path],
                  ["run", "--resume", base / path]):  # fmt: skip
        with watched(10.0):
            done = dln(*words)
        assert done.code == 2 and "E999" not in done.err, (words, done.err)


def test_a_folder_that_a_user_names_holds_its_files_itself(
    tmp_path: Path, dln: Callable[..., Any]
) -> None:
    base, _ = laid_out(tmp_path)
    (base / "inside" / "linked.csv").symlink_to(tmp_path / "out" / "secret")
    spec = tmp_path / "d.dln"
    spec.write_text(KINDS["table"].format("linked.csv"), encoding="utf-8")
    with watched(10.0) as opened:
        done = dln("check", spec, "--data", f"d={base / 'inside'}")
    assert done.code == 2 and "E502" in done.err and "leaves the folder" in done.err
    assert str(tmp_path / "out" / "secret") not in opened


@pytest.mark.parametrize("to", ["../a.csv", "/tmp/a.csv", "x/../../a.csv", "away/a.csv"])
def test_tasks_write_into_their_folder_alone(
    to: str, tmp_path: Path, dln: Callable[..., Any]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "away").symlink_to(tmp_path / "out")
    spec = tmp_path / "t.dln"
    spec.write_text(f'let a = 1\ntask t() {{\n  emit [1, 2] to "{to}"\n}}\n', encoding="utf-8")
    done = dln("run", spec, "--out", "r")
    assert done.code in (1, 2) and "E015" in done.err, done.err
    assert not [*(tmp_path / "out").iterdir(), *tmp_path.glob("*.csv")]
