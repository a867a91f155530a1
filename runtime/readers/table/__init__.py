"""Tables as people have them: what a file is recognised as, its columns, what is missing there."""
