"""The targets: tables of spellings and capabilities.

Passes, scheduling and lowering ask the fields of a `Target`, never its name. A new target is a
new row.
"""

from __future__ import annotations

from dln.compiler.lower.targets.gpu import CUPY
from dln.compiler.lower.targets.host import NUMPY
from dln.compiler.lower.targets.target import Target as Target
from dln.compiler.lower.targets.target import spelling as spelling

TARGETS: dict[str, Target] = {t.name: t for t in (NUMPY, CUPY)}
