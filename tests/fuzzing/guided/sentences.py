"""Texts derived from the rules of the grammar, as Lark reads them: all parse, few mean anything."""

import random
from collections.abc import Sequence
from functools import cache

from lark import Lark
from lark.grammar import NonTerminal, Rule, Symbol
from lark.lexer import PatternStr

from dln.grammar.tables import GRAMMAR

WORDS = {
    "NAME": (
        "x y z h t i n k W b net m f raw label points mnist lr sum mean dense relu tanh softmax nll"
        " sgd adam time batch update epoch rows synthetic length last real prob class binary"
    ).split(),
    "NUMBER": ["0", "1", "2", "3", "0.5", "1e-3", "10", "1e30"],
    "STRING": ['"std.dln"', '"points.csv"', '"gaussians"', '""', '"a.png"'],
    "LONG_STRING": ['"""X.\n.X"""'],
    "UNIT": ["epochs", "epoch", "updates", "steps", "seconds"],
    "CMP": ["==", "!=", "<", "<=", ">", ">="],
    "_NL": ["\n"],
}
"""What stands for the terminals that are patterns."""


@cache
def grammar() -> Lark:
    return Lark(GRAMMAR.read_text(), parser="lalr", keep_all_tokens=True, maybe_placeholders=False)


@cache
def rules() -> dict[str, list[Rule]]:
    """The rules by what they make. Of the versions of the language there is but one."""
    found: dict[str, list[Rule]] = {}
    for rule in grammar().rules:
        if any(s.name == "version" for s in rule.expansion):
            continue
        found.setdefault(rule.origin.name, []).append(rule)
    return found


@cache
def depths() -> dict[str, int]:
    """How deep the shallowest derivation of each symbol is."""
    found: dict[str, int] = {}
    while len(found) < len(rules()):
        for name, made in rules().items():
            known = [r for r in made if all(s.name in found for s in inner(r))]
            if known and name not in found:
                found[name] = 1 + min(max((found[s.name] for s in inner(r)), default=0)
                                      for r in known)  # fmt: skip
    return found


def inner(rule: Rule) -> list[Symbol]:
    """What a rule leaves to other rules."""
    return [s for s in rule.expansion if isinstance(s, NonTerminal)]


def sentence(rng: random.Random, size: int = 60, start: str = "start") -> str:
    """A text with about so many tokens."""
    words: list[str] = []
    waiting: list[Symbol] = [NonTerminal(start)]
    while waiting:
        symbol = waiting.pop()
        if not isinstance(symbol, NonTerminal):
            words.append(word(symbol.name, rng))
            continue
        made: Sequence[Rule] = rules()[symbol.name]
        if len(words) + len(waiting) > size:
            least = min(map(shallow, made))
            made = [rule for rule in made if shallow(rule) == least]
        waiting += reversed(rng.choice(made).expansion)
    return " ".join(words).replace(" \n ", "\n")


def shallow(rule: Rule) -> int:
    return max((depths()[s.name] for s in inner(rule)), default=0)


def word(terminal: str, rng: random.Random) -> str:
    """A text for a terminal."""
    if terminal in WORDS:
        return rng.choice(WORDS[terminal])
    pattern = next(t.pattern for t in grammar().terminals if t.name == terminal)
    assert isinstance(pattern, PatternStr), terminal
    return pattern.value
