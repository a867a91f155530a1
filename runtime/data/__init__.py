"""Data sets as fields on the device, and what a task makes of each example."""
