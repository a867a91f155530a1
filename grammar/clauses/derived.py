"""What the grammar says of statements, read off its rules: their clauses in order, and where they
stand. There is no second list of either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from dln.grammar import tables

Rules = Mapping[str, list[list[str]]]  # by name, what each may be made of, the longest first


class Statement(NamedTuple):
    """A statement: the rule that it is, and the words that its clauses begin with, in order."""

    rule: str
    clauses: tuple[str, ...]


@cache
def _rules() -> tuple[Rules, Mapping[str, str]]:
    """The rules of the grammar, and the words that are keywords by their kind."""
    data = tables.load()
    found: dict[str, list[list[str]]] = {}
    for origin, symbols, *_ in data["rules"]:
        found.setdefault(origin, []).append(symbols.split())
    for several in found.values():
        several.sort(key=len, reverse=True)
    words = {kind: text for kind, text, regex, _ in data["terminals"] if not regex}
    return found, {kind: text for kind, text in words.items() if text.isidentifier()}


@cache
def statements() -> Mapping[str, tuple[Statement, ...]]:
    """The statements by the word that they begin with: a `state` of a phase is another than one of
    an optimiser."""
    rules, words = _rules()
    values = frozenset(r for r in _within("expr") if "expr" in _within(r))
    found: dict[str, list[Statement]] = {}
    for rule, made in rules.items():
        heads = {s[0] for s in made if s[-1:] == ["_NL"] and s[0] in words}
        for head in heads:
            clauses = dict.fromkeys(_clauses(rules, words, rule, values))
            clauses.pop(words[head], None)
            found.setdefault(words[head], []).append(Statement(rule, tuple(clauses)))
    return {word: tuple(some) for word, some in found.items()}


@cache
def _within(start: str) -> frozenset[str]:
    """The rules that a rule is made of, with those that they are made of."""
    rules, _ = _rules()
    found, waiting = set[str](), [start]
    while waiting:
        new = {s for some in rules.get(waiting.pop(), ()) for s in some if s in rules} - found
        found |= new
        waiting += new
    return frozenset(found)


def _clauses(
    rules: Rules, words: Mapping[str, str], rule: str, values: frozenset[str]
) -> Iterator[str]:
    """The words in a rule, without those of values and of the statements in its body."""
    waiting, seen = [rule], {rule}
    while waiting:
        for symbols in rules[waiting.pop(0)]:
            for s in symbols:
                if s in words:
                    yield words[s]
                elif s in rules and s not in seen | values and not _ends_lines(s):
                    seen.add(s)
                    waiting.append(s)


@cache
def _ends_lines(rule: str) -> bool:
    """Whether lines end in a rule: a statement does, and what holds some."""
    return any("_NL" in some for r in (rule, *_within(rule)) for some in _rules()[0][r])


def clauses(word: str) -> tuple[str, ...]:
    """The words of the clauses that a statement may have, in order."""
    return tuple(dict.fromkeys(c for st in statements().get(word, ()) for c in st.clauses))


@cache
def owners(clause: str) -> tuple[str, ...]:
    """The statements that have a clause."""
    return tuple(word for word in statements() if clause in clauses(word))


@cache
def homes(word: str) -> tuple[str, ...]:
    """The items in whose braces a statement stands; () where it stands at the top of a file."""
    rules, words = _rules()
    items = [s for some in rules["item"] for s in some if s != "for_items"]
    made = {st.rule for st in statements().get(word, ())}
    return tuple(i for i in items if made & _within(i))
