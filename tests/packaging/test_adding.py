"""Adding is local: what was added last is named in the files that must name it, and nowhere else.

Names are looked for in the code of the shipped files: identifiers, and words of texts. Comments and
docstrings may speak of anything.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from house.trees import tree

from dln.cli import files, listed
from dln.compiler.frontend.context.artefacts import FORMS
from dln.compiler.ir.op import OPS

ROOT = Path(__file__).parents[2]
ADDED = {
    # an artefact: the row of its form; the file of its name makes it
    "confusion": {"compiler/frontend/context/artefacts.py", "dln/artefacts/confusion.py"},
    # an operation: its record, a kernel where NumPy has no such function, its row for ONNX
    "erf": {
        "compiler/ir/ops/pointwise.py",
        "dln/exporting/operations.py",
        "runtime/device/kernels.py",
    },
    # what can be said in the language is a line of its library
    "gelu": set(),
}


def sources() -> Iterator[Path]:
    """The Python files that are shipped, each once."""
    for folder in ("grammar", "compiler", "runtime", "dln"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.parents):
                yield path


@cache
def words(path: Path) -> set[str]:
    """The names that a file uses, those in its texts among them, and its own."""
    nodes = list(ast.walk(tree(path)))
    said = {id(n.value) for n in nodes if isinstance(n, ast.Expr)}  # docstrings
    found = {path.stem}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            found.update(re.findall(r"\w+", node.value))
        for kind in ("id", "attr", "name", "arg", "module"):
            value = getattr(node, kind, None)
            found.update(value.split(".") if isinstance(value, str) else ())
    return found


@pytest.mark.parametrize("name", ADDED)
def test_what_was_added_is_named_where_it_must_be(name: str) -> None:
    assert {p.relative_to(ROOT).as_posix() for p in sources() if name in words(p)} == ADDED[name]


def test_a_command_is_one_file() -> None:
    """No other file imports a command; the group lists those that say where they stand."""
    modules = {path.stem for path in files().values()}
    commands = {files()[name].stem for name, _ in listed()}
    assert modules - commands == {"__init__"}
    for path in sources():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                named = [f"{node.module}.{alias.name}" for alias in node.names]
                for module in (node.module, *named):
                    folder, _, stem = module.rpartition(".")
                    assert folder != "dln.commands" or stem not in commands, f"{path}: {module}"


def test_the_first_line_of_a_command_is_its_help() -> None:
    for name, purpose in listed():
        assert purpose.endswith(".") and len(purpose) < 70, name
        assert "ORDER = " in files()[name].read_text() and name in dict(listed())


def test_an_artefact_is_one_file_and_a_row() -> None:
    makers = {p.stem for p in (ROOT / "dln/artefacts").glob("*.py")} - {"__init__", "made"}
    assert makers == set(FORMS)


def test_what_users_write_of_numbers_stands_in_the_reference() -> None:
    """Functions that are operations, by their records; and what the library makes of them."""
    text = (ROOT / "grammar/README.md").read_text(encoding="utf-8")
    row = text[text.index("**Functions of numbers**") :].partition("\n\n")[0]
    said = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", row))))
    assert {name for name, op in OPS.items() if op.is_("function")} <= said
    library = (ROOT / "specs/std.dln").read_text(encoding="utf-8")
    assert "gelu" in said and re.search(r"^fn gelu\(a\) = .*\berf\(", library, re.MULTILINE)
