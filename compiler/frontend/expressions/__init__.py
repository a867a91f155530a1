"""Expressions: operators, calls, indices, the functions of the language.

Each has a rule by the class of its syntax, in `RULES` of three files. Constants, lists, instances
and functions are worked out here and now; tensors become nodes. The stage of every expression is
known, so a dynamic value where a static one is needed is an error that names the tensor. Rules come
back to the others by `b.evaluate`.
"""
