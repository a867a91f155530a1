"""Data sets turned into fields on the device; examples picked for a task."""
