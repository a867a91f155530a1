"""What all tests share.

The option `--slow`, without which tests marked slow are skipped. And three nets under every test:
each program that is compiled is proved to read no memory that it has not written, the memory of
each is filled with NaN before every run, and a rewriting that does not end fails.
"""

import gc
import os
from collections.abc import Iterable

import pytest

from dln.compiler.lower import emit
from dln.compiler.lower.definite import verify_program
from dln.compiler.lower.writer import Writer
from dln.compiler.passes import rewriting
from dln.compiler.passes.rewriting import Log
from dln.compiler.plan import Program
from dln.runtime.device.host import Host

gc.set_threshold(50_000)  # graphs are many small objects; most go without a collection
os.environ["DLN_POISON"] = "1"  # for the processes that tests start
Host.poisons = True  # for devices that tests make themselves


def proved(writer: Writer, name: str, dtype: str) -> Program:
    """The program of a schedule, if its text stands up to the verifier; each text once."""
    made = written(writer, name, dtype)
    key = hash((made.text, made.buffers, made.slots))
    if key not in sound:
        verify_program(made)
        sound.add(key)
    return made


def not_given_up(log: Log | None, rules: Iterable[str]) -> None:
    """A rewriting that does not end fails, also where nobody keeps a log."""
    noted: Log = []
    given_up(noted, rules)
    rewriting.must_end(noted)


given_up, rewriting.give_up = rewriting.give_up, not_given_up
sound: set[int] = set()
written, emit.program = emit.program, proved


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="takes long: runs with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)
