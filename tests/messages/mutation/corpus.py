"""What is mutated: the shipped specs, whole or in slices that are read in little time.

A slice is one item that no other uses, such as a check or a block, with all that it needs. An edit
in it is answered as it would be in the whole spec, but sooner.
"""

import random
import re
from collections.abc import Mapping
from functools import cache

import dln.spec as spec
from dln.grammar.parser import parse
from dln.grammar.syntax import Item, Use

DEFINES = re.compile(
    r"^\s*(?:const|fn|block|optimiser|let|data|train)\s+([A-Za-z_]\w*)", re.MULTILINE
)
LINES = 25  # of a slice, at most
SLOW = {
    f"{name}.dln"
    for name in (
        "adding1997 autoencoder char_rnn dbn dbn_finetuned dbn_updown lenet5 lstm_variants"
        " rnn_modes stacked_autoencoder stacked_denoising vanishing"
    ).split()
}
WORD = re.compile(r"[A-Za-z_]\w*")


def one(texts: Mapping[str, str], rng: random.Random) -> str:
    """The name of a text, each line as likely as any other."""
    names = sorted(texts)
    (name,) = rng.choices(names, [texts[n].count("\n") for n in names])
    return name


@cache
def whole() -> dict[str, str]:
    """The shipped specs by file name; a few networks in place of many, which say the same."""
    found = {p.name: p.read_text() for p in spec.lecture().values()}
    for many in ("vanishing.dln", "char_rnn.dln", "feedforward.dln"):
        found[many] = found[many].replace("1..10", "1..2").replace("0..9", "0..1")
    return found


@cache
def sliced() -> dict[str, str]:
    """Slices of the shipped specs by number and file name, those that are read fast."""
    return {
        f"{number}/{name}": part
        for name, text in whole().items()
        if name not in SLOW
        for number, part in enumerate(slices(text))
        if part.count("\n") <= LINES
    }


def slices(text: str) -> list[str]:
    """The slices of a text, none within another."""
    module = parse(text)
    stretches = [_lines(text, item) for item in module.items]
    fixed = {i for i, item in enumerate(module.items) if isinstance(item, Use)}
    home = {n: i for i, part in enumerate(stretches) for n in DEFINES.findall(part)}
    needs = {i: {home[w] for w in WORD.findall(part) if w in home} - {i} | fixed
             for i, part in enumerate(stretches)}  # fmt: skip
    closed = [frozenset(_closure(i, needs)) for i in needs if i not in fixed]
    largest = {c for c in closed if not any(c < other for other in closed)}
    return ["".join(stretches[i] for i in sorted(c)) for c in sorted(largest, key=min)]


def _lines(text: str, item: Item) -> str:
    """The lines of an item, with the comments behind them."""
    start = text.rfind("\n", 0, item.span.start) + 1
    stop = text.find("\n", item.span.stop - 1) + 1
    return text[start : stop or len(text)]


def _closure(start: int, needs: dict[int, set[int]]) -> set[int]:
    found, waiting = {start}, [start]
    while waiting:
        new = needs[waiting.pop()] - found
        found |= new
        waiting += new
    return found
