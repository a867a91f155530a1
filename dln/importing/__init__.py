"""Models of other programs as specs: read within bounds, understood by operator, written."""
