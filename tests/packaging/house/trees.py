"""The syntax trees of source files, each made once for all tests of a process."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """What stands right inside of a node and may hold statements: no expression does."""
    return (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))
