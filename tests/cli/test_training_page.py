"""`docs/training.md`, word for word: its specs are written as files, its commands are run in order,
and what they print is what stands there, but for seconds.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def blocks() -> Iterator[str]:
    yield from re.findall(r"^```\w*\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def plain(text: str) -> str:
    """A text without seconds and blanks at line ends."""
    lines = (re.sub(r"(?<=  )\d+\.\d\d(?=  )", "S", line.rstrip()) for line in text.split("\n"))
    return re.sub(r"  +", "  ", "\n".join(lines)).strip()


def test_the_page_is_what_the_commands_print(dln: Callable[..., Any], tmp_path: Path) -> None:
    for block in blocks():
        if (named := re.match(r"# (\S+\.dln)\b", block)) is not None:
            (tmp_path / named[1]).write_text(block, "utf-8")
        elif block.startswith("$ "):
            for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                line, _, expected = command.partition("\n")
                word, *words = shlex.split(line)
                assert word == "dln"
                got = dln(*words)
                assert plain(got.out) == plain(expected), line + got.err
