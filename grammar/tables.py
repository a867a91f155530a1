"""The parse tables: made from dln.lark by Lark, shipped as plain JSON, loaded in milliseconds.

Lark takes 0.4 s to analyse the grammar. `python -m dln.grammar.tables` writes what it found to
dln.tables.json, under the hash of the grammar. Where that does not match, `load` asks Lark itself;
else Lark is not imported.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dln.grammar.automaton import Data

if TYPE_CHECKING:
    from lark.grammar import Rule

GRAMMAR = Path(__file__).with_name("dln.lark")
SHIPPED = Path(__file__).with_name("dln.tables.json")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One terminal: a fixed text, or a regular expression when `regex`."""

    name: str
    text: str
    regex: bool
    priority: int


def analyse(grammar: str) -> Data:
    """The tables of a grammar as plain data.

    Raises:
        lark.exceptions.GrammarError: where two rules collide.
    """
    from lark import Lark  # late: only where the grammar has changed
    from lark.parsers.lalr_analysis import Shift  # late: as above

    made = Lark(grammar, parser="lalr", keep_all_tokens=True, maybe_placeholders=True)
    table = made.parser.parser._parse_table
    states = _in_order(table.states, table.start_states["start"], Shift)
    place = {state: i for i, state in enumerate(states)}
    names = sorted({name for row in table.states.values() for name in row})
    number = {name: i for i, name in enumerate(names)}
    rules = {rule: i for i, rule in enumerate(made.rules)}

    def written(row: dict[str, Any]) -> str:
        pairs = ((n, place[a] if act is Shift else -1 - rules[a]) for n, (act, a) in row.items())
        return " ".join(f"{number[name]} {action}" for name, action in sorted(pairs))

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


def _in_order(states: dict[int, dict[str, Any]], start: int, shift: object) -> list[int]:
    """The states as they are reached from the start, so that two runs write the same file."""
    found = [start]
    seen = {start}
    for state in found:  # grows as it goes
        for _, (action, after) in sorted(states[state].items(), key=lambda entry: entry[0]):
            if action is shift and after not in seen:
                seen.add(after)
                found.append(after)
    return found


def _written_rule(rule: Rule) -> list[Any]:
    empty = "".join(str(int(e)) for e in rule.options.empty_indices)
    symbols = " ".join(symbol.name for symbol in rule.expansion)
    return [str(rule.origin.name), symbols, rule.alias, bool(rule.options.expand1), empty]


def fingerprint(grammar: str) -> str:
    return hashlib.sha256(grammar.encode()).hexdigest()


def load() -> Data:
    """The shipped tables, or freshly made ones where the grammar has changed."""
    grammar = GRAMMAR.read_text(encoding="utf-8")
    try:
        data: Data = json.loads(SHIPPED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        data = {}
    return data if data.get("grammar") == fingerprint(grammar) else analyse(grammar)


def patterns(data: Data) -> list[Pattern]:
    return [Pattern(*written) for written in data["terminals"]]


def main() -> None:
    data = analyse(GRAMMAR.read_text(encoding="utf-8"))
    SHIPPED.write_text(json.dumps(data, indent=0) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
