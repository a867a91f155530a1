"""`train`: what is minimised, by which optimiser, for how long, watched how."""
