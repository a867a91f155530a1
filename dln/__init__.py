"""dln: networks written as equations, compiled and trained.

>>> import dln
>>> spec = dln.load("backprop")
>>> sorted(spec.model.phases)
['first', 'many']
"""

from dln.grammar.diagnostics import DlnError as DlnError
from dln.grammar.diagnostics import Problem as Problem
from dln.spec import Compiled as Compiled
from dln.spec import Spec as Spec
from dln.spec import load as load

__version__ = "0.1.0"
