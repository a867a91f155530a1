"""Graph to program text: copies made explicit, order, memory, lines.

In the order in which a graph goes through: `materialise` (with `layout`, `lookups`, `forms`,
`stacks`, `im2col`) says what must be copied and what part each node plays, `schedule` (with
`inplace`, `arena`) the order, buffers and slots, `writer` (with `emit_loop`) the statements, from
the records of `ir.spelling` by the tables of `targets`, `emit` the text. `reported` finds what a
program computes for a report alone. `definite` (with `effects`, `shadows`) proves of a text that it
reads nothing it has not written; it knows the text alone.
"""
