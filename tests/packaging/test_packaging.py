"""What is built agrees with the folders, and the source keeps the rules of the house.

The rules are read from the import lines and calls of every file, so a new file is under them
without being named here.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from house.trees import statements, tree

ROOT = Path(__file__).parents[2]
LAYERS = ("grammar", "compiler", "runtime")
ALLOWED = {  # what each layer may import of the others
    "grammar": {"grammar"},
    "compiler": {"grammar", "compiler"},
    "runtime": {"runtime"},
}
SHARED = {  # errors, amounts, and what headers of data say before there is a plan
    "dln.compiler.schema.arguments",
    "dln.grammar.diagnostics",
    "dln.compiler.schema.headers",
    "dln.compiler.schema.quantities",
}
PLAN = "dln.compiler.plan"  # all that the runtime sees of the compiler
LOADER = "runtime/execution/sandbox.py"  # the one file that turns a program text into a function
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUP = PROJECT["tool"]["setuptools"]


def sources() -> list[Path]:
    """The Python files that are shipped."""
    found = [p for layer in LAYERS for p in (ROOT / layer).rglob("*.py")]
    return sorted([*found, *face("*.py")])


def face(pattern: str) -> list[Path]:
    """Files of `dln/` itself, without what its links lead to."""
    links = {*LAYERS, "specs"}
    found = (ROOT / "dln").rglob(pattern)
    return [p for p in found if p.relative_to(ROOT / "dln").parts[0] not in links]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---- the package list --------------------------------------------------------------------------


def test_every_package_is_listed() -> None:
    there = {"dln", "dln.specs"}
    for layer in LAYERS:
        for init in (ROOT / layer).rglob("__init__.py"):
            there.add(".".join(("dln", *init.parent.relative_to(ROOT).parts)))
    there.update(".".join(init.parent.relative_to(ROOT).parts) for init in face("__init__.py"))
    assert set(SETUP["packages"]) == there


def test_package_folders_are_where_the_list_says() -> None:
    folders = SETUP["package-dir"]
    assert set(folders) == {"dln", "dln.specs", *(f"dln.{layer}" for layer in LAYERS)}
    for folder in folders.values():
        assert (ROOT / folder).is_dir()


@pytest.mark.parametrize("name", [*LAYERS, "specs"])
def test_links_resolve(name: str) -> None:
    link = ROOT / "dln" / name
    assert link.is_symlink() and not Path(link.readlink()).is_absolute()
    assert link.resolve() == (ROOT / name).resolve()


def test_every_other_file_of_a_package_is_shipped() -> None:
    for package, folder in SETUP["package-dir"].items():
        patterns = SETUP["package-data"].get(package, [])
        for path in files_of(ROOT / folder):
            name = path.relative_to(ROOT / folder).as_posix()
            assert any(fnmatch(name, p) for p in patterns), f"{package} leaves out {name}"


def files_of(folder: Path) -> Iterator[Path]:
    """Files that are no Python and no notes, without what links lead to."""
    for path in folder.iterdir():
        if path.is_symlink() or path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from files_of(path)
        elif path.suffix not in (".py", ".pyc", ".md"):
            yield path


def test_the_command_is_there() -> None:
    assert PROJECT["project"]["scripts"] == {"dln": "dln.__main__:start"}
    done = subprocess.run(
        [sys.executable, "-m", "dln", "--version"], capture_output=True, text=True
    )
    assert done.stdout == f"dln {PROJECT['project']['version']}\n"


def test_every_import_from_outside_is_a_dependency() -> None:
    asked = {re.split(r"[<>=\[ ]", d)[0] for d in PROJECT["project"]["dependencies"]}
    known = asked | {"dln"} | set(sys.stdlib_module_names) | {"cupy"}
    for path in sources():
        apart = named(path).startswith("dln/sklearn/")  # which nothing else imports
        own = known | {"sklearn"} if apart else known
        for name, _ in imports(path):
            assert name.split(".")[0] in own, f"{named(path)} imports {name}"
            assert apart or not name.startswith("dln.sklearn"), f"{named(path)} imports {name}"


# ---- the rules of the source -------------------------------------------------------------------


@cache
def imports(path: Path) -> list[tuple[str, bool]]:
    """The modules that a file imports; whether at start-up, not in a function or for types."""

    def walk(node: ast.AST, late: bool) -> Iterator[tuple[str, bool]]:
        for child in statements(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, not late) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{named(path)} has a relative import"
                yield from imported(child, late)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from walk(child, late or inside or for_types(child))

    return list(walk(tree(path), False))


def imported(node: ast.ImportFrom, late: bool) -> Iterator[tuple[str, bool]]:
    """`from dln.compiler import plan` imports dln.compiler.plan."""
    assert node.module is not None
    for alias in node.names:
        inner = f"{node.module}.{alias.name}"
        module = (ROOT / inner.removeprefix("dln.").replace(".", "/")).with_suffix(".py")
        yield (inner if inner.startswith("dln.") and module.is_file() else node.module), not late


def for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def test_imports_go_one_way() -> None:
    def foreign(layer: str, name: str) -> bool:
        parts = name.split(".")
        if parts[0] != "dln" or name in SHARED or (layer == "runtime" and name == PLAN):
            return False
        return len(parts) == 1 or parts[1] not in ALLOWED[layer]

    layers = {path: path.relative_to(ROOT).parts[0] for path in sources()}
    found = [
        f"{named(path)} imports {name}"
        for path, layer in layers.items()
        if layer in LAYERS
        for name, _ in imports(path)
        if foreign(layer, name)
    ]
    assert not found


FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "ctypes", "subprocess",
                     "code", "codeop", "runpy", "imp", "zipimport", "multiprocessing",
                     "socket", "ssl", "http", "urllib", "ftplib", "webbrowser"}  # fmt: skip
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_ATTRIBUTES = {"os.system", "os.popen", "pickle.loads", "marshal.loads", "yaml.load"}
APART = {  # asks a loaded library for threads and products; starts this Python, or dot, with words
    "ctypes": {"runtime/device/host.py", "runtime/device/openblas.py", "runtime/device/threads.py"},
    "subprocess": {"dln/running/processes.py", "dln/drawing/graphviz.py"},
}


def test_nothing_runs_text_but_the_one_loader() -> None:
    assert not [x for path in sources() for x in risks(path)]


def risks(path: Path) -> Iterator[str]:
    """Where a file could run what is no code of its own."""
    for name, _ in imports(path):
        head = name.split(".")[0]
        if head in FORBIDDEN_MODULES and named(path) not in APART.get(head, ()):
            yield f"{named(path)} imports {name}"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            loads = called in FORBIDDEN_CALLS and named(path) != LOADER
            if (
                loads
                or called in FORBIDDEN_ATTRIBUTES
                or (called.endswith("import_module") and not own_module(node.args[0]))
            ):
                yield f"{named(path)}:{node.lineno} {called}"
            for word in node.keywords:
                if word.arg in ("shell", "allow_pickle") and ast.unparse(word.value) != "False":
                    yield f"{named(path)}:{node.lineno} {word.arg}"


def own_module(name: ast.expr) -> bool:
    """Whether a module is named in the source, or is one of dln whatever the name."""
    if isinstance(name, ast.JoinedStr):
        return ast.unparse(name.values[0]).strip("'").startswith("dln.")
    return isinstance(name, ast.Constant)


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from marshal import loads", "import urllib.request", "eval(text)",
     "exec(text)", "compile(text, 'a', 'exec')", "__import__(name)", "import_module(name)",
     "importlib.import_module(f'{name}.x')", "np.load(path, allow_pickle=True)", "os.system(x)",
     "run(words, shell=True)"],
)  # fmt: skip
def test_what_could_run_text_is_seen(text: str, tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.py"
    path.write_text(f"{text}\n", encoding="utf-8")
    monkeypatch.setitem(globals(), "named", lambda path: path.name)
    assert list(risks(path))


HEAVY = {"numpy", "rich", "safetensors", "cupy", "matplotlib", "scipy", "onnx", "joblib",
         "sklearn"}  # fmt: skip
EARLY = ("grammar", "compiler")  # what `dln check` loads, with the files below
EARLY_FILES = {"runtime/readers/readers.py", "runtime/readers/binary.py",
               "runtime/readers/files.py", "dln/__init__.py", "dln/cli.py", "dln/flags.py",
               "dln/settings.py", "dln/spec.py", "dln/options.py",
               "dln/commands/check.py", "dln/commands/show.py", "dln/commands/plan.py",
               "dln/commands/explain.py", "dln/printing/terminal.py", "dln/printing/tracing.py",
               "dln/reading/counts.py", "dln/reading/facts.py", "dln/reading/overview.py",
               "dln/reading/resolved.py", "dln/reading/tables.py", "dln/running/expectations.py",
               "dln/running/verdict_text.py"}  # fmt: skip


def test_start_up_loads_nothing_heavy() -> None:
    early = [p for p in sources() if p.relative_to(ROOT).parts[0] in EARLY]
    early += [ROOT / name for name in EARLY_FILES]
    found = [
        f"{named(path)}: {name}"
        for path in early
        for name, at_start in imports(path)
        if at_start and name.split(".")[0] in HEAVY
    ]
    assert not found


def test_cupy_is_named_in_one_file() -> None:
    users = {named(p) for p in sources() for n, _ in imports(p) if n.split(".")[0] == "cupy"}
    assert users <= {"runtime/device/gpu.py"}


# ---- what the docstrings say -------------------------------------------------------------------

ARRAYS = re.compile(r"NDArray|ArrayLike|HostArray|DeviceArray")
SHAPED = re.compile(r"\[.*\]|shape|\bax[ei]s\b|vector|matri|by (?:name|path|field)", re.DOTALL)
REFUSES = re.compile(r"[Rr]aise|`(?:Fault|DlnError)`")
Public = tuple[str, ast.FunctionDef, str]


def public(path: Path) -> Iterator[Public]:
    """The public functions and methods of a file, each with its place and what it says."""

    def walk(body: list[ast.stmt]) -> Iterator[Public]:
        for node in body:
            if isinstance(node, ast.ClassDef) and node.name[0] != "_":
                yield from walk(node.body)
            elif isinstance(node, ast.FunctionDef) and node.name[0] != "_":
                yield (
                    f"{named(path)}:{node.lineno} {node.name}",
                    node,
                    ast.get_docstring(node) or "",
                )

    return walk(tree(path).body)


def own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function, those of functions in it left out."""
    left: list[ast.AST] = list(function.body)
    while left:
        yield (node := left.pop())
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            left += ast.iter_child_nodes(node)


