"""Data as files and generators, orders of examples, and the checks all arrays go through."""
