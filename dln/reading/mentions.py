"""The names that a piece of a spec mentions, and those of its constants that are seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dln.grammar import syntax

SEED = "seed"
"""What a sweep calls the seed of the run."""


def names(node: object) -> Iterator[str]:
    """Every name in a tree, in the order of the text."""
    if isinstance(node, syntax.Name):
        yield node.id
    elif isinstance(node, tuple | list):
        for each in node:
            yield from names(each)
    elif isinstance(node, Mapping):
        yield from names(list(node.values()))
    elif isinstance(node, syntax.Syntax):
        for field in node._fields:
            yield from names(getattr(node, field))


def seeds(module: syntax.Module) -> set[str]:
    """`seed`, and the constants by which phases fix their own: `train ... seed order_seed`."""
    return {SEED, *names([c.value for c in _clauses(module) if c.kind == "seed"])}


def _clauses(node: object) -> Iterator[syntax.Clause]:
    if isinstance(node, syntax.Train):
        yield from (c for c in node.clauses if isinstance(c, syntax.Clause))
    elif isinstance(node, tuple | list):
        for each in node:
            yield from _clauses(each)
    elif isinstance(node, syntax.Module | syntax.For):
        yield from _clauses(node.items if isinstance(node, syntax.Module) else node.body)
