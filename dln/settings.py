"""What a command was asked for: the values of its options, and names chosen among those known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dln.compiler.schema.arguments import shown
from dln.grammar.diagnostics import DlnError, Problem, nearest

MANY = 12  # names that are listed


@dataclass(frozen=True)
class Settings:
    """What the options of a command say."""

    constants: Mapping[str, object] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    backend: str = "numpy"
    dtype: str | None = None
    shards: int | None = None
    threads: int | None = None
    seed: int = 0
    epochs: int | None = None
    limit: int | None = None
    phase: str | None = None
    slow: bool = False
    out: str | None = None
    resume: str | None = None
    begun: str | None = None
    jobs: int | None = None
    part: tuple[int, int] | None = None
    gather: str | None = None
    memory_limit: int | None = None
    plot: bool = False
    mpi: bool = False
    asked: frozenset[str] = frozenset()
    """The names of those that were given."""


@dataclass(frozen=True, kw_only=True)
class SpecOptions:
    """What a spec is given beside its text: values of constants, paths of data, how many examples
    of a set are taken where one stands whole; of sets that are `handed` arrays how many examples
    these have, and what their classes are called. Without `functions` it can be checked and
    trained; its instances cannot be called."""

    constants: Mapping[str, object]
    data_paths: Mapping[str, str]
    handed: Mapping[str, Mapping[str, object]]
    functions: bool
    limit: int | None


def chosen(name: str | None, known: Iterable[str], what: str) -> list[str]:
    """The names asked for: all of them, or the one given. Raises DlnError with the nearest name."""
    known = list(known)
    if name is None:
        return known
    if isinstance(name, str) and name in known:
        return [name]
    name = name if isinstance(name, str) else shown(name)
    remedy = nearest(name, known) or ("one of " * (len(known) > 1) + ", ".join(known[:MANY]))
    raise DlnError([Problem("E013", f"there is no {what} {name}", remedy=remedy)])
