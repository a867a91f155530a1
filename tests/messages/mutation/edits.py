"""Edits of a text as people slip: one token, name, number, bracket or line.

An edit knows where it was made, so that an answer can be held against the place.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

TOKEN = re.compile(r'"""(?:.|\n)*?"""|"[^"\n]*"|[A-Za-z_]\w*|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?'
                   r"|\.\.|->|:=|\+=|[=!<>]=|[^\s#]")  # fmt: skip
COMMENT = re.compile(r'("""(?:.|\n)*?"""|"[^"\n]*")|#[^\n]*')
KEYWORDS = frozenset(
    "use const fn block optimiser data train task sweep check let for param fixed hidden energy"
    " scan expect state split set minimize update start step watch checkpoint until emit vary"
    " report over with batch stream order dtype seed after every by best on in as like where"
    " within if else and or not total slow".split()
)
OPERATORS = "+ - * / @ ^ == != < > <= >= and or -> .. : , . = ~ in".split()
BRACKETS = "()[]{}"


@dataclass(frozen=True)
class Token:
    text: str
    start: int
    stop: int


@dataclass(frozen=True)
class Edit:
    """Some text in place of the characters `start` to `stop` of an original."""

    operator: str
    original: str
    start: int
    stop: int
    text: str

    @property
    def old(self) -> str:
        return self.original[self.start : self.stop]

    @property
    def mutant(self) -> str:
        return self.original[: self.start] + self.text + self.original[self.stop :]


def tokens(text: str) -> list[Token]:
    """The tokens of a text, comments left out."""
    blank = COMMENT.sub(lambda m: m[1] or " " * len(m[0]), text)
    return [Token(m[0], m.start(), m.end()) for m in TOKEN.finditer(blank)]


Words = Sequence[Token]
Made = tuple[int, int, str]  # start, stop and the text put there
Operator = Callable[[str, Words, random.Random], Made | None]


def _name(token: Token) -> bool:
    return token.text.isidentifier() and token.text not in KEYWORDS


def _number(token: Token) -> bool:
    return token.text[0].isdigit()


def _one(words: Words, rng: random.Random, fits: Callable[[Token], bool]) -> Token | None:
    found = [t for t in words if fits(t)]
    return rng.choice(found) if found else None


def _deleted(text: str, words: Words, rng: random.Random) -> Made:
    token = rng.choice(words)
    return token.start, token.stop, ""


def _doubled(text: str, words: Words, rng: random.Random) -> Made:
    token = rng.choice(words)
    return token.start, token.stop, f"{token.text} {token.text}"


def _exchanged(text: str, words: Words, rng: random.Random) -> Made | None:
    at = rng.randrange(len(words) - 1)
    one, two = words[at : at + 2]
    return one.start, two.stop, two.text + (text[one.stop : two.start] or " ") + one.text


def _replaced(text: str, words: Words, rng: random.Random) -> Made | None:
    """Another name, number, text or operator of the same file."""
    token = rng.choice(words)
    for kind in (_name, _number, lambda t: t.text in OPERATORS, lambda t: t.text[0] == '"'):
        if kind(token):
            pool = sorted({t.text for t in words if kind(t)} - {token.text})
            return (token.start, token.stop, rng.choice(pool)) if pool else None
    return None


def _misspelt(text: str, words: Words, rng: random.Random) -> Made | None:
    token = _one(words, rng, lambda t: t.text.isidentifier() and len(t.text) > 2)
    if token is None:
        return None
    at, word = rng.randrange(1, len(token.text)), token.text
    slips = (
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :],
        word[:at] + rng.choice("aeiorst") + word[at + 1 :],
    )
    return token.start, token.stop, rng.choice(slips)


def _renumbered(text: str, words: Words, rng: random.Random) -> Made | None:
    token = _one(words, rng, _number)
    if token is None:
        return None
    value = token.text
    changed = (f"{value}0", f"-{value}", f"{value}.5", "0", f"{float(value) + 1:g}", value[1:])
    return token.start, token.stop, rng.choice([c for c in changed if c])


def _unbracketed(text: str, words: Words, rng: random.Random) -> Made | None:
    token = _one(words, rng, lambda t: t.text in BRACKETS)
    return (token.start, token.stop, "") if token else None


def _line(text: str, rng: random.Random) -> tuple[int, int] | None:
    lines, place = [], 0
    for line in text.splitlines(keepends=True):
        if line.split("#")[0].strip():
            lines.append((place, place + len(line)))
        place += len(line)
    return rng.choice(lines) if lines else None


def _line_lost(text: str, words: Words, rng: random.Random) -> Made | None:
    line = _line(text, rng)
    return line and (*line, "")


def _line_doubled(text: str, words: Words, rng: random.Random) -> Made | None:
    line = _line(text, rng)
    return line and (*line, 2 * text[slice(*line)])


def _option_renamed(text: str, words: Words, rng: random.Random) -> Made | None:
    """A name before `=` within brackets: another one, or misspelt."""
    depth, options = 0, list[Token]()
    for token, after in zip(words, words[1:], strict=False):
        depth += (token.text in "([") - (token.text in ")]")
        if depth and _name(token) and after.text == "=":
            options.append(token)
    if not options:
        return None
    token = rng.choice(options)
    pool = [t.text for t in options] + ["size", "units", "axis", "rate", token.text + "s"]
    return token.start, token.stop, rng.choice(pool)


def _keyword_exchanged(text: str, words: Words, rng: random.Random) -> Made | None:
    token = _one(words, rng, lambda t: t.text in KEYWORDS)
    if token is None:
        return None
    return token.start, token.stop, rng.choice(sorted(KEYWORDS - {token.text}))


# The slips that parse, and are asked for their meaning, come more often.
WEIGHTS = {"token replaced": 4, "name misspelt": 2, "number changed": 3, "option renamed": 2}
OPERATIONS: dict[str, Operator] = {
    "token deleted": _deleted,
    "token doubled": _doubled,
    "tokens exchanged": _exchanged,
    "token replaced": _replaced,
    "name misspelt": _misspelt,
    "number changed": _renumbered,
    "bracket lost": _unbracketed,
    "line lost": _line_lost,
    "line doubled": _line_doubled,
    "option renamed": _option_renamed,
    "keyword exchanged": _keyword_exchanged,
}


def edited(text: str, rng: random.Random, operator: str = "") -> Edit | None:
    """A text with one edit, by one of the operators or the one that is said; None where it changes
    nothing."""
    weights = [WEIGHTS.get(name, 1) for name in OPERATIONS]
    name = operator or rng.choices(list(OPERATIONS), weights)[0]
    words = tokens(text)
    if len(words) < 2:
        return None
    made = OPERATIONS[name](text, words, rng)
    if made is None or text[made[0] : made[1]] == made[2]:
        return None
    return Edit(name, text, *made)
