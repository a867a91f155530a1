"""Equations and recurrences: names bound, a step worked out, the loop node made."""
