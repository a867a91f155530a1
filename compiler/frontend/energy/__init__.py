"""Blocks with an energy: groups of units, what follows from E, chains, exact sums."""
