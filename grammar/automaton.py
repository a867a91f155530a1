"""The LALR(1) automaton: a stack of states and a stack of values, driven by the parse tables.

Lark makes the tables (`dln.grammar.tables`) and is not needed to run them. A rule that would only
hand on its one child, as each level of precedence does around a name, costs no call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

Data: TypeAlias = dict[str, Any]  # the tables as JSON has them
Kids: TypeAlias = list[Any]  # what the symbols of a rule have become: nodes, tokens, pieces


class Token:
    """A terminal of the grammar with its text, from `start` to `stop` in the source."""

    __slots__ = ("start", "stop", "type", "value")

    def __init__(self, kind: str, value: str, start: int, stop: int) -> None:
        self.type, self.value, self.start, self.stop = kind, value, start, stop

    def __repr__(self) -> str:
        return f"Token({self.type!r}, {self.value!r})"


class Refused(Exception):
    """The parser cannot take this token."""

    def __init__(self, token: Token) -> None:
        super().__init__(token)
        self.token = token


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A rule to reduce by: its left side, how many values it takes, and what it makes of them.

    Where `make` is None the one value stays as it is.
    """

    origin: str
    size: int
    make: Callable[[Kids], Any] | None


Action: TypeAlias = int | Rule  # shift, or go, to a state; or reduce


class Rows(dict[int, dict[str, Action]]):
    """The actions of each state by terminal or left side, each row read on first use."""

    def __init__(self, written: list[str], names: list[str], rules: list[Rule]) -> None:
        super().__init__()
        self.written, self.names, self.rules = written, names, rules

    def __missing__(self, state: int) -> dict[str, Action]:
        """A row is `name action name action ...`; an action is a state, or -1 - rule."""
        words = iter(map(int, self.written[state].split()))
        row = {
            self.names[name]: action if action >= 0 else self.rules[-1 - action]
            for name, action in zip(words, words, strict=True)
        }
        self[state] = row
        return row


class Automaton:
    """The tables ready to run. `actions` has a method for each rule; without, rules make lists."""

    def __init__(self, data: Data, actions: object = None) -> None:
        self.data = data
        rules = [_rule(actions, *written) for written in data["rules"]]
        self.rows = Rows(data["rows"], data["names"], rules)
        self.start: int = data["start"]
        self.end: int = data["end"]


class State:
    """The stacks of one parse: a state before the first token, and one after each value."""

    def __init__(self, automaton: Automaton) -> None:
        self.automaton = automaton
        self.states = [automaton.start]
        self.values: Kids = []

    def feed(self, token: Token) -> Any:
        """Take a token; after `$END`, the value of the whole text. Raises Refused."""
        rows, end = self.automaton.rows, self.automaton.end
        states, values, kind = self.states, self.values, token.type
        while True:
            action = rows[states[-1]].get(kind)
            if isinstance(action, int):
                states.append(action)
                values.append(token)
                return None
            if action is None:
                raise Refused(token)
            if action.make is None:
                states.pop()
            elif size := action.size:
                del states[-size:]
                values[-size:] = [action.make(values[-size:])]
            else:
                values.append(action.make([]))
            state = rows[states[-1]][action.origin]
            assert isinstance(state, int)
            if state == end:
                return values[-1]
            states.append(state)

    def advance(self, kind: str, stack: list[int] | None = None) -> list[int] | None:
        """The states after a token of this kind is taken, None where it cannot be.

        Follows the reductions before it, so it is exact where the row of one state is not.
        """
        rows = self.automaton.rows
        stack = list(self.states if stack is None else stack)
        while (action := rows[stack[-1]].get(kind)) is not None:
            if isinstance(action, int):
                return [*stack, action]
            reduce(stack, action, rows)
        return stack if kind == "$END" and stack[-1] == self.automaton.end else None

    def settled(self) -> int:
        """The state once all that is complete is reduced: the same after `2`, `x.a`, `a + b`."""
        rows = self.automaton.rows
        best = (-len(self.states), 0, self.states[-1])
        for kind in sorted(k for k in rows[best[-1]] if k.isupper()):
            stack, steps = list(self.states), 0
            while isinstance(action := rows[stack[-1]].get(kind), Rule):
                reduce(stack, action, rows)
                steps += 1
            best = max(best, (-len(stack), steps, stack[-1]))
        return best[-1]


def reduce(stack: list[int], rule: Rule, rows: Rows) -> None:
    """The states after a reduction, whatever its value."""
    if rule.size:
        del stack[-rule.size :]
    state = rows[stack[-1]][rule.origin]
    assert isinstance(state, int)
    stack.append(state)


# ---- what a rule makes ---------------------------------------------------------------------------


def _rule(
    actions: object, origin: str, symbols: str, alias: str | None, expand1: bool, empty: str
) -> Rule:
    """A rule as it is written in the tables.

    `empty` has a 1 for each optional symbol that this form of the rule leaves out, and a 0 for
    each that is there. With `expand1` (`?rule`), one child alone is the value.
    """
    names = symbols.split()
    if actions is None:
        return Rule(origin, len(names), list)
    inlined = [name.startswith("_") and not name.isupper() for name in names]
    gathers = any(inlined) or "1" in empty
    single = expand1 and not alias
    if single and len(names) == 1 and not gathers:
        return Rule(origin, 1, None)
    helper = origin.startswith("_") and not alias
    make: Callable[[Kids], Any] = list if helper else getattr(actions, alias or origin)
    if single:
        make = _one_or(make)
    return Rule(origin, len(names), _gathered(make, inlined, empty) if gathers else make)


def _one_or(make: Callable[[Kids], Any]) -> Callable[[Kids], Any]:
    return lambda kids: kids[0] if len(kids) == 1 else make(kids)


def _gathered(
    make: Callable[[Kids], Any], inlined: list[bool], empty: str
) -> Callable[[Kids], Any]:
    """Calls `make` with None where an optional symbol is left out, and what a helper rule
    (`_rule`, or a repetition) has made taken in."""
    missing = [len(ones) for ones in empty.split("0")] if empty else [0] * (len(inlined) + 1)
    rest = missing[-1]
    each = tuple(zip(missing[:-1], inlined, strict=True))

    def gather(kids: Kids) -> Any:
        found: Kids = []
        for kid, (left_out, inline) in zip(kids, each, strict=True):
            if left_out:
                found += [None] * left_out
            if not inline:
                found.append(kid)
            elif found:
                found += kid
            else:  # a repetition grows by one at a time: its list is handed on
                found = kid
        return make(found + [None] * rest if rest else found)

    return gather
