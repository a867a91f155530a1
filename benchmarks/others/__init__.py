"""Networks that are in no goal: what they cost beside JAX, and whether PyTorch has their values."""
