"""A parsed spec to what it means, through every stage that may refuse it.

All commands and `dln.load` come through here, so that what one accepts all accept. What follows
is the business of single programs, and refuses nothing that a spec says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dln.compiler.derivable import derivable
from dln.compiler.frontend.build import Loader, build
from dln.compiler.frontend.infer import infer
from dln.compiler.model import Model
from dln.grammar.diagnostics import Source
from dln.grammar.syntax import Module


def read(
    source: Source,
    module: Module,
    load: Loader,
    probe: Callable[[Any], Any],
    constants: Mapping[str, object] | None = None,
    data_paths: Mapping[str, str] | None = None,
    functions: bool = True,
    text_file: Callable[[str, str], Source] | None = None,
    limit: int | None = None,
) -> Model:
    """The model of a spec: built, every size a number, every derivative known to exist. The
    arguments are those of `build`. Raises DlnError with every problem found."""
    outside = (constants, data_paths, functions, text_file, limit)
    return derivable(infer(build(source, module, load, probe, *outside)))
