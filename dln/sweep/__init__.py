"""A spec for every combination of the constants it varies."""
