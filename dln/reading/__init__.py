"""What a spec says of itself, read from its text: facts, names, defaults, tables."""
