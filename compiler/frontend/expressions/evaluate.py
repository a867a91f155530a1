"""What each expression means: a rule by the class of its syntax.

Constants, lists, instances and functions are worked out here and now; tensors become nodes. The
stage of every expression is known, so a dynamic value where a static one is needed is an error
that names the tensor. Rules come back to the others by `b.evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable

from dln.compiler.frontend.context.build_context import Value
from dln.compiler.frontend.expressions import calls, indexing, operators

RULES: dict[type, Callable[..., Value]] = {**operators.RULES, **calls.RULES, **indexing.RULES}
