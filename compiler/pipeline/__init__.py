"""Model to plan: which programs there are, what is done with them, and the stages of each.

The graph stages stand in `stages`; the target's own follow here: schedule, lower.
"""

from dln.compiler.pipeline.compiled import compile_model, in_shards
from dln.compiler.pipeline.recipes import Cutting, Recipe, claimed, recipes
from dln.compiler.pipeline.specs import data_spec

__all__ = ["Cutting", "Recipe", "claimed", "compile_model", "data_spec", "in_shards", "recipes"]
