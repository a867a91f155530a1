"""Products in other forms than they are written in, chosen by their sizes: `turned` where a few
rows are mapped by a large matrix, `matrices` where a loop does so, `lookups` and `scatters`
where one side is one-hot rows, `stacks` where two are added to one array. Each is a function from a
graph to a graph, and what is said of it."""
