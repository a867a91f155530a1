"""Specs drawn at random, each with its meaning beside it in NumPy, for one example at a time.

A `Term` is an expression: its text in dln, and a function that works it out from the values of the
names. Nothing of the compiler stands in here: what the compiler reads is the text, what it is held
against is the function. Batches, sequences and bound indices are plain loops.

`choices` is where chance comes in; `terms` has the expressions and the functions they are made of,
`blocks` what has been written. `writer` writes a block: names and leaves, and the rules of
`anywhere`, `scalars` and `vectors` for what is made of them; `statements` and `scans` are its
equations. `specs` puts a spec together. To draw something new, add a rule.
"""

from drawing import anywhere, scalars, vectors

RULES = (anywhere, scalars, vectors)
