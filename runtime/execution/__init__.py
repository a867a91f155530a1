"""The arrays of a run, its programs made ready on them, what a phase leaves, why numbers were left."""
