"""Characters that the language does not have, and texts that do not end."""

from __future__ import annotations

import re
import unicodedata

from dln.grammar.diagnostics import Problem, Span
from dln.grammar.recovery import Answer, Failure, panic

# Characters that look like ours, and what was meant.
LOOK_ALIKE = {
    "\u2212": "-", "\u2013": "-", "\u2014": "-", "\u00d7": "*", "\u00b7": "*", "\u22c5": "*",
    "\u00f7": "/", "\u2264": "<=", "\u2265": ">=", "\u2260": "!=", "\u2192": "->", "\u2190": "=",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2018": "'", "\u2019": "'", "\u2032": "'",
    "\u22a4": "'", "\u1d40": "'", "\u22ba": "'",
    "\u2026": "..", "\u00a0": " ", "\u200b": "", "\u00b2": "^2", "\u00b3": "^3",
    "\u223c": "~", "\uff08": "(", "\uff09": ")", "\uff1d": "=", "\uff0c": ",", "\u221a": "sqrt",
    "\u00b1": "within", "\u2227": "and", "\u2228": "or", "\u00ac": "not ", "\u2208": "in",
    "\u2211": "sum", "\u2299": "*", "\u2218": "*",
}  # fmt: skip
_PLAIN = str.maketrans(LOOK_ALIKE)
_FUNCTION = re.compile(r"σ\s*\(|act\s*=\s*σ|->\s*σ")
GREEK = dict(zip("αβγδεζηθικλμνξπρστφχψω", (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "phi chi psi omega").split(), strict=True))  # fmt: skip


def bad(f: Failure) -> Answer | None:
    """A character that no terminal takes."""
    if f.token.type != "BAD":
        return None
    text, span, remedy = f.token.value, f.span(), ""
    if text in ('"', '"""'):
        return _unclosed_text(f)
    if text.isascii() and text.isprintable():
        message = f"{text} is no mark of the language"
    elif text.isalnum() and text not in LOOK_ALIKE:
        message, span = "names are written with the letters a to z", _word_at(span)
        remedy = plain(span.text) if plain(span.text).isascii() else ""
        if remedy == "sigma" and _FUNCTION.search(span.source.line(span.line)):
            remedy = "sigmoid"
    elif plain(text).isascii() or text in LOOK_ALIKE:
        message = f"{text} (U+{ord(text):04X}) is not an ASCII character"
        line = plain(span.source.line(span.line).translate(_PLAIN))
        remedy = " ".join(line.split("#")[0].split())
    else:
        message = f"the character U+{ord(text):04X} cannot stand here"
    return Problem("E106", message, span, remedy=remedy), panic(f)


def plain(text: str) -> str:
    """A text with the letters, digits and marks that are meant: of Greek letters their names, of
    raised, lowered, wide and accented ones the plain ones."""
    return "".join(
        GREEK.get(c) or GREEK.get(c.lower(), "").capitalize() or (c if c.isascii() else _base(c))
        for c in text
    )


def _base(c: str) -> str:
    parts = unicodedata.normalize("NFKD", c)
    return "".join(p for p in parts if not unicodedata.combining(p)) or c


def _word_at(span: Span) -> Span:
    """The whole of a name with letters beyond ASCII."""
    text, start, stop = span.source.text, span.start, span.start
    while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    while stop < len(text) and (text[stop].isalnum() or text[stop] == "_"):
        stop += 1
    return Span(span.source, start, stop)


def _unclosed_text(f: Failure) -> Answer:
    if f.token.value == '"""':
        return Problem("E105", 'this """ is never closed', f.span(), "opened here"), None
    source, number = f.reading.source, f.span().line
    line = source.line(number)
    span = Span(source, f.start, source.starts[number - 1] + len(line))
    message, remedy = "this text is never closed", line.strip() + '"'
    return Problem("E105", message, span, "opened here", remedy=remedy), panic(f)
