"""The functions of the language that take a machine; `noise` is where its chains begin."""

from __future__ import annotations

from collections.abc import Callable

from dln.compiler.frontend.context.build_context import Value
from dln.compiler.frontend.energy import exact, gibbs

FUNCTIONS: dict[str, Callable[..., Value]] = {
    "gibbs": gibbs.gibbs,
    "cd": gibbs.cd,
    "log_z": exact.log_z,
    "log_likelihood": exact.log_likelihood,
    "noise": gibbs.noise,
}
