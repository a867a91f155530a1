"""A trained run put to use: opened again, and applied to new data."""
