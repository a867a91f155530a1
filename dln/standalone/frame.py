"""The frame of a file: heads of its parts, lines of the spec, what functions are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dln.standalone.program.text import ident

RULE = "-" * 87


def header(text: str) -> str:
    """The line before a part."""
    return f"\n# ---- {text} {RULE[: 92 - len(text)]}"


def spec_lines(text: str) -> Iterator[str]:
    """The spec as comments; of its sweeps, which a file does not do, the first line."""
    rows, inside = [row.rstrip() for row in text.rstrip().split("\n")], False
    for i, row in enumerate(rows, 1):
        begins = re.match(r"sweep \w+ \{$", row) is not None and "}" in rows[i:]
        if not inside:
            yield from spec_line(i, f"{row} ... }}" if begins else row)
        inside = begins or (inside and row != "}")


def spec_line(number: int, line: str) -> Iterator[str]:
    """A line of the spec as a comment, on several where it is long."""
    rest = re.sub(r"[^\S ]", " ", line.rstrip())
    lead = f"#{number:3} "
    while len(lead) + len(rest) > 100:
        cut = rest.rfind(" ", 0, 101 - len(lead))
        cut = cut if cut > 20 else 100 - len(lead)
        yield (lead + rest[:cut]).rstrip()
        rest, lead = rest[cut:].lstrip(), "#      "
    yield (lead + rest).rstrip()


def named(key: str) -> str:
    """What the function of a program is called."""
    kind, _, name = key.partition(":")
    if kind == "data":
        return f"{ident(name)}_fields"
    if kind == "init":
        return "first_values"
    if kind == "watch":
        return f"watch_{ident(name)}"
    return f"{ident(name)}_{kind}"


def said(key: str) -> str:
    """What a program says of itself."""
    kind, _, name = key.partition(":")
    owner = name.rsplit(".", 2)[0]
    return {
        "data": f"The fields of {name}, from what its files hold.",
        "init": "The first values of all parameters.",
        "step": f"An update of {name} on n examples.",
        "watch": f"What is watched as {name}, summed over n examples.",
        "shard": f"What a shard of a minibatch of {owner} makes of its rows.",
        "join": f"What an update of {owner} makes of the sums over its shards.",
        "tally": f"What is added up over n examples for {name}.",
        "made": f"What is made of sums over all examples for {name}.",
        "states": f"What the states of {name} begin with.",
        "start": f"What is handed over when {name} begins.",
        "until": f"Whether {name} is over.",
        "estimate": f"What states of {name} are estimated to be, as means over n examples.",
    }.get(kind, key)


def tidy(rows: Iterable[str]) -> str:
    """Lines of a file, with an empty one between functions, none after the head of a part."""
    text = re.sub(r"(# ---- .* -+)\n+", r"\1\n", "\n".join(rows))
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"
