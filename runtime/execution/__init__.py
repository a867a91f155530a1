"""The arrays of a run, its programs made ready, what a phase leaves, why numbers were left."""
