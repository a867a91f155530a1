"""`docs/guide/`, `docs/weights.md` and `docs/onnx-import.md`, word for word: their files are
written, their commands and lines of Python are run in order in an empty folder, and what they print
is what stands there, but for seconds and for what a line of three dots leaves out. Of probabilities
three digits are looked at; the line that names a table is none of its own.
"""

from __future__ import annotations

import doctest
import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (
    "1-your-own-table",
    "2-your-own-pictures",
    "3-a-network-from-a-paper",
    "4-from-python",
    "../weights",
    "../onnx-import",
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:dln|csv|py))$", re.MULTILINE)


def plain(text: str) -> str:
    """A text without seconds and blanks at line ends."""
    text = re.sub(r"(?<=,)(0\.\d{3})\d+$", r"\1", text, flags=re.MULTILINE)
    lines = (re.sub(r"(?<=  )\d+\.\d\d(?=  )", "S", line.rstrip()) for line in text.split("\n"))
    return re.sub(r"  +", "  ", "\n".join(lines)).strip()


def agrees(said: str, written: str) -> bool:
    parts = re.split(r"^\.\.\.$", plain(written), flags=re.MULTILINE)
    return re.fullmatch("(?s:.*)".join(map(re.escape, parts)), plain(said)) is not None


class Reader:
    """Somebody who does what stands on a page."""

    def __init__(self, dln: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
        self.dln, self.capsys = dln, capsys
        self.names: dict[str, Any] = {}

    def python(self, block: str) -> None:
        test = doctest.DocTestParser().get_doctest(block, self.names, "page", "page", 0)
        said: list[str] = []
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        runner.run(test, out=said.append, clear_globs=False)
        self.names = test.globs
        assert not said, "".join(said)

    def command(self, line: str, written: str) -> None:
        program, *words = shlex.split(line)
        if program == "python":
            self.capsys.readouterr()
            runpy.run_path(words[0], run_name="__main__")
            assert agrees(self.capsys.readouterr().out, written), line
            return
        assert program == "dln"
        got = self.dln(*words)
        said = (got.out, got.err, got.err + got.out)
        assert any(agrees(text, written) for text in said), f"{line}\n{got.err}{got.out}"

    def reads(self, page: str) -> None:
        for kind, block in BLOCK.findall(page):
            if kind == "pycon":
                self.python(block)
            elif block.startswith("$ "):
                for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                    line, _, written = command.partition("\n")
                    self.command(line, written)
            else:
                named = FILE.match(block)
                assert named is not None, block
                text = block[named.end() + 1 :] if named[1].endswith(".csv") else block
                Path(named[1]).write_text(text, "utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_happens(
    dln: Callable[..., Any], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Reader(dln, capsys).reads((DOCS / "guide" / f"{name}.md").read_text("utf-8"))
    for picture in Path().glob("*.svg"):
        assert picture.read_bytes() == (DOCS / "pictures" / picture.name).read_bytes()
