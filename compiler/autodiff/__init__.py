"""Gradients written out as graph: reverse mode, the reverse of a loop, Gauss-Newton curvature."""
