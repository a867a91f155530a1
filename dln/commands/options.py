"""What commands share: their options, how the words become values, and the spec that is meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import click

from dln.compiler.schema.tables import DTYPES
from dln.flags import read_flags
from dln.printing.terminal import Terminal
from dln.printing.tracing import trace
from dln.settings import Settings
from dln.spec import Compiled, Spec, find, from_file

Command = TypeVar("Command", bound=Callable[..., Any])
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
NAME = re.compile(r"[A-Za-z_]\w*")


# ---- words to values ---------------------------------------------------------------------------


def value_of(text: str) -> object:
    """A constant as it is written on the command line.

    >>> value_of("500"), value_of("1e-3"), value_of("or"), value_of('[500, 250]')
    (500, 0.001, 'or', [500, 250])
    """
    text = text.strip()
    if NUMBER.fullmatch(text):
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    if text in ("true", "false"):
        return text == "true"
    if text[:1] != "[" and not (text[:1] == '"' and text[-1:] == '"' and len(text) > 1):
        return text
    import json  # late: constants are seldom lists

    try:
        found: object = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text} is no list of numbers: {error}") from None
    return found


def constants_of(ctx: click.Context, option: click.Parameter, words: Any) -> dict[str, object]:
    """`-D hidden=500 -D rate=0.1` as values by name."""
    return {name: value_of(text) for name, text in pairs_of(ctx, option, words).items()}


def pairs_of(ctx: click.Context, option: click.Parameter, words: Any) -> dict[str, str]:
    """Words of the form NAME=TEXT."""
    found: dict[str, str] = {}
    for word in words:
        name, _, text = map(str.strip, word.partition("="))
        if not NAME.fullmatch(name) or not text:
            raise click.BadParameter(f"{word!r} is not of the form {option.metavar}")
        if name in found:
            raise click.BadParameter(f"{name} is given twice")
        found[name] = text
    return found


# ---- groups of options -------------------------------------------------------------------------

GROUPS = {
    "spec": (
        click.option("-D", "constants", metavar="NAME=VALUE", multiple=True, callback=constants_of,
                     help="Set a constant of the spec."),
        click.option("--data", metavar="NAME=PATH", multiple=True, callback=pairs_of,
                     help="Read a data set from another file."),
    ),
    "output": (
        click.option("--json", is_flag=True, help="Print one JSON object."),
        click.option("-q", "--quiet", is_flag=True, help="No messages on the way."),
    ),
    "target": (
        click.option("--backend", type=click.Choice(["numpy", "cupy"]),
                     help="Where programs run [numpy]."),
        click.option("--dtype", type=click.Choice(DTYPES),
                     help="The precision of every phase, in place of what the spec says."),
    ),
    "program": (
        click.option("--program", metavar="NAME",
                     help="Only this program, for instance step:sse."),
    ),
    "phase": (click.option("--phase", metavar="NAME", help="Only this phase."),),
    "device": (
        click.option("--seed", type=click.IntRange(0, 2**63 - 1),
                     help="Decides all that is random [0]."),
        click.option("--threads", type=click.IntRange(1), help="Threads of the linear algebra."),
    ),
    "training": (
        click.option("--epochs", type=click.IntRange(0), metavar="N",
                     help="Train each phase for N epochs."),
        click.option("--limit", type=click.IntRange(1), metavar="N",
                     help="Use N examples of each data set."),
        click.option("--slow", is_flag=True,
                     help="Also what only slow checks need: the full recipes."),
    ),
    "jobs": (
        click.option("--jobs", type=click.IntRange(1), metavar="N",
                     help="Run N side by side [all cores]."),
    ),
}  # fmt: skip
"""What several commands take, in the order of their help."""


def takes(*groups: str) -> Callable[[Command], Command]:
    """What a command takes beside its own arguments and options; all take `output`. It is given
    the terminal first."""

    def add(command: Command) -> Command:
        found = click.pass_obj(command)
        for option in reversed([o for group in (*groups, "output") for o in GROUPS[group]]):
            found = option(found)
        return cast(Command, found)

    return add


# ---- what a command is given -------------------------------------------------------------------


def settings(terminal: Terminal, given: Mapping[str, Any]) -> Settings:
    """The settings of a command from its options; `--json` and `--quiet` go to the terminal."""
    terminal.json, terminal.quiet = given["json"], given["quiet"]
    chosen = {k: v for k, v in given.items()
              if k in Settings.__dataclass_fields__ and v is not None}  # fmt: skip
    asked = frozenset(k for k, v in chosen.items() if v is not False and v != {})
    return Settings(**{"backend": read_flags().target, **chosen}, asked=asked)


def loaded(name: str, given: Settings, functions: bool = True) -> Spec:
    """The spec of a command, with its constants and data paths."""
    return from_file(find(name), given, functions)


def compiled(terminal: Terminal, name: str, given: Settings, functions: bool = True) -> Compiled:
    """The spec of a command, compiled for the backend asked for."""
    found = loaded(name, given, functions).compile(given.backend, given.dtype, given.threads)
    flags = read_flags()
    if flags.debug >= 2 or flags.verify:
        trace(terminal, found, flags)
    return found
