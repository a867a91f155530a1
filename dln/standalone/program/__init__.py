"""A program of a plan as a function that reads like a handout.

Its statements become operations on named values (`operations`, `versions`), these expressions with
NumPy's operators (`wording`); what is read once stands where it is read (`joining`), what repeats
is a loop (`rolling`), and `text` names things and writes it down. `terms` are trees of Python,
`layouts` how views lie in memory, on which bits hang; `layout` keeps lines short.
"""
