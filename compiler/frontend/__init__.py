"""Syntax to model: names bound, blocks expanded, phases laid out, sizes solved."""
