"""What commands share: their options, how the words become values, and the spec that is meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, TypeVar, cast

import click

from dln.compiler.schema.quantities import bytes_of
from dln.compiler.schema.tables import DTYPES
from dln.flags import read_flags
from dln.grammar.diagnostics import nearest
from dln.printing.terminal import Terminal
from dln.printing.tracing import trace
from dln.settings import Settings
from dln.spec import Compiled, Spec, find, from_file
from dln.usage.idioms import EXAMPLES, VALUES, meant

Command = TypeVar("Command", bound=Callable[..., Any])
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
NAME = re.compile(r"[A-Za-z_]\w*")


# ---- words to values ---------------------------------------------------------------------------


class Wrong(click.BadParameter):
    """A value that an option cannot have, and one that it can have."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


def shown(word: str) -> str:
    """A word of a message: there, and not too long."""
    return f"{word[:60]}..." if len(word) > 60 else word or "nothing"


class Whole(click.ParamType[int]):
    """A whole number from `least` up, as JSON and the generators of random numbers hold it."""

    name = "n"

    def __init__(self, least: int = 0, most: int = 2**63 - 1) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """A number of digits alone; what else means one is the remedy. Raises `Wrong`."""
        text, option = str(value), param.opts[-1] if param else "it"
        plain = text.replace(",", "").replace("_", "")
        number = float(plain) if NUMBER.fullmatch(plain) else float("nan")
        fits = self.least <= number <= self.most and number == int(number)
        if fits and re.fullmatch(r"\+?[0-9]{1,19}", text):
            return int(text)
        bounds = f"up to {self.most}" if number > self.most else f"from {self.least} up"
        right = int(number) if fits else EXAMPLES.get(option, "")
        message = f"{option} takes a whole number {bounds}, not {shown(text)}"
        raise Wrong(message, f"{option} {right}")


class Some(click.ParamType[str]):
    """A word that is not empty: a name or a path."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word; nothing would be taken for what is meant where the option is left out. Raises
        `Wrong`."""
        if not str(value).strip() and param is not None:
            option = param.opts[-1]
            example = f"{option} {EXAMPLES[option]}" if option in EXAMPLES else ""
            raise Wrong(f"{option} takes {param.metavar}, not nothing", example)
        return str(value)


class Amount(click.ParamType[int]):
    """An amount of memory."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Its bytes."""
        text, option = str(value), param.opts[-1] if param else "it"
        found = bytes_of(text)
        if not found:
            form = "an amount of memory, such as 500MB or 2GB"
            raise Wrong(f"{option} takes {form}, not {shown(text)}", f"{option} {EXAMPLES[option]}")
        return found


class OneOf(click.Choice[str]):
    """A word out of few."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word, or what it is called here. Raises `Wrong`."""
        if value in self.choices:
            return str(value)
        option, known = param.opts[-1] if param else "it", " or ".join(self.choices)
        right = meant(str(value).lower(), VALUES) or nearest(str(value), self.choices)
        right = right if right in self.choices else ""
        raise Wrong(f"{option} is {known}, not {shown(str(value))}", right and f"{option} {right}")


def value_of(text: str) -> object:
    """A constant as it is written on the command line. Raises `Wrong` for what is none.

    >>> value_of("500"), value_of("1e-3"), value_of("or"), value_of('[500, 250]')
    (500, 0.001, 'or', [500, 250])
    """
    text = text.strip()
    if NUMBER.fullmatch(text):
        finite(float(text), text)
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    if text in ("true", "false"):
        return text == "true"
    if text[:1] != "[" and not (text[:1] == '"' and text[-1:] == '"' and len(text) > 1):
        return text
    import json  # late: constants are seldom lists

    try:
        found: object = json.loads(text, parse_constant=float)
        finite(found)
    except (ValueError, RecursionError):
        form = 'a text, as in "relu"' if text[:1] == '"' else "a list, as in [500, 250]"
        raise Wrong(f"{shown(text)} is not {form}") from None
    return found


