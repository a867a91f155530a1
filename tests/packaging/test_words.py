"""The page of words: in order, of things that are there, every room and core type on it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = ("grammar", "compiler", "runtime", "dln")
ROWS = [
    [cell.strip() for cell in line.strip("|\n ").split(" | ")]
    for line in (ROOT / "docs/words.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
][2:]
NAMED = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[1])}
DEFINED = re.compile(r"^ *(?:class|def) (\w+)", re.MULTILINE)
CORE = """
    Graph Node Op TensorType Domain Size Sizes Model Parameter DataSet Phase Applied Plan
    Program Buffer Line Place PhaseSpec ParamSpec DataSpec TaskSpec Target Build Scope Frame
    Recipe Key ProgramKey ProgramKind Output Extent Source Span Problem Fault Module Spec
    Session Executable Bound Host Gpu
""".split()


def folders() -> set[str]:
    """Every sub-package of the compiler and the runtime: the rooms that a newcomer looks into."""
    found = (p.parent for layer in ("compiler", "runtime") for p in (ROOT / layer).rglob("*.py"))
    return {p.name for p in found if p.parent != ROOT and (p / "__init__.py").exists()}


def defined() -> set[str]:
    """Classes and functions of the source, and what the language and the graph call things."""
    found = {p.stem for layer in LAYERS for p in (ROOT / layer).rglob("*.py")}
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            found |= set(DEFINED.findall(path.read_text(encoding="utf-8")))
    return found | folders()


TREE = ("syntax.py", "expressions.py")  # named like rules of the grammar, and read as `s.NAME`


def test_a_class_has_a_name_of_its_own() -> None:
    """So that a name in code, in a message or on a page is one thing."""
    held: dict[str, set[str]] = {}
    for layer in LAYERS:
        for path in (p for p in (ROOT / layer).rglob("*.py") if p.name not in TREE):
            for name in re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
                held.setdefault(name, set()).add(str(path.resolve()))
    assert not {name: where for name, where in held.items() if len(where) > 1 and name[0] != "_"}


def test_words_stand_in_order_once() -> None:
    words = [row[0] for row in ROWS]
    assert len(words) > 100 and all(len(row) == 3 for row in ROWS)
    assert words == sorted(set(words), key=str.lower)


def test_every_room_and_core_type_is_on_the_page() -> None:
    assert not {*folders(), *CORE} - NAMED


def test_what_the_page_names_is_there() -> None:
    capitals = {name for name in NAMED if name[0].isupper() and not re.match(r"[EW]\d", name)}
    assert not capitals - defined()
