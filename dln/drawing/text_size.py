"""How wide a text is, in units of its size: of DejaVu Sans and Verdana, the widest of the usual
fonts, so that it fits in the others too."""

from __future__ import annotations

NARROW = {"ijl|'": 0.32, "I.,:;!": 0.37, " f()[]/\\t": 0.40, '"r{}-': 0.47}
WIDE = {"mM": 0.95, "W@%": 1.02, "w": 0.82, "ACDGHNOQRUVX&": 0.78, "+=<>~^\u00d7\u2192": 0.84}
WIDTHS = {c: w for table in (NARROW, WIDE) for chars, w in table.items() for c in chars}
USUAL = 0.64
BOLD = 1.12
MONO = 0.605
"""The width of any character of a typewriter's font."""


def width(text: str, size: float, bold: bool = False, mono: bool = False) -> float:
    """The width of a text, rather too large than too small."""
    units = MONO * len(text) if mono else sum(WIDTHS.get(c, USUAL) for c in text)
    return units * size * (BOLD if bold else 1.0)
