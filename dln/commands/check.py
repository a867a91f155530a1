"""Read a spec and test what needs no training."""

from __future__ import annotations

from typing import Any

import click

from dln.grammar.diagnostics import Problem
from dln.options import loaded, settings, takes
from dln.printing.terminal import Terminal
from dln.reading.counts import headline
from dln.running import verdict_text
from dln.running.verdict import Verdict
from dln.spec import Spec

ORDER = 10


@click.command(help=__doc__)
@click.argument("spec")
@takes("spec")
def command(terminal: Terminal, /, spec: str, **given: Any) -> int:
    """What can be tested now, what may be wrong, and what the spec holds; 1 if an expectation
    failed."""
    found = loaded(spec, settings(terminal, given), functions=False)
    facts, warnings = found.facts, list(found.facts.warnings)
    if facts.tables:
        from dln.kept.tables import looked_at  # late: few specs have tables

        warnings += looked_at(found.kept, lambda: _of_tables(found))
    verdicts = [Verdict(*said) for said in found.kept.value("check", lambda: _worked_out(found))]
    for note in facts.notes:
        terminal.say(f"note: {note}")
    terminal.warn(warnings)
    verdict_text.brief(terminal, facts, verdicts)
    terminal.result(headline(found))
    verdict_text.tally(terminal, verdicts)
    terminal.data({"spec": found.name, "parameters": facts.parameters,
                   "phases": list(facts.phases), "notes": list(facts.notes),
                   "warnings": [w.as_data() for w in warnings],
                   "checks": [v.as_data() for v in verdicts]})  # fmt: skip
    return 1 if verdict_text.status_of(verdicts) == "failed" else 0


def _of_tables(spec: Spec) -> list[Problem]:
    """What is likely wrong in the tables of a spec."""
    from dln.reading.tables import check_tables  # late: few specs have tables

    return check_tables(spec.model)


def _worked_out(spec: Spec) -> tuple[tuple[Any, ...], ...]:
    """The verdicts of a spec as plain tuples, so that they can be kept."""
    from dln.running.expectations import verdicts  # late: the graph's operations

    return tuple(tuple(getattr(v, k) for k in v._fields) for v in verdicts(spec.model))
