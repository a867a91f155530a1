"""What is written in place of a word of another tool, with the arguments that it is given."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from dln.grammar.idioms import forms
from dln.grammar.idioms.concepts import calls

Writer = Callable[[str], str]  # how a text of another tool is written here


class Told(NamedTuple):
    """What is said of a stretch of a text, with what stands in its place, or else as advice."""

    start: int
    stop: int
    says: str
    remedies: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    sure: bool = False  # whether it says more than a form that fits


class Usage(NamedTuple):
    """A word as it is used: where, on what, with which arguments."""

    name: str
    start: int
    stop: int
    made: int  # where the first call ends
    place: str
    args: tuple[str, ...] | None
    again: tuple[str, ...] | None  # arguments of what has been made, as in `nn.BCELoss()(y, t)`
    receiver: str
    head: str  # the statement before it
    known: frozenset[str]
    write: Writer


OF_DATA = re.compile(r"(?:mnist|data|test|valid|train|fit)\w*(?:\.\w+)?")
LOGS = re.compile(r"log\(softmax\((.*)\)\)")
OVER = "over net with sgd(lr = 0.1)"
LETTERS = {"a": "x", "b": "y", "c": "z", "m": "A", "t": "train.csv"}
RATE = {**LETTERS, "a": "0.1", "b": "1000", "c": "0.96"}
PRODUCT = {**LETTERS, "a": "W", "b": "x", "c": "b"}
ALONE = ("act", "flow", "init")  # places in which a function is named, and not called


def filled(use: Usage, kind: str, here: str, says: str, own: bool) -> Told:
    """A template with the arguments in it where they are there, and otherwise as an example."""
    given = _given(use, kind)
    named = kind not in ("loss", "metric", "data") and any(map(NAMED.match, given))
    holes = list(dict.fromkeys(re.findall(r"\{(\w)\}", here)))
    put = _filling(use, kind, here, given)
    needed = len([h for h in holes if h in "abc"])
    enough = all(h in put for h in holes) and (
        len(given) <= max(needed, 1) or kind in ("data", "rate")
    )
    if use.place in ALONE and kind in ("curve", "function") and holes == ["a"]:
        return _as_fn(use, here, says)
    if enough and kind == "data" and use.place == "let":
        line = f"as in data d = {forms.filled(here, put)} {{ x[4] = raw[:4] }}"
        return Told(use.start, use.stop, says, facts=(line,))
    if enough and own and holes and not named and (use.args is not None or use.receiver):
        ways = tuple(forms.filled(way, put) for way in here.split(forms.OR))
        sure = kind in ("loss", "metric") and not any(map(OF_DATA.fullmatch, given))
        return Told(use.start, use.stop, says, ways, sure=sure)
    first = here.split(forms.OR)[0]
    if kind == "loss":
        shown = forms.filled(first, dict(zip("ab", _letters(first), strict=True)))
        return Told(use.start, use.stop, says, facts=(f"as in minimize {shown} {OVER}",))
    letters = PRODUCT if "@ {b}" in first else RATE if kind == "rate" else LETTERS
    shown = forms.filled(first, {h: letters[h] for h in holes})
    return Told(use.start, use.stop, says, facts=(f"as in {_bare(shown)}",))


NAMED = re.compile(r"\w+\s*=(?!=)")


def _given(use: Usage, kind: str) -> list[str]:
    """What a function is given: what it is a method of, then its arguments."""
    whole = calls.plain_args(use.again if use.again is not None else use.args)
    given = [use.receiver] * bool(use.receiver) + list(whole)
    if kind in ("loss", "metric"):
        given = [calls.value(a) for a in given]
    if kind == "metric" and len(given) == 2 and "argmax" in given[0]:
        given.reverse()  # what is found stands behind what is right
    return given


def _filling(use: Usage, kind: str, here: str, given: list[str]) -> dict[str, str]:
    """What stands in the holes of a template."""
    texts = [a for a in given if re.fullmatch(r"[\"'].*[\"']", a.strip())]
    put = dict(zip("abc", map(use.write, given), strict=False))
    if kind == "loss" and "cross_entropy({a}" in here:
        put = {h: LOGS.sub(r"\1", text) for h, text in put.items()}
    put |= {"m": given[0]} if given and re.fullmatch(r"[\w.]+", given[0]) else {}
    return put | ({"t": texts[0].strip()[1:-1]} if texts else {})


def _as_fn(use: Usage, here: str, says: str) -> Told:
    """A function that is named where it stands: it gets a line of its own."""
    name = re.sub(r"\W", "", use.name).casefold().strip("_") or "f"
    body = _bare(forms.filled(here, {"a": "a"}))
    other = "" if name == use.name else f", and {name} here"
    line = f"as in fn {name}(a) = {body}, on a line of its own{other}"
    return Told(use.start, use.stop, says, facts=(line,))


def _bare(text: str) -> str:
    """A text without brackets around all of it."""
    whole = text.startswith("(") and text.endswith(")") and text.count("(") == 1
    return text[1:-1] if whole else text


def _letters(here: str) -> tuple[str, str]:
    """What stands for the arguments of a loss in an example."""
    if here.startswith(("cross", "nll")):
        return ("z", "label")
    return ("p", "t") if "binary" in here else ("y", "t")
