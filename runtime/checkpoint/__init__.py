"""A run on disk: arrays and facts in one file, whole or not at all; its directory."""
