"""A run and what follows it: expectations, tasks, going on, processes."""
