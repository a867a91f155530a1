"""What is handed in from Python, as plain values of the right kind, or refused in one line (E563).

NumPy's numbers are told by what they can do, so that nothing is imported here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from operator import index
from typing import Any, NoReturn

from dln.grammar.diagnostics import DlnError, Problem

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


def path(name: str, value: Any) -> str:
    """A path as text. Raises `DlnError` for what is none."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text or not text.isprintable():
        refuse(f"{name} must be a path, not {shown(value)}", 'a text such as "net.safetensors"')
    return text


def by_name(name: str, value: Any) -> Mapping[str, Any]:
    """A dictionary with texts as keys. Raises `DlnError`."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        refuse(f"{name} must be a dictionary by name, not {shown(value)}")
    return value


def constant(name: str, value: Any) -> Any:
    """A number, text, truth value or list of such, as plain Python. Raises `DlnError`."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [constant(name, inner) for inner in value]
    number = isinstance(value, int | float)
    if number and -1.7e308 < value < 1.7e308:
        return value
    if not isinstance(value, str):
        refuse(f"{name} must be a number, a text or a list of such, not {shown(value)}")
    return value
