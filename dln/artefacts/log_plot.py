"""`emit log_plot(...)`: curves on a logarithmic scale."""

from functools import partial

from dln.artefacts import plot

made = partial(plot.made, log=True)
