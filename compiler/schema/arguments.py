"""What is handed in from Python, as plain values of the right kind, or refused in one line (E563).

NumPy's numbers are told by what they can do, so that nothing is imported here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from operator import index
from typing import Any, NoReturn, ParamSpec, TypeVar

from dln.compiler.schema.quantities import bytes_of
from dln.grammar.diagnostics import DlnError, Problem, nearest

P = ParamSpec("P")
R = TypeVar("R")

LARGEST = 2**64 - 1


def refuse(text: str, remedy: str = "") -> NoReturn:
    """Raise `DlnError` E563."""
    raise DlnError([Problem("E563", text, remedy=remedy)])


def shown(value: object) -> str:
    """A value as a message has it, however it is made."""
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:60]}..."


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """What users call: arguments that it does not take, or lacks, are a `DlnError`."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            at = error.__traceback__
            if at is not None and at.tb_next is None:  # of the call, not of what it does
                _misfit(function, args[: function.__qualname__.count(".")], kwargs, str(error))
            raise

    return called


VERBS = ("train", "step", "grad", "apply", "save", "load", "params", "evaluate", "fit", "predict")


def found_in(other: str) -> Callable[[type[R]], type[R]]:
    """Objects of a class that are asked for a verb of what is made of them say who has it."""

    def lacking(self: object, name: str) -> NoReturn:
        text = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(f"{text}: it is one of a session, {other}" if name in VERBS else text)

    def told(made: type[R]) -> type[R]:
        setattr(made, "__getattr__", lacking)  # noqa: B010 - unseen by type checkers
        return made

    return told


def _misfit(
    function: Callable[..., object], own: tuple[object, ...], named: Iterable[str], said: str
) -> NoReturn:
    """Raise `DlnError` for a call that does not fit; `own` is the object whose verb it is."""
    from inspect import Parameter, Signature, signature  # late: seldom needed

    name, parameters = function.__name__, list(signature(function).parameters.values())[len(own) :]
    if not own and name in getattr(sys.modules.get("dln"), "__all__", ()):
        name = f"dln.{name}"
    takes = [p.replace(annotation=Parameter.empty) for p in parameters]
    rest = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    known = [p.name for p in takes if p.kind not in rest]
    how = f"{name}{Signature(takes)}"
    strange = next((k for k in named if k not in known), None)
    if strange is not None and all(p.kind is not Parameter.VAR_KEYWORD for p in takes):
        near = nearest(strange, known)
        refuse(f"{name} takes no {strange}", f"{near}=..." if near else how)
    if "positional" in said and name == "train":
        how = 'train("fit", data={"d": (x, label)}), by the name of the data set'
        refuse("train takes a phase, and the rest by name", how)
    refuse(said.replace(function.__qualname__, name), how)


def method(value: object, name: str) -> bool:
    """Whether an object, and not its class alone, has a method."""
    return not isinstance(value, type) and callable(getattr(value, name, None))


def whole(name: str, value: Any, least: int = 0, most: int = LARGEST) -> int:
    """A whole number of any library. Raises `DlnError`."""
    try:
        number = None if isinstance(value, bool) else index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        up = f"of at least {least}" if number is None or number < least else f"up to {most}"
        refuse(f"{name} must be a whole number {up}, not {shown(value)}")
    return number


def number(name: str, value: Any) -> float:
    """A number of any library. Raises `DlnError`."""
    try:
        found = None if isinstance(value, str | bytes | bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None:
        refuse(f"{name} must be a number, not {shown(value)}")
    return found


def memory(name: str, value: Any) -> int:
    """An amount of memory, in bytes. Raises `DlnError`."""
    found = bytes_of(value) if isinstance(value, str) else whole(name, value, 1)
    if not found:
        refuse(f"{name} must be an amount of memory, not {shown(value)}", '"2GB"')
    return found


def path(name: str, value: Any, example: str = "net.safetensors") -> str:
    """A path as text, as `example` is one. Raises `DlnError` for what is none."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text or not text.isprintable():
        refuse(f"{name} must be a path, not {shown(value)}", f'a text such as "{example}"')
    return text


def by_name(name: str, value: Any) -> Mapping[str, Any]:
    """A dictionary with texts as keys. Raises `DlnError`."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        refuse(f"{name} must be a dictionary by name, not {shown(value)}")
    return value


def constant(name: str, value: Any) -> Any:
    """A number, text, truth value or list of such, as plain Python. Raises `DlnError`."""
    try:
        return _plain(name, value)
    except RecursionError:
        refuse(f"{name} must be a list of numbers or texts, and holds itself, or too many lists")


def _plain(name: str, value: Any) -> Any:
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(name, inner) for inner in value]
    number = isinstance(value, int | float)
    if number and -1.7e308 < value < 1.7e308:
        return value
    if not isinstance(value, str):
        refuse(f"{name} must be a number, a text or a list of such, not {shown(value)}")
    return value
