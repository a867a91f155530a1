"""Equations between tensors: arithmetic, axes, indices, reductions, drawings."""
