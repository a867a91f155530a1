"""Words of other tools, many spellings to one answer, by the place in which they stand."""
