"""What the model, the plan and the runtime share: keys, records' common parts, one table each.

The runtime sees it through `dln.compiler.plan`, its only door.
"""
