"""`docs/data.md` and `docs/sklearn.md`, word for word: their specs are written as files, their
lines of Python and commands are run in order, and what they print is what stands there, but for
seconds.
"""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def plain(text: str) -> str:
    """A text without seconds and blanks at line ends."""
    lines = (re.sub(r"(?<=  )\d+\.\d\d(?=  )", "S", line.rstrip()) for line in text.split("\n"))
    return re.sub(r"  +", "  ", "\n".join(lines)).strip()


@pytest.mark.parametrize("page", ["data.md", "sklearn.md"])
def test_the_page_is_what_happens(
    page: str, dln: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for kind, block in BLOCK.findall((DOCS / page).read_text("utf-8")):
        if kind == "pycon":
            part = doctest.DocTestParser().get_doctest(block, names, page, page, 0)
            runner = doctest.DocTestRunner(verbose=False)
            said: list[str] = []
            runner.run(part, out=said.append, clear_globs=False)
            names = part.globs
            assert not said, "".join(said)
        elif (named := re.match(r"# (\S+\.(?:dln|csv))\b", block)) is not None:
            (tmp_path / named[1]).write_text(block, "utf-8")
        else:
            line, _, expected = block.partition("\n")
            word, *words = shlex.split(line.removeprefix("$ "))
            assert word == "dln"
            got = dln(*words)
            found = (got.out or got.err).replace(f"{tmp_path}/", "")
            assert plain(found) == plain(expected), line + got.err
