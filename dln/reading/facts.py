"""What a spec says of itself in its leading comment: what it is, its slides, its source.

    # Softmax regression on MNIST: 7.49 % of the test images wrong.
    # Slide 9. Source: deeplearning.net, first tutorial.

The title is all up to the first colon or full stop, without what stands in brackets. Slides are
numbers and ranges after the word; a spec that names none is beyond the lecture. The source is what
follows `Source:`, else the first brackets that hold a year.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path

_RANGE = r"\d+(?:\s*-\s*\d+)?"
_SLIDES = re.compile(rf"\b[Ss]lides?\s+({_RANGE}(?:(?:,\s*|\s+and\s+){_RANGE})*)")
_SOURCE = re.compile(r"\bSources?:\s+(.+?)\.?(?=(?<!\b[A-Z])\.\s+[A-Z]|$)")
_DATED = re.compile(r"\(([^()]*\b(?:19|20)\d\d\b[^()]*)\)")
_END = re.compile(r":\s|\.\s|\.$|:$")
LAST = (10**6,)

_ABOUT = re.compile(r"""(?:check\s+"([^"]*)"|sweep\s+(\w+))[^#]*(?:#(.*))?""")


@dataclass(frozen=True)
class Facts:
    """A spec's name, title, slides (`11-14, 20`, or nothing) and source."""

    name: str
    title: str = ""
    slides: str = ""
    source: str = ""

    @property
    def order(self) -> tuple[tuple[int, ...], str]:
        """Sorts specs by slide; those beyond the lecture come last."""
        return tuple(int(n) for n in re.findall(r"\d+", self.slides)) or LAST, self.name


def facts_of(path: Path) -> Facts:
    """The facts of a spec file; without a leading comment only its name."""
    with path.open(encoding="utf-8", errors="replace") as text:
        lines = list(takewhile(lambda line: line.startswith("#"), text))
    return read_facts(path.stem, " ".join(line.lstrip("#").strip() for line in lines))


def remarks_of(text: str) -> dict[tuple[str, str], str]:
    """What a spec says of its checks and sweeps, in the comment right above or beside each; that at
    the head of the file is about the whole.

    >>> remarks_of('# A net.\\n\\n# One run.\\n# Seed 6.\\nsweep width {  # wide\\n}\\ncheck "a" {')
    {('sweep', 'width'): 'One run. Seed 6. Wide.'}
    """
    found: dict[tuple[str, str], str] = {}
    above: list[str] = []
    for line in dropwhile(lambda line: line.startswith("#"), text.splitlines()):
        if about := _ABOUT.match(line):
            check, sweep, rest = about.groups()
            said = [" ".join(above), (rest or "").strip()]
            key = ("check", check) if sweep is None else ("sweep", sweep)
            found |= {key: remark} if (remark := " ".join(_sentence(s) for s in said if s)) else {}
        above = [*above, line.lstrip("#").strip()] if line.startswith("#") else []
    return found


def _sentence(said: str) -> str:
    """A remark with a capital and a full stop, as the page has them."""
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".")


def read_facts(name: str, said: str) -> Facts:
    """The facts in the words of a comment.

    >>> read_facts("mlp", "Two layers (on MNIST): no biases. Slides 16, 18 - 20. Source: Stutz.")
    Facts(name='mlp', title='Two layers', slides='16, 18-20', source='Stutz')
    >>> read_facts("a", "Long lags (slide 28; Hochreiter 1991). More.").source
    'Hochreiter 1991'
    >>> read_facts("b", "Rivals: two. Sources: K. Wilder (nearest); Simard 2003. More.").source
    'K. Wilder (nearest); Simard 2003'
    """
    title = re.sub(r"\s*\([^()]*\)", "", _END.split(said, maxsplit=1)[0] if said else "").strip()
    slides = _SLIDES.search(said)
    numbers = re.findall(_RANGE, slides[1]) if slides else []
    if source := _SOURCE.search(said):
        work = source[1]
    else:
        dated = _DATED.search(said)
        work = re.sub(_SLIDES.pattern + r"[;,]?\s*", "", dated[1]) if dated else ""
    return Facts(name, title, ", ".join(re.sub(r"\s", "", n) for n in numbers), work.strip())
