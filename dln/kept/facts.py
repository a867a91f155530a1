"""What commands ask of a spec before anything is worked out of its graph, as a plain record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dln.compiler.schema.records import PhaseFacts
from dln.grammar.diagnostics import Problem
from dln.grammar.record import Record

if TYPE_CHECKING:
    from dln.compiler.model import Model

TABLES = ("table", "rows")
"""The readers of data of which `dln check` looks at every number."""


class Checked(Record):
    """A check: its sentence, how many expectations it has, and whether it is slow."""

    text: str
    expects: int
    slow: bool


class SpecFacts(Record):
    """What a spec holds: its notes and warnings, the values of its constants, how many numbers can
    be trained in how many tensors, its data sets, phases, checks and tasks by name.

    Of the phases `probed` checks ask something beside watches. With `tables` there are data of
    which a check looks at every number. `sources` are the paths of all texts.
    """

    notes: tuple[str, ...]
    warnings: tuple[Problem, ...]
    constants: Mapping[str, object]
    parameters: int
    tensors: int
    data: tuple[str, ...]
    phases: Mapping[str, PhaseFacts]
    checks: tuple[Checked, ...]
    tasks: tuple[str, ...]
    probed: frozenset[str]
    tables: bool
    sources: tuple[str, ...]


def shapes(model: Model) -> dict[str, tuple[tuple[int, ...], int, bool]]:
    """Each parameter of a model with its shape, how many numbers it has (dead entries left out)
    and whether it may be trained."""
    from dln.compiler.ir.masks import live_count  # late: what is kept says it

    found = {}
    for path, p in model.params.items():
        if not p.checks:
            shape = tuple(size.constant for size in p.node.type.shape)
            found[path] = (shape, live_count(p.joins, shape), p.trainable)
    return found


def facts_of(model: Model) -> SpecFacts:
    """The facts of a model."""
    held = shapes(model)
    return SpecFacts(
        notes=model.notes,
        warnings=model.warnings,
        constants=dict(model.constants),
        parameters=sum(count for _, count, trainable in held.values() if trainable),
        tensors=len(held),
        data=tuple(model.data),
        phases={name: PhaseFacts.extending(phase) for name, phase in model.phases.items()},
        checks=tuple(Checked(c.text, len(c.expects), c.slow) for c in model.checks),
        tasks=tuple(model.tasks),
        probed=frozenset(probe.phase for probe in model.probes.values()),
        tables=any(d.reader in TABLES for d in model.data.values()),
        sources=tuple(model.sources),
    )
