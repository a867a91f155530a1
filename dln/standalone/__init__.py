"""A spec as one file of Python that trains with NumPy alone.

A plan becomes parts (`parts`: which programs, data and phases there are, and what cannot leave,
`refusing`), parts become text: `program_text` writes the programs with names that say what they
hold (`names`), `training_text` the loop of a phase, `data_text` what it reads, `check_text` what it
expects, and `page` puts it together. What the file needs beside is taken from the source of the
runtime, and of `pieces`, as it stands there (`cutting`). `layout` keeps lines short.
"""
