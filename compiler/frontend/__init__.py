"""Syntax to model: names bound, blocks expanded, phases laid out, sizes solved.

Here every function may raise `DlnError`, by `BuildPlace.fail`, for what the spec says wrong, and
`Poisoned` for what needs something that has failed before.
"""
