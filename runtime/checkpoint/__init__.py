"""What is kept of a run, whole or not at all."""
