"""The n-th write, fsync, rename or open of a run fails: one clear error, and what was saved before
can be read."""

from __future__ import annotations

import builtins
import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import dln
from dln.cli import main
from dln.grammar.diagnostics import DlnError, Fault
from dln.runtime.checkpoint.rundir import RunDirectory
from trials.processes import Ended
from trials.specs import written

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
CALLS = ("write", "fsync", "replace", "open")
Command = Callable[[list[str]], Ended]


def failing(
    folder: Path, numbers: Iterable[int], command: Command, errors: Iterable[int] = ERRORS
) -> Counter[str]:
    """A run for each call, error and number n: its n-th such call fails. What came of them."""
    found, run = Counter[str](), folder / "run"
    spec = written(folder, "minibatch", 100)
    for call, error, n in product(CALLS, errors, numbers):
        shutil.rmtree(run, ignore_errors=True)
        with nth_fails(call, n, error, run) as failed:
            ended = command(["run", str(spec), "--out", str(run), "-q"])
        found["failed" if failed else "came to its end"] += 1
        for what in wrong(run, ended, bool(failed), os.strerror(error)):
            found[f"{what}: {call} {n}"] += 1
    return found


def in_this_process(words: list[str]) -> Ended:
    """A command in this process."""
    out = StringIO()
    with redirect_stdout(out), redirect_stderr(out), pytest.raises(SystemExit) as left:
        main(words)
    return Ended(int(str(left.value.code)), out.getvalue())


class Compiled:
    """Runs of a spec that is compiled once, from Python, told of as by a command."""

    def __init__(self) -> None:
        self.compiled: Any = None

    def __call__(self, words: list[str]) -> Ended:
        _, spec, _, out, *_ = words
        self.compiled = self.compiled or dln.load(spec).compile()
        try:
            with RunDirectory.create("a", out) as rundir:
                rundir.begin({"spec.dln": "", "manifest.json": "{}"}, spec=spec)
                self.compiled.session(0).train(rundir=rundir)
        except (DlnError, Fault) as error:
            return Ended(2, str(error if isinstance(error, DlnError) else error.at(None)))
        return Ended(0, "")


def wrong(run: Path, ended: Ended, failed: bool, why: str) -> Iterator[str]:
    """What is wrong with a run in which a call has failed, or none."""
    if ended.traced:
        yield "traceback"
    if not failed:
        if ended.code != 0:
            yield "failed by itself"
        return
    if ended.code not in (1, 2):
        yield f"exit {ended.code}"
    if ended.printed.count("error[") != 1 or why not in ended.printed:
        yield f"printed {ended.printed[:200]!r}"
    if list(run.rglob(".*.tmp")):
        yield "litter"
    if (run / "log.jsonl").exists() and (run / "manifest.json").exists():
        try:
            restored = RunDirectory.reopen(str(run)).newest()
        except Fault as fault:
            yield f"lost ({fault.message})"
        else:
            if restored is not None and restored.refused:
                yield "unreadable"


class Half:
    """A file of which a write may fail when half of it is written."""

    def __init__(self, file: Any, step: Callable[[str], None]) -> None:
        self.file, self.step = file, step

    def __enter__(self) -> Half:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> None:
        self.file.write(data[: len(data) // 2])
        self.step("write")
        self.file.write(data[len(data) // 2 :])


@contextmanager
def nth_fails(call: str, n: int, number: int, below: Path) -> Iterator[list[int]]:
    """The n-th call of a kind on files of a folder fails; the list tells whether it came to it."""
    left, failed, files = n, list[int](), set[int]()
    opened, low, put, sync, rename = builtins.open, os.open, os.write, os.fsync, os.replace

    def step(kind: str) -> None:
        nonlocal left
        left -= kind == call
        if kind == call and left == 0:
            failed.append(n)
            raise OSError(number, os.strerror(number))

    def inside(path: object) -> bool:
        return isinstance(path, str | Path) and str(path).startswith(str(below))

    def open_low(path: Any, *args: Any, **kw: Any) -> int:
        mine = inside(path)
        if mine:
            step("open")
        file = low(path, *args, **kw)
        (files.add if mine else files.discard)(file)
        return file

    def open_high(path: Any, mode: str = "r", *args: Any, **kw: Any) -> Any:
        if not inside(path) or "r" in mode:
            return opened(path, mode, *args, **kw)
        step("open")
        file = opened(path, mode, *args, **kw)
        files.add(file.fileno())
        return Half(file, step)

    def write(file: int, data: Any) -> int:
        if file in files:
            step("write")
        return put(file, data)

    def fsync(file: int) -> None:
        if file in files:
            step("fsync")
        sync(file)

    def replace(source: Any, target: Any) -> None:
        if inside(target):
            step("replace")
        rename(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "open", open_high)
        for name, made in (("open", open_low), ("write", write), ("fsync", fsync),
                           ("replace", replace)):  # fmt: skip
            patch.setattr(os, name, made)
        yield failed
