"""Expressions of Python as trees: what they name, other names in them, their text."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping


def parsed(text: str) -> ast.expr:
    """The tree of an expression."""
    return ast.parse(text, mode="eval").body


def name(text: str) -> ast.Name:
    """A name as a tree; it need not be one of Python's."""
    return ast.Name(text)


def number(value: object) -> ast.expr:
    """A number as a tree."""
    text = repr(value).replace("inf", "np.inf").replace("nan", "np.nan")
    return parsed(text)


def call(function: str, *args: ast.expr, **more: ast.expr) -> ast.Call:
    """The call of a function, or of a method of a tree that is the first part of a dotted name."""
    return ast.Call(parsed(function), list(args), [ast.keyword(k, v) for k, v in more.items()])


def method(owner: ast.expr, what: str, *args: ast.expr) -> ast.Call:
    """The call of a method."""
    return ast.Call(ast.Attribute(owner, what), list(args), [])


def named(tree: ast.AST) -> Iterator[str]:
    """The names in a tree, as often as they stand there."""
    return (node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def replaced(tree: ast.expr, instead: Mapping[str, ast.expr]) -> ast.expr:
    """A tree with others in place of some names; what it was stays."""

    def made(node: object) -> object:
        if isinstance(node, list):
            return [made(each) for each in node]
        if not isinstance(node, ast.AST):
            return node
        if isinstance(node, ast.Name) and node.id in instead:
            return clone(instead[node.id])
        return type(node)(**{k: made(getattr(node, k, None)) for k in node._fields})

    found = made(tree)
    assert isinstance(found, ast.expr)
    return found


def clone(tree: ast.expr) -> ast.expr:
    """A tree of its own that is alike."""
    return replaced(tree, {})


def same(a: ast.AST, b: ast.AST) -> bool:
    """Whether two trees are alike."""
    return text(a) == text(b)


class _Short(ast.NodeTransformer):
    """Dots at the end of an index, which say nothing; an index of an index of the first axis."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        cut = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        while len(cut) > 1 and isinstance(cut[-1], ast.Constant) and cut[-1].value is Ellipsis:
            cut.pop()
        held = node.value
        if isinstance(held, ast.Subscript) and plain(held.slice) and plain_first(cut):
            rest = cut[1:] if whole(cut[0]) else []
            if rest:
                cut, held = [held.slice, *cut], held.value
        node.slice = cut[0] if len(cut) == 1 else ast.Tuple(cut)
        return ast.Subscript(held, node.slice)


def plain(cut: ast.expr) -> bool:
    """Whether an index is one number, which takes its axis away."""
    return not isinstance(cut, ast.Tuple | ast.Slice) and not (
        isinstance(cut, ast.Constant) and (cut.value is None or cut.value is Ellipsis)
    )


def plain_first(cut: list[ast.expr]) -> bool:
    """Whether an index begins with a whole axis, and has no dots."""
    return (
        bool(cut)
        and whole(cut[0])
        and not any(isinstance(c, ast.Constant) and c.value is Ellipsis for c in cut)
    )


def whole(cut: ast.expr) -> bool:
    """Whether an index takes all of its axis."""
    return isinstance(cut, ast.Slice) and cut.lower is cut.upper is cut.step is None


def short(tree: ast.expr) -> ast.expr:
    """A tree whose indices are as short as they can be.

    >>> ast.unparse(short(parsed("a[t, ...][:, 2:3]"))), ast.unparse(short(parsed("b[:, 0, ...]")))
    ('a[t, :, 2:3]', 'b[:, 0]')
    """
    made: ast.expr = _Short().visit(clone(tree))
    return made


def text(tree: ast.AST) -> str:
    """A tree as text."""
    return ast.unparse(tree)
