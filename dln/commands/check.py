"""Read a spec and test what needs no training."""

from __future__ import annotations

from typing import Any

import click

from dln.commands.options import loaded, settings, takes
from dln.printing.terminal import Terminal
from dln.reading import tables
from dln.reading.counts import headline, parameters
from dln.running import expectations, verdict_text

ORDER = 10


@click.command(help=__doc__)
@click.argument("spec")
@takes("spec")
def command(terminal: Terminal, /, spec: str, **given: Any) -> int:
    """What can be tested now, what may be wrong, and what the spec holds; 1 if an expectation
    failed."""
    found = loaded(spec, settings(terminal, given), functions=False)
    model = found.model
    tables.check_tables(model)
    verdicts = expectations.verdicts(model)
    for note in model.notes:
        terminal.say(f"note: {note}")
    terminal.warn(model.warnings)
    verdict_text.brief(terminal, model, verdicts)
    terminal.result(headline(found))
    verdict_text.tally(terminal, verdicts)
    terminal.data({"spec": found.name, "parameters": parameters(model),
                   "phases": list(model.phases), "notes": list(model.notes),
                   "warnings": [w.as_data() for w in model.warnings],
                   "checks": [v.as_data() for v in verdicts]})  # fmt: skip
    return 1 if verdict_text.status_of(verdicts) == "failed" else 0
