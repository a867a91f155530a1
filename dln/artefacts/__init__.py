"""What tasks emit: one file for each form, found by its name.

A file has a function `made(session, emit, values)`. Which forms there are, what they take and which
files they fit into is a table of the compiler (`compiler/frontend/context/artefacts.py`).
"""
