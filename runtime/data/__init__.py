"""Data sets as fields on the device; examples picked for a task."""
