"""Graph to program text: copies made explicit, order, memory, lines."""
