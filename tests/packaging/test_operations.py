"""Nothing outside of `compiler/ir/ops` knows an operation by its name, but for what rewrites it.

Everything else asks: facts and rules of the record, or the questions of `compiler/ir/structure.py`
about the operations that the graph itself is made of. Counted are comparisons with `.op`, and
tables whose entries are names of operations.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from house.trees import tree

from dln.compiler.ir.op import OPS, Op

ROOT = Path(__file__).parents[2]
RULES = "rules name what they rewrite"
SIGNS = "signs and functions of the language, which are spelled like operations"
ALLOWED: dict[str, tuple[int, str]] = {
    "compiler/autodiff/differentiate.py": (1, "which walk writes out which derivative"),
    "compiler/frontend/context/lengths.py": (6, f"exp(z) / sum(exp(z)) past an end: {RULES}"),
    "compiler/frontend/expressions/operators.py": (3, SIGNS),
    "compiler/frontend/tensors/reductions.py": (1, SIGNS),
    "compiler/frontend/training/watches.py": (1, SIGNS),
    "compiler/lower/forms/lookups.py": (1, f"a bias goes into the table: {RULES}"),
    "compiler/lower/materialise.py": (1, f"which operand is rearranged: {RULES}"),
    "compiler/passes/fission.py": (2, f"sums are put in another order: {RULES}"),
    "compiler/passes/products.py": (1, RULES),
    "compiler/passes/shapes.py": (1, RULES),
    "compiler/passes/stabilise.py": (3, RULES),
    "dln/exporting/normalising.py": (6, f"a sum, a quotient and a root: {RULES}"),
    "dln/exporting/operations.py": (
        2,
        "a row for each, which tests/exporting counts",
    ),
}
"""How often a file names operations, and why it may."""


def sources() -> Iterator[Path]:
    for layer in ("compiler", "runtime", "dln"):
        for path in sorted((ROOT / layer).rglob("*.py")):
            part = path.relative_to(ROOT / layer).parts[0]
            linked = layer == "dln" and part in ("compiler", "runtime", "grammar", "specs")
            if not linked and "ops" not in path.parts and path.name != "structure.py":
                yield path


def words(node: ast.AST) -> list[str]:
    """The strings of a literal: `"a"`, `("a", "b")`, `frozenset("a b".split())`, `{"a": ...}`."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return [w for p in parts for w in words(p)]
        case ast.Dict(keys=parts):
            return [w for p in parts if p is not None for w in words(p)]
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="split")):
            return text.split()
        case ast.Call(func=ast.Name(id="frozenset" | "set" | "tuple" | "list"), args=[part]):
            return words(part)
    return []


def asked(node: ast.AST) -> bool:
    """Whether a piece of code asks what an operation is called."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        if any(isinstance(s, ast.Attribute) and s.attr == "op" for s in sides):
            return any(w in OPS for s in sides for w in words(s))
    if isinstance(node, ast.Assign | ast.AnnAssign) and not isinstance(node.value, ast.Constant):
        found = [] if node.value is None else words(node.value)
        return len(found) > 1 and set(found) <= set(OPS)
    return False


def named(path: Path) -> list[int]:
    """The lines of a file that ask what an operation is called."""
    return [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.stmt | ast.expr) and asked(node)
    ]


def test_operations_are_asked_for_what_is_true_of_them() -> None:
    found = {p.relative_to(ROOT).as_posix(): lines for p in sources() if (lines := named(p))}
    counts = {name: len(lines) for name, lines in found.items()}
    assert counts == {name: count for name, (count, _) in ALLOWED.items()}, found


def test_a_fact_is_asked_for_and_explained() -> None:
    """What no record has is not asked for, what nobody asks for is no fact."""
    told = {fact for op in OPS.values() for fact in op.facts}
    asked = set[str]()
    for path in sources():
        for node in ast.walk(tree(path)):
            match node:
                case ast.Call(func=ast.Attribute(attr="is_"), args=[ast.Constant(value=str(fact))]):
                    asked.add(fact)
    said = set(re.findall(r"`(\w+)`", (Op.__doc__ or "").partition("`smooth`")[0]))
    assert told == asked
    assert told <= said | {"function"}
