"""A parsed spec to what it means, through every stage that may refuse it.

All commands and `dln.load` come through here, so that what one accepts all accept. What follows
is the business of single programs, and refuses nothing that a spec says.
"""

from __future__ import annotations

from dln.compiler.derivable import derivable
from dln.compiler.frontend.build import build
from dln.compiler.frontend.context.outside import Outside
from dln.compiler.frontend.infer import infer
from dln.compiler.model import Model
from dln.grammar.diagnostics import Source
from dln.grammar.syntax import Module

__all__ = ["Outside", "read"]


def read(source: Source, module: Module, outside: Outside) -> Model:
    """The model of a spec: built, every size a number, every derivative known to exist, every phase
    in shards to be one that can be cut. Raises DlnError with every problem found."""
    model = derivable(infer(build(source, module, outside)))
    if any(ph.shards for ph in model.phases.values()):
        from dln.compiler.shards import divisible  # late: few specs are in shards

        return divisible(model)
    return model
