"""Syntax to plan: pure functions over one graph."""
