"""Which rewrite, or which step of a program, changes a result; found by bisection."""
