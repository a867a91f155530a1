"""What a program computes for a report alone.

The loss of a step is read by whoever looks at how training goes, not by the update. The statements
that nothing else needs stand under `if looked:`, in their places among the others: what remains
without them is the very same program, so that no look changes a bit of what is trained.
"""

from __future__ import annotations

from dln.compiler.ir.graph import Node, ancestors
from dln.compiler.lower.materialise import outputs
from dln.compiler.lower.schedule import Schedule
from dln.compiler.schema.keys import Output


def only_reported(made: Schedule, reported: frozenset[Output]) -> frozenset[Node]:
    """The nodes of a schedule's steps that no output but the `reported` ones needs.

    Whatever overwrites an array is ordered after the last reader of it, so a reader may be left
    out; what such a step writes is read by steps of the kind alone.
    """
    needed = set(ancestors(n for key, n in outputs(made.graph).items() if key not in reported))
    return frozenset(step.node for step in made.steps if step.node not in needed)
