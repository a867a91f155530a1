"""Characters that the language does not have, and texts that do not end."""

from __future__ import annotations

from dln.grammar.diagnostics import Problem, Span
from dln.grammar.recovery import Answer, Failure, panic

# Characters that look like ours, and what was meant.
LOOK_ALIKE = {
    "\u2212": "-", "\u2013": "-", "\u2014": "-", "\u00d7": "*", "\u00b7": "*", "\u22c5": "*",
    "\u00f7": "/", "\u2264": "<=", "\u2265": ">=", "\u2260": "!=", "\u2192": "->", "\u2190": "=",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2018": "'", "\u2019": "'", "\u2032": "'",
    "\u22a4": "'", "\u2026": "..", "\u00a0": " ", "\u200b": "", "\u00b2": "^2", "\u00b3": "^3",
    "\u223c": "~", "\uff08": "(", "\uff09": ")", "\uff1d": "=", "\uff0c": ",", "\u221a": "sqrt",
    "\u00b1": "within", "\u2227": "and", "\u2228": "or", "\u00ac": "not ",
}  # fmt: skip
_PLAIN = str.maketrans(LOOK_ALIKE)
GREEK = dict(zip("αβγδεζηθικλμνξπρστφχψω", (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "phi chi psi omega").split(), strict=True))  # fmt: skip


def bad(f: Failure) -> Answer | None:
    """A character that no terminal takes."""
    if f.token.type != "BAD":
        return None
    text = f.token.value
    if text in ('"', '"""'):
        return _unclosed_text(f)
    if text.isascii() and text.isprintable():
        return _character(f, f"{text} is no mark of the language", ""), panic(f)
    if text in LOOK_ALIKE:
        wrong = f"{text} (U+{ord(text):04X}) is not an ASCII character"
        line = f.reading.source.line(f.span().line).translate(_PLAIN)
        return _character(f, wrong, " ".join(line.split("#")[0].split())), panic(f)
    if text.isalpha():
        return _letters(f), panic(f)
    return _character(f, f"the character U+{ord(text):04X} cannot stand here", ""), panic(f)


def _character(f: Failure, message: str, remedy: str) -> Problem:
    return Problem("E106", message, f.span(), remedy=remedy)


def _letters(f: Failure) -> Problem:
    """A name with letters beyond ASCII."""
    text, start, stop = f.reading.source.text, f.start, f.start
    while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    while stop < len(text) and (text[stop].isalnum() or text[stop] == "_"):
        stop += 1
    span = Span(f.reading.source, start, stop)
    plain = "".join(GREEK.get(c, c) for c in span.text)
    remedy = f"call it {plain}" if plain.isascii() else ""
    return Problem("E106", "names are written with the letters a to z", span, remedy=remedy)


def _unclosed_text(f: Failure) -> Answer:
    source, start = f.reading.source, f.start
    if f.token.value == '"""':
        problem = Problem("E105", 'this """ is never closed', f.span(), "opened here")
        return problem, None
    line, _ = source.position(start)
    stop = source.starts[line - 1] + len(source.line(line))
    remedy = source.line(line).strip() + '"'
    span = Span(source, start, stop)
    problem = Problem("E105", "this text is never closed", span, "opened here", remedy=remedy)
    return problem, panic(f)
