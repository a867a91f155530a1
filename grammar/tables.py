"""The parse tables: made from dln.lark by Lark, shipped as plain JSON, loaded in milliseconds.

Lark takes 0.4 s to analyse the grammar. `python -m dln.grammar.tables` writes what it found to
dln.tables.json, under the hash of the grammar and the version of Lark. Where these do not match,
`load` asks Lark itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lark
from lark import Lark, Token, Tree
from lark.grammar import NonTerminal, Rule, RuleOptions, Symbol, Terminal
from lark.parse_tree_builder import ParseTreeBuilder
from lark.parsers.lalr_analysis import IntParseTable, Reduce, Shift
from lark.parsers.lalr_parser_state import ParseConf, ParserState

from dln.grammar.record import Record

GRAMMAR = Path(__file__).with_name("dln.lark")
SHIPPED = Path(__file__).with_name("dln.tables.json")

Data = dict[str, Any]
Action = tuple[Any, Any]
PASS = "pass"  # a reduction by a rule that makes nothing of its one child


class Pattern(Record):
    """One terminal: a fixed text, or a regular expression when `regex`."""

    name: str
    text: str
    regex: bool
    priority: int


class Reduction(Rule):
    """A rule with what a parse asks of it at each reduction: how many values it takes, what it is
    called, and what makes one of them."""

    __slots__ = ("call", "name", "size")

    call: Callable[[list[Any]], Any]
    name: str
    size: int


class Rows(dict[int, dict[str, Action]]):
    """The actions of each parser state by terminal or rule name, each row read on first use."""

    def __init__(self, rows: list[str], names: list[str], rules: Sequence[Rule]) -> None:
        super().__init__()
        self.rows, self.names = rows, names
        self.reduces = [(PASS if passes_on(rule) else Reduce, rule) for rule in rules]
        self.passed: dict[tuple[int, int, str], int] = {}

    def passing(self, below: int, top: int, kind: str) -> int:
        """The state after all rules are reduced that pass on their one value as it is, before a
        token of some kind: as a value is an atom, a power, a term, a sum and so on."""
        key = below, top, kind
        if key not in self.passed:
            while (found := self[top].get(kind)) and found[0] is PASS:
                top = self[below][found[1].origin.name][1]
            self.passed[key] = top
        return self.passed[key]

    def __missing__(self, state: int) -> dict[str, Action]:
        """A row is `name action name action ...`; an action is a state, or -1 - rule."""
        words = iter(map(int, self.rows[state].split()))
        row = {
            self.names[name]: (Shift, action) if action >= 0 else self.reduces[-1 - action]
            for name, action in zip(words, words, strict=True)
        }
        self[state] = row
        return row


def analyse(grammar: str) -> Data:
    """The tables of a grammar as plain data.

    Raises:
        lark.exceptions.GrammarError: where two rules collide.
    """
    made = Lark(grammar, parser="lalr", keep_all_tokens=True, maybe_placeholders=True)
    table = made.parser.parser._parse_table
    states = _in_order(table.states, table.start_states["start"])
    place = {state: i for i, state in enumerate(states)}
    names = sorted({name for row in table.states.values() for name in row})
    rules = {rule: i for i, rule in enumerate(made.rules)}

    def written(row: dict[str, Action]) -> str:
        pairs = ((n, place[a] if act is Shift else -1 - rules[a]) for n, (act, a) in row.items())
        return " ".join(f"{names.index(name)} {action}" for name, action in sorted(pairs))

    return {
        "grammar": fingerprint(grammar),
        "start": place[table.start_states["start"]],
        "end": place[table.end_states["start"]],
        "ignore": list(made.ignore_tokens),
        "terminals": [
            [t.name, t.pattern.value, t.pattern.type == "re", t.priority] for t in made.terminals
        ],
        "names": names,
        "rules": [_written_rule(rule) for rule in rules],
        "rows": [written(table.states[state]) for state in states],
    }


def _in_order(states: dict[int, dict[str, Action]], start: int) -> list[int]:
    """The states as they are reached from the start, so that two runs write the same file."""
    found = [start]
    seen = {start}
    for state in found:  # grows as it goes
        for _, (action, after) in sorted(states[state].items(), key=lambda entry: entry[0]):
            if action is Shift and after not in seen:
                seen.add(after)
                found.append(after)
    return found


def _written_rule(rule: Rule) -> list[Any]:
    empty = "".join(str(int(e)) for e in rule.options.empty_indices)
    symbols = " ".join(symbol.name for symbol in rule.expansion)
    return [str(rule.origin.name), symbols, rule.alias, bool(rule.options.expand1), empty]


def _rule(origin: str, symbols: str, alias: str | None, expand1: bool, empty: str) -> Reduction:
    expansion: list[Symbol] = [
        Terminal(name) if name.isupper() else NonTerminal(name) for name in symbols.split()
    ]
    options = RuleOptions(True, expand1, empty_indices=tuple(e == "1" for e in empty))
    made = Reduction(NonTerminal(origin), expansion, alias=alias, options=options)
    made.name, made.size = origin, len(expansion)
    return made


def fingerprint(grammar: str) -> str:
    return f"{hashlib.sha256(grammar.encode()).hexdigest()} lark {lark.__version__}"


def load() -> Data:
    """The shipped tables, or freshly made ones where the grammar or Lark has changed."""
    grammar = GRAMMAR.read_text(encoding="utf-8")
    try:
        data: Data = json.loads(SHIPPED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        data = {}
    return data if data.get("grammar") == fingerprint(grammar) else analyse(grammar)


def parse_conf(data: Data, actions: object) -> ParseConf[int]:
    """What Lark's parser state runs on: the tables, and a call of `actions` for each rule."""
    rules = [_rule(*written) for written in data["rules"]]
    rows = Rows(data["rows"], data["names"], rules)
    make: Any = IntParseTable  # Lark gives these two no types
    build: Any = ParseTreeBuilder
    table = make(rows, {"start": data["start"]}, {"start": data["end"]})
    callbacks = build(rules, Tree, maybe_placeholders=True).create_callback(actions)
    for rule in rules:
        rule.call = callbacks[rule]
    return ParseConf(table, callbacks, "start")