def finite(value: object, text: str = "") -> None:
    """Refuse numbers beyond those that there are, in lists too."""
    for inner in value if isinstance(value, list) else ():
        finite(inner)
    if isinstance(value, int | float) and not isfinite(value):
        raise Wrong(f"{shown(text or str(value))} is more than a number holds (1.8e308)")


def constants_of(ctx: click.Context, option: click.Parameter, words: Any) -> dict[str, object]:
    """`-D hidden=500 -D rate=0.1` as values by name."""
    return {name: value_of(text) for name, text in pairs_of(ctx, option, words).items()}


def pairs_of(ctx: click.Context, option: click.Parameter, words: Any) -> dict[str, str]:
    """Words of the form NAME=TEXT, by name. Raises `Wrong` for others, and for a name that is given
    twice."""
    found: dict[str, str] = {}
    for word in words:
        name, _, text = map(str.strip, word.partition("="))
        if not NAME.fullmatch(name) or not text:
            form = str(option.metavar)
            form = form.replace("NAME", name) if NAME.fullmatch(name) else form
            remedy = f"{option.opts[-1]} {form}" if "=" in word or not word else ""
            raise Wrong(f"{option.opts[-1]} takes {option.metavar}, not {shown(word)}", remedy)
        if name in found:
            raise Wrong(f"{name} is given twice, by {option.opts[-1]}")
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
        click.option("--backend", type=OneOf(["numpy", "cupy"]),
                     help="Where programs run [numpy]."),
        click.option("--dtype", type=OneOf(DTYPES),
                     help="The precision of every phase, in place of what the spec says."),
        click.option("--shards", type=Whole(1), metavar="N",
                     help="Sum each minibatch in N shards, in place of what the spec says."),
    ),
    "files": (
        click.option("--force", is_flag=True, help="Write over files that are there."),
    ),
    "program": (
        click.option("--program", type=Some(), metavar="NAME",
                     help="Only this program, for instance step:sse."),
    ),
    "phase": (click.option("--phase", type=Some(), metavar="NAME", help="Only this phase."),),
    "device": (
        click.option("--seed", type=Whole(), metavar="N",
                     help="Decides all that is random [0]."),
        click.option("--threads", type=Whole(1), metavar="N",
                     help="Threads of the linear algebra."),
    ),
    "training": (
        click.option("--epochs", type=Whole(), metavar="N",
                     help="Train each phase for N epochs."),
        click.option("--limit", type=Whole(1), metavar="N",
                     help="Use N examples of each data set."),
        click.option("--slow", is_flag=True,
                     help="Also what only slow checks need: the full recipes."),
    ),
    "memory": (
        click.option("--memory-limit", type=Amount(), metavar="SIZE",
                     help="Refuse to begin what would take more memory than this, as 2GB."),
    ),
    "jobs": (
        click.option("--jobs", type=Whole(1), metavar="N",
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
    """The settings of a command from its options; `--json` and `--quiet` go to the terminal. Raises
    `Wrong` for an option that is empty."""
    terminal.json, terminal.quiet = given["json"], given["quiet"]
    empty = [k for k, v in given.items() if v == "" and k != "resume"]
    if empty:
        option = f"--{empty[0]}"
        raise Wrong(f"{option} is empty", f"{option} {EXAMPLES.get(option, 'NAME')}")
    chosen = {k: v for k, v in given.items()
              if k in Settings.__dataclass_fields__ and v is not None}  # fmt: skip
    asked = frozenset(k for k, v in chosen.items() if v is not False and v != {})
    return Settings(**{"backend": read_flags().target, **chosen}, asked=asked)


def loaded(name: str, given: Settings, functions: bool = True) -> Spec:
    """The spec of a command, with its constants and data paths."""
    return from_file(find(name), given, functions)


def compiled(terminal: Terminal, name: str, given: Settings, functions: bool = True) -> Compiled:
    """The spec of a command, compiled for the backend asked for."""
    found = loaded(name, given, functions).compile(
        given.backend, given.dtype, given.threads, given.memory_limit, shards=given.shards
    )
    flags = read_flags()
    if flags.debug >= 2 or flags.verify:
        trace(terminal, found, flags)
    return found
