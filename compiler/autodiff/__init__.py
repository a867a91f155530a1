"""Derivatives written out as graph: walks, the reverse of a loop, reverse mode, Gauss-Newton."""