class Stack(ParserState[int]):
    """Lark's state of a parse, which takes the rules that pass on a value in one step: of the
    reductions of a value by itself they are nine in ten."""

    def feed_token(self, token: Token, is_end: bool = False) -> Any:
        table: Any = self.parse_conf.states
        callbacks: Any = self.parse_conf.callbacks
        states, values, kind = self.state_stack, self.value_stack, token.type
        while True:
            found = table[states[-1]].get(kind)
            if found is None:
                return super().feed_token(token, is_end)  # which refuses it
            action, rule = found
            if action is Shift:
                states.append(rule)
                values.append(token)
                return None
            if action is PASS:
                states[-1] = table.passing(states[-2], states[-1], kind)
                continue
            if size := rule.size:
                taken = values[-size:]
                del states[-size:], values[-size:]
            else:
                taken = []
            values.append(rule.call(taken) if callbacks else taken)
            states.append(table[states[-1]][rule.name][1])
            if is_end and states[-1] == self.parse_conf.end_state:
                return values[-1]


def passes_on(rule: Rule) -> bool:
    """Whether a rule makes nothing of its one child."""
    options = rule.options
    plain = options.expand1 and not rule.alias and not any(options.empty_indices)
    return plain and len(rule.expansion) == 1


def parser_state(conf: ParseConf[int]) -> ParserState[int]:
    """The state before the first token. Tokens are fed to it, so it needs no lexer."""
    lexer: Any = None
    return Stack(conf, lexer)


def main() -> None:
    data = analyse(GRAMMAR.read_text(encoding="utf-8"))
    SHIPPED.write_text(json.dumps(data, indent=0) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
