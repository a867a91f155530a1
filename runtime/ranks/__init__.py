"""Processes that share out the work of one run: alone, or by MPI."""
