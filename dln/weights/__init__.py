"""Weights of other tools put into the parameters of a spec, by an explicit map of names."""
