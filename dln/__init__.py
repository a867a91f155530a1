"""dln: networks written as equations, compiled and trained.

>>> import dln
>>> spec = dln.load("backprop")
>>> sorted(spec.model.phases)
['first', 'many']
"""

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all that is here

if TYPE_CHECKING:
    from dln.applying.session import open as open
    from dln.grammar.diagnostics import DlnError as DlnError
    from dln.grammar.diagnostics import Problem as Problem
    from dln.runtime.checkpoint.rundir import RunDirectory
    from dln.spec import Compiled as Compiled
    from dln.spec import Spec as Spec
    from dln.spec import load as load

__version__ = "0.1.0"
__all__ = ["Compiled", "DlnError", "Problem", "Spec", "load", "open"]


def __getattr__(name: str) -> object:
    """All on first use, so that `dln --help` does not read the compiler."""
    if name not in __all__:
        raise AttributeError(f"module 'dln' has no attribute {name!r}")
    if name in ("DlnError", "Problem"):
        from dln.grammar import diagnostics  # late: a command has hold of Ctrl-C before that

        return getattr(diagnostics, name)
    from dln import spec  # late: `dln --help` needs no compiler

    spec.Compiled.describe = _described
    if name == "open":
        from dln.applying.session import open  # late: NumPy

        return open
    return getattr(spec, name)


def _described(compiled: "Compiled", rundir: "RunDirectory", seed: int) -> None:
    """What `open` asks of the directory of a run is written into one that Python trains in."""
    from dln.running.recording import from_python  # late: seldom asked for

    from_python(compiled, rundir, seed)
