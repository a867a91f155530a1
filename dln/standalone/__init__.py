"""A spec as one file of Python that trains with NumPy alone.

A plan becomes text: `program` writes its programs as functions that read like a handout, `parts`
says which of them phases run, `training_text` writes the loop of a phase, with `watch_text` for
what is watched, `data_text` what it reads, `check_text` what it expects (of phases: `probe_text`),
`task_text` what it emits, and `page` puts it together in a `frame`; what cannot leave is refused
(`refusing`). What the file needs beside (`needs`) is cut (`cutting`) out of the source of the
runtime, of `pieces` and `descent`, as it stands there.
"""
