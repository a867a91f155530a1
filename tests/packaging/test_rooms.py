"""The rooms of the house: their order, no circle of files, what stands in functions, how long.

`ROOMS` is the order: a file imports from its own room and from rooms above it, at start-up, in
functions and for types alike. A file that is no package is a room of its own.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx as nx
from house.trees import tree

ROOT = Path(__file__).parents[2]
LAYERS = ("grammar", "compiler", "runtime")
ROOMS = """
    grammar
    compiler.schema
    compiler.ir
    compiler.model
    compiler.plan
    compiler.autodiff
    compiler.frontend.tracing
    compiler.frontend.context
    compiler.frontend.tensors
    compiler.frontend.scan
    compiler.frontend.energy
    compiler.frontend.instances
    compiler.frontend.data
    compiler.frontend.expressions
    compiler.frontend.training
    compiler.frontend.results
    compiler.frontend
    compiler.passes
    compiler.lower
    compiler.pausing
    compiler.stages
    compiler.fingerprint
    compiler.early_sums
    compiler.shards
    compiler.pipeline
    compiler.derivable
    compiler.trial
    compiler.reading
    compiler.show
    runtime.device
    runtime.ranks
    runtime.readers
    runtime.execution
    runtime.data
    runtime.checkpoint
    runtime.training
    runtime.footprint
    runtime
    flags
    settings
    kept
    given
    spec
    sklearn
    usage
    printing
    drawing
    reading
    artefacts
    running
    recorded
    applying
    sweep
    results
    bisecting
    standalone
    exporting
    importing
    options
    weights
    commands
    cli
""".split()
WHOLE = {"", "__main__", "compiler"}  # made of all: what users import, and `python -m dln`
LINES = 400  # of a file, at most
LONGEST = 60  # lines of a function
FILES = 18  # of a folder


def sources() -> list[Path]:
    links = {*LAYERS, "specs"}
    found = [p for layer in LAYERS for p in (ROOT / layer).rglob("*.py")]
    found += [
        p for p in (ROOT / "dln").rglob("*.py") if p.relative_to(ROOT / "dln").parts[0] not in links
    ]
    return sorted(found)


def named(path: Path) -> str:
    """`compiler.ir.graph`, `cli`: the name of a module below `dln`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "dln" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {named(path): path for path in sources()}


def imports(path: Path) -> Iterator[str]:
    """The modules of the project that a file imports, wherever the line stands."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dln":
            module = (node.module or "").removeprefix("dln").removeprefix(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                yield inner if inner in MODULES else module
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("dln.") for a in node.names if a.name[:4] == "dln.")


def room(module: str) -> str:
    """The innermost room that a module stands in."""
    inside = [r for r in ROOMS if module == r or module.startswith(f"{r}.")]
    return max(inside, key=len, default=module)


@cache
def edges() -> list[tuple[str, str]]:
    """Which file imports which."""
    found = ((a, b) for a, path in MODULES.items() for b in imports(path))
    return [(a, b) for a, b in found if b in MODULES and a != b]


def test_every_file_stands_in_a_room() -> None:
    assert not {module for module in MODULES if room(module) not in ROOMS} - WHOLE


def test_imports_go_by_the_order_of_rooms() -> None:
    place = {r: i for i, r in enumerate(ROOMS)}
    inside = [(a, b) for a, b in edges() if not {a, b} & WHOLE]
    wrong = {f"{a} imports {b}" for a, b in inside if place[room(a)] < place[room(b)]}
    assert not sorted(wrong)


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = nx.DiGraph(edges())
    assert not [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1]


def test_an_import_in_a_function_says_why_it_is_late() -> None:
    """`# late: NumPy`: for start-up time alone."""
    found = []
    for path in sources():
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Import | ast.ImportFrom):
                        text = "\n".join(lines[inner.lineno - 1 : inner.end_lineno])
                        if "# late: " not in text:
                            found.append(f"{named(path)}:{inner.lineno}")
    assert not found


def test_files_functions_and_folders_keep_a_readable_length() -> None:
    folders = Counter(path.parent.relative_to(ROOT).as_posix() for path in sources())
    found = [f"{folder}: {n} files" for folder, n in folders.items() if n > FILES]
    for path in sources():
        if (n := path.read_text(encoding="utf-8").count("\n")) > LINES:
            found.append(f"{named(path)}: {n} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                n = node.end_lineno - node.lineno + 1
                if n > LONGEST:
                    found.append(f"{named(path)}.{node.name}: {n} lines")
    assert not found
