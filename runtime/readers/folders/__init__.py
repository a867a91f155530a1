"""Several files as one set: the files that a pattern means, pictures in folders."""
