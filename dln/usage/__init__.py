"""Answers to a command line that cannot be carried out: what it would be here."""
