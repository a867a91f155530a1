"""The names that a piece of a spec mentions, and those of its constants that are seeds or folds."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dln.grammar import syntax

SEED = "seed"
"""What a sweep calls the seed of the run."""


def names(tree: object) -> Iterator[str]:
    """Every name in a tree, in the order of the text."""
    return (node.id for node in nodes(tree) if isinstance(node, syntax.Name))


def seeds(module: syntax.Module) -> set[str]:
    """`seed`, and the constants by which phases fix their own: `train ... seed order_seed`."""
    clauses = [c for c in nodes(module) if isinstance(c, syntax.Clause) and c.kind == "seed"]
    return {SEED, *names(clauses)}


def folds(module: syntax.Module, parts: Collection[str]) -> set[str]:
    """The constants that say which fold is left out: `k` in `d.fold[k]`, with `fold` among the
    names of the `parts` that have numbers."""
    picked = [n for n in nodes(module) if isinstance(n, syntax.Index)]
    asked = [n for n in picked if isinstance(n.body, syntax.Attr) and n.body.name in parts]
    return set(names([n.indices for n in asked]))


def nodes(tree: object) -> Iterator[syntax.Syntax]:
    """Every node of a tree, those around before those inside."""
    if isinstance(tree, syntax.Syntax):
        yield tree
        tree = [getattr(tree, field) for field in tree._fields]
    if isinstance(tree, tuple | list):
        for each in tree:
            yield from nodes(each)
