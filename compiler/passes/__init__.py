"""Graph to graph, each pass a pure function; `PASSES` is their order.

The first ones run before `differentiate`, so that derivatives are taken of stable and guarded
forms; all but `guard` run again after it. `accumulate` knows no way back: nothing that rewrites
products comes after it.
"""

from dln.compiler.passes.accumulate import accumulate
from dln.compiler.passes.fission import fission
from dln.compiler.passes.fold import fold
from dln.compiler.passes.guard import guard
from dln.compiler.passes.prune import prune
from dln.compiler.passes.rewriting import Firing as Firing
from dln.compiler.passes.rewriting import Log as Log
from dln.compiler.passes.rewriting import Pass as Pass
from dln.compiler.passes.scan_bodies import inside
from dln.compiler.passes.simplify import simplify
from dln.compiler.passes.stabilise import stabilise

PASSES: tuple[tuple[str, Pass], ...] = (
    ("simplify", inside(simplify)),
    ("stabilise", inside(stabilise)),
    ("guard", guard),
    ("fission", fission),
    ("fold", inside(fold)),
    ("prune", inside(prune)),
    ("accumulate", inside(accumulate)),
)
