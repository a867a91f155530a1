"""Checks, sweeps and tasks: what is asked once a spec is trained."""