def raised(function: ast.FunctionDef) -> set[str]:
    """What is raised by its name, in the function itself."""
    raises = (x.exc for x in own(function) if isinstance(x, ast.Raise))
    return {ast.unparse(x.func) for x in raises if isinstance(x, ast.Call)}


def test_what_refuses_says_so() -> None:
    """But for rules of types, `(attrs, types)`, of which `Op` says it once."""
    found = [
        place
        for path in sources()
        for place, function, said in public(path)
        if raised(function) & {"Fault", "DlnError"}
        and [a.arg for a in function.args.args] != ["attrs", "types"]
        and not REFUSES.search(said)
    ]
    assert not found


def test_what_takes_or_gives_arrays_names_their_shape() -> None:
    """Where numbers are computed with; what stands in for a protocol says what that says."""
    rooms = ("runtime/", "dln/artefacts/", "dln/printing/")
    found = [p for path in sources() if named(path).startswith(rooms) for p in public(path)]
    told = {function.name for _, function, said in found if SHAPED.search(said)}
    signatures = {
        place: ast.unparse(f.args) + ast.unparse(f.returns or f.args) for place, f, _ in found
    }
    silent = [p for p, f, said in found if ARRAYS.search(signatures[p]) and not SHAPED.search(said)
              and (said or f.name not in told)]  # fmt: skip
    assert not silent
