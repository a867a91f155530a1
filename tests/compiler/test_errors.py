"""What the compiler says about specs that parse but do not make sense.

Pairs of a wrong spec and its messages in golden/*.txt: `==== name`, the text, `----`, the
messages. After the text, `++++ other.dln` starts another file, `++++ name = value` gives a
constant from outside, `++++ data: name = path` a place for a data set.
"""

import json
import re
from pathlib import Path

import pytest

import dln.spec as spec
from dln.compiler.build import build
from dln.grammar.diagnostics import DlnError, Source
from dln.grammar.parser import parse_source
from dln.grammar.syntax import Module

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1]
SHIPPED = str(next(iter(spec.shipped().values())).parent) + "/"


def cases() -> list[tuple[str, str, str]]:
    """Name, text and messages of every golden case."""
    found = []
    for path in sorted((HERE / "golden").glob("*.txt")):
        parts = re.split(r"^==== (.*)\n", path.read_text(), flags=re.MULTILINE)[1:]
        for name, part in zip(parts[::2], parts[1::2], strict=True):
            text, drawn = part.split("----\n")
            found.append((name, text, drawn.rstrip("\n")))
    return found


CASES = cases()


def drawn(text: str) -> str:
    """The messages that a spec gets, without the place where the library is installed."""
    text, *more = re.split(r"^\+\+\+\+ (.*)\n", text, flags=re.MULTILINE)
    files, constants, places = {}, {}, {}
    for head, body in zip(more[::2], more[1::2], strict=True):
        if head.endswith(".dln"):
            files[head] = body
        elif head.startswith("data: "):
            places.update([head.removeprefix("data: ").split(" = ")])
        else:
            name, value = head.split(" = ")
            constants[name] = json.loads(value)

    def load(path: str, user: Source) -> tuple[Source, Module]:
        if (number := re.fullmatch(r"f(\d+)\.dln", path)) is not None:
            files[path] = f'use "f{int(number[1]) + 1}.dln"\n'
        if path not in files:
            return spec.load_used(path, user)
        source = Source(path, files[path])
        return source, parse_source(source)

    source = Source("net.dln", text)
    with pytest.raises(DlnError) as caught:
        build(source, parse_source(source), load, spec.header, constants, places)
    return str(caught.value).replace(SHIPPED, "").replace(f"looked in {Path.cwd()},", "looked here,")


@pytest.mark.parametrize(("name", "text", "expected"), CASES, ids=[c[0] for c in CASES])
def test_golden(name: str, text: str, expected: str) -> None:
    assert drawn(text) == expected
