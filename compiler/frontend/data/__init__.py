"""Data sets of a spec, their fields, and fields of a whole part."""
