"""What the compiler says about specs that parse but do not make sense.

Pairs of a wrong spec and its messages in golden/*.txt: `==== name`, the text, `----`, the
messages. After the text, `++++ other.dln` starts another file, `++++ name = value` gives a
constant from outside, `++++ data: name = path` a place for a data set, `++++ points.csv` a table.
"""

import json
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

import dln.spec as spec
from dln.compiler.frontend.tensors import axes
from dln.compiler.reading import Outside, read
from dln.grammar.diagnostics import DlnError, Fault, Source
from dln.grammar.parser import parse_source
from dln.grammar.syntax import Module

HERE = Path(__file__).parent
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


@cache
def library(path: str) -> tuple[Source, Module]:
    """A shipped file, parsed once."""
    return spec.load_used(path, Source("net.dln", ""))


def drawn(text: str, folder: Path) -> str:
    """The messages that a spec gets, without the place where the library is installed; tables are
    written to a folder."""
    path = "net.dln"
    text, *more = re.split(r"^\+\+\+\+ (.*)\n", text, flags=re.MULTILINE)
    files, constants, places = {}, dict[str, Any](), dict[str, str]()
    for head, body in zip(more[::2], more[1::2], strict=True):
        if head.endswith(".dln"):
            files[head] = body
        elif head.endswith(".csv"):
            (folder / head).write_text(body)
            path = f"{folder}/net.dln"
        elif head.startswith("data: "):
            name, value = head.removeprefix("data: ").split(" = ")
            places[name] = value
        else:
            name, value = head.split(" = ")
            constants[name] = json.loads(value)

    def load(path: str, _: Source) -> tuple[Source, Module]:
        if (number := re.fullmatch(r"f(\d+)\.dln", path)) is not None:
            files[path] = f'use "f{int(number[1]) + 1}.dln"\n'
        if path not in files:
            return library(path)
        source = Source(path, files[path])
        return source, parse_source(source)

    source = Source(path, text)
    with pytest.raises(DlnError) as caught:
        outside = Outside(load=load, shelf=spec.shelf(), probe=spec.header, constants=constants,
                          data_paths=places)  # fmt: skip
        read(source, partial(parse_source, source), outside)
    said = str(caught.value).replace(f"{folder}/", "")
    return said.replace(SHIPPED, "").replace(str(Path.cwd()), "here")


@pytest.mark.parametrize(("name", "text", "expected"), CASES, ids=[c[0] for c in CASES])
def test_golden(name: str, text: str, expected: str, tmp_path: Path) -> None:
    assert drawn(text, tmp_path) == expected


def test_there_are_many() -> None:
    assert len(CASES) >= 150


def test_one_fault_gets_one_message() -> None:
    """A name that starts with a code promises that this problem is the only one."""
    for name, _, expected in CASES:
        if re.match(r"E\d{3}", name):
            assert re.findall(r"error\[(E\d+)\]", expected) == [name[:4]], name


def problems(load: Callable[[], object]) -> list[tuple[str, str, str]]:
    with pytest.raises(DlnError) as caught:
        load()
    return [(p.code, p.message, p.remedy) for p in caught.value.problems]


def test_a_spec_that_is_not_there() -> None:
    assert problems(lambda: spec.load("perceptrn")) == [
        ("E010", "no such spec or file: perceptrn", "perceptron")
    ]
    ((code, message, _),) = problems(lambda: spec.load("folder/net.dln"))
    assert (code, message) == ("E010", "no such file: folder/net.dln")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.dln"
    path.write_bytes(b"let a = \xff\n")
    assert problems(lambda: spec.load(path)) == [
        ("E011", f"{path} is not a text in UTF-8 (byte 8)", "is this a .dln file?")
    ]
    assert problems(lambda: spec.read(tmp_path)) == [
        ("E011", f"cannot read {tmp_path}: Is a directory", "")
    ]


def test_a_backend_that_is_not_there() -> None:
    made = spec.load("let a = 1\n\n")
    ((code, message, _),) = problems(lambda: made.compile("tpu"))
    assert (code, message) == ("E522", "there is no backend tpu")


def test_what_an_operation_refuses_is_said_with_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise Fault("no matrix", "a matrix")

    monkeypatch.setattr(axes, "transpose", refuse)
    assert drawn("let a = [[1]]'\n", tmp_path).splitlines()[:2] == [
        "error[E299]: no matrix",
        "  --> net.dln:1:9",
    ]


def test_deep_specs_are_read() -> None:
    """Equations in any order, functions within functions: 150 deep is no problem."""
    lines = "".join(f"  h{i} = h{i + 1} + 1\n" for i in range(150))
    net = f"block net(x[n]) -> h0[n] {{\n{lines}  h150 = x\n}}\nlet m = net()\nlet y = m([1])\n"
    assert spec.load(net)
    text = 'fn f(n) = 0 if n == 0 else 1 + f(n - 1)\ncheck "c" {\n  expect f(150) == 150\n}\n'
    assert spec.load(text)
