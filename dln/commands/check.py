"""Read a spec and test what needs no training."""

from __future__ import annotations

from typing import Any

import click

from dln.commands.options import loaded, settings, takes
from dln.printing.terminal import Terminal
from dln.reading import tables
from dln.reading.counts import headline, parameters
from dln.running import expectations, verdict_text
from dln.spec import Spec

ORDER = 10


@click.command(help=__doc__)
@click.argument("spec")
@takes("spec")
def command(terminal: Terminal, /, spec: str, **given: Any) -> int:
    """1 if an expectation failed."""
    return check(terminal, loaded(spec, settings(terminal, given), functions=False))


def check(terminal: Terminal, spec: Spec) -> int:
    """What can be tested now, what may be wrong, and what the spec holds."""
    model = spec.model
    tables.check_tables(model)
    found = expectations.verdicts(model)
    for note in model.notes:
        terminal.say(f"note: {note}")
    terminal.warn(model.warnings)
    verdict_text.brief(terminal, model, found)
    terminal.result(headline(spec))
    verdict_text.tally(terminal, found)
    terminal.data(
        {
            "spec": spec.name,
            "parameters": parameters(model),
            "phases": list(model.phases),
            "notes": list(model.notes),
            "warnings": [w.as_data() for w in model.warnings],
            "checks": verdict_text.as_data(found),
        }
    )
    return 1 if verdict_text.failed(found) else 0
