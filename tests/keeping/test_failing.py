"""The system fails a run, or kills it, or harms its files: what was saved is there, or refused."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from trials import damage
from trials.failing import CALLS, ERRORS, Compiled, failing, in_this_process
from trials.specs import KINDS

FIGURES = str(Path(__file__).with_name("figures.py"))
FINE = {"failed", "came to its end"}


def test_the_nth_call_fails(tmp_path: Path) -> None:
    command, numbers = Compiled(), (1, 2, 3, 4, 6, 10)
    found = failing(tmp_path, numbers, command, (errno.ENOSPC,))
    found += failing(tmp_path, (5,), command, (errno.EIO, errno.EACCES))
    assert found.keys() <= FINE, found
    assert found.total() == len(CALLS) * 8 and found["failed"] > 24


@pytest.mark.slow
def test_the_nth_call_of_a_command_fails(tmp_path: Path) -> None:
    found = failing(tmp_path, range(1, 51), in_this_process)
    assert found.keys() <= FINE, found
    assert found.total() == len(CALLS) * len(ERRORS) * 50


@pytest.mark.skipif(os.name != "posix", reason="processes are forked")
@pytest.mark.parametrize("count", [1, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_runs_go_on_bit_for_bit(count: int) -> None:
    command = [sys.executable, FIGURES, "kills", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    counted = {"trial", "count", "seconds", "killed", "further", "runs equal to the unbroken one"}
    assert found.keys() <= counted, found
    assert found["killed"] == count and found["runs equal to the unbroken one"] >= min(
        count, len(KINDS)
    )


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_damaged_checkpoints(count: int) -> None:
    found = damage.checkpoints(count)
    assert found.keys() <= {"refused", "as it was"}, found


@pytest.mark.parametrize("count", [400, pytest.param(5_000, marks=pytest.mark.slow)])
def test_damaged_data(tmp_path: Path, count: int) -> None:
    found = damage.data_files(tmp_path, count)
    assert found.keys() <= {"refused", "as it was", "as the file says"}, found
