"""The environment variables that dln reads: one table, one mechanism.

    DLN_DEBUG    0 errors in words (the default); 1 also the traceback of a defect, and what each
                 part of a command took; 2 also the size of the graph after each stage; 3 also the
                 graphs; 4 also the program texts. All of it goes to stderr.
    DLN_TARGET   the backend where none is asked for: numpy (the default) or cupy.
    DLN_VERIFY   1 checks every invariant of the graph after each stage, and proves of each program
                 that it reads no memory before it has written it.
    DLN_POISON   1 fills the memory of a program with NaN before each step.
    DLN_MPI_CUDA 1 says that MPI takes arrays of a GPU as they are.
    DLN_CACHE    0 keeps nothing of what is worked out of a spec, and looks for nothing.

An option of the command line comes before its variable.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from dln.grammar.diagnostics import Fault
from dln.grammar.record import Record

DEEPEST = 4


class Flags(Record):
    """The flags in force."""

    debug: int = 0
    target: str = "numpy"
    verify: bool = False
    poison: bool = False
    cache: bool = True
    direct: bool = False


def read_flags(environment: Mapping[str, str] | None = None) -> Flags:
    """The flags as the environment sets them. Raises Fault E012 for what is no such value.

    >>> read_flags({"DLN_DEBUG": "2"})
    Flags(debug=2, target='numpy', verify=False, poison=False, cache=True, direct=False)
    """
    env = os.environ if environment is None else environment
    debug = _number(env, "DLN_DEBUG", DEEPEST)
    target = env.get("DLN_TARGET") or "numpy"
    verify, poison = (_number(env, name, 1) == 1 for name in ("DLN_VERIFY", "DLN_POISON"))
    cache = _number(env, "DLN_CACHE", 1, "1") == 1
    direct = _number(env, "DLN_MPI_CUDA", 1) == 1
    return Flags(debug, target, verify, poison, cache, direct)


def _number(env: Mapping[str, str], name: str, most: int, usual: str = "0") -> int:
    text = env.get(name, "") or usual
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise Fault(f"{name} is {text}", f"set it to a number from 0 to {most}", "E012")
    return int(text)
