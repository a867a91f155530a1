"""Runs as they were recorded, without training any: listed, compared, drawn as curves."""
