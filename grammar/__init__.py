"""Text to syntax: the grammar, its syntax tree and every message about it."""
