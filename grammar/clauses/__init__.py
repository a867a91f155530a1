"""Statements by their clauses: which there are, in which order, and which was meant."""
