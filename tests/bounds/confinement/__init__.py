"""Calls under limits of memory and time, and what they are tried with."""
