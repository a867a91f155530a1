"""A spec to what it means, through every stage that may refuse it.

All commands and `dln.load` come through here, so that what one accepts all accept. What follows
is the business of single programs, and refuses nothing that a spec says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from dln.compiler.derivable import derivable
from dln.compiler.frontend.build import build
from dln.compiler.frontend.context.outside import Outside
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.infer import infer
from dln.compiler.model import Model
from dln.compiler.pausing import uncollected
from dln.grammar.diagnostics import DlnError, Problem, Source
from dln.grammar.parser import parse_source
from dln.grammar.syntax import Module

__all__ = ["Outside", "read"]


def read(source: Source, parse: Callable[[], Module], outside: Outside) -> Model:
    """The model of a spec: parsed, built, every size a number, every derivative known to exist,
    every phase in shards to be one that can be cut. Raises DlnError with every problem found."""
    try:
        with uncollected():
            return _read(source, parse(), outside)
    except DlnError as error:
        from dln.compiler.trial import tried  # late: most specs are right

        again = partial(_problems, source.path, replace(outside, trace=None))
        raise DlnError(tried(error.problems, source, again)) from None


def _read(source: Source, module: Module, outside: Outside) -> Model:
    model = derivable(infer(build(source, module, outside)))
    if any(ph.shards for ph in model.phases.values()):
        from dln.compiler.shards import divisible  # late: few specs are in shards

        return divisible(model)
    return model


def _problems(path: str, outside: Outside, text: str) -> Sequence[Problem]:
    """What is wrong with another text in the place of a spec."""
    source = Source(path, text)
    try:
        _read(source, parse_source(source), outside)
    except DlnError as error:
        return error.problems
    return ()
