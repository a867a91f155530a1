"""Blocks made into instances, applied, and taken one step at a time."""
