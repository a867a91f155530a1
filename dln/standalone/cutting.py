"""Functions taken as text from the source of the package, so that nothing is written twice.

A function stays as it is written there, without the types and with the first sentence of what it
says of itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).parent.parent
Cut = tuple[int, int, str]
"""From where to where of a text, in characters, and what comes there instead."""


@cache
def parsed(file: str) -> tuple[str, ast.Module]:
    """The text of a file of the package, by its path below it, and its tree."""
    text = (ROOT / file).read_text("utf-8")
    assert text.isascii()  # columns of the tree count bytes
    return text, ast.parse(text)


def function(file: str, name: str) -> str:
    """The text of a function of a file, or of a value that it names. Raises KeyError."""
    text, tree = parsed(file)
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    for node in tree.body:
        if name in names(node):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            assert node.end_lineno is not None
            low, high = starts[first - 1], starts[node.end_lineno] - 1
            for start, stop, instead in sorted(cuts(node, starts, text), reverse=True):
                text = text[:start] + instead + text[stop:]
                high -= stop - start - len(instead)
            return re.sub(r"  # (fmt|late|noqa|type).*", "", text[low:high])
    raise KeyError(f"{file} has no {name}")


def names(node: ast.stmt) -> set[str]:
    """What a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else ()
    return {t.id for t in targets if isinstance(t, ast.Name)}


def cuts(tree: ast.stmt, starts: list[int], text: str) -> Iterator[Cut]:
    """What is taken out of a function: types, and what else it says of itself."""

    def at(line: int | None, column: int | None) -> int:
        return starts[(line or 1) - 1] + (column or 0)

    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            head = at(node.lineno, node.col_offset)
            stop = text.rindex(":", head, at(first.lineno, first.col_offset))
            asked = "*" * bool(node.args.vararg) and f"*{node.args.vararg.arg}"  # type: ignore[union-attr]
            said = [a.arg for a in node.args.args] + ([asked] if asked else [])
            defaults = [ast.unparse(d) for d in node.args.defaults]
            for i, value in enumerate(reversed(defaults), 1):
                said[len(node.args.args) - i] += f"={value}"
            yield head, stop, f"def {node.name}({', '.join(said)})"
            doc = ast.get_docstring(node)
            if doc is not None:
                sentence = re.split(r"(?<=[^.])[.;](?=\s|$)", " ".join(doc.split()))[0]
                lead = " " * first.col_offset
                rows = wrap(f'"""{sentence}."""', 100, subsequent_indent=lead, initial_indent=lead)
                begin = at(first.lineno, first.col_offset)
                yield begin, at(first.end_lineno, first.end_col_offset), "\n".join(rows).lstrip()
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target = at(node.target.end_lineno, node.target.end_col_offset)
            yield target, at(node.annotation.end_lineno, node.annotation.end_col_offset), ""
