"""A program's text made ready to run, and the arrays it works on."""
