"""Expressions: operators, calls, indices, the functions of the language."""
