"""Specs with one thing wrong, what is answered to each, and what becomes of the remedy.

`corpus` has the texts, `edits` makes the mutants, `judging` says where the answer points, `mending`
applies remedies as they are written, `counting` runs many and prints their table.
"""
