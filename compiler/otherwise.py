"""What is called otherwise here: names of other tools, and how the same is written in a spec.

Each stands for its own remedy, with x and W for what it is applied to. A name is here only where
what is to be written does not depend on what is meant by it.
"""

REVERSED = "y[i] = x[n - 1 - i], where x has n elements"
OTHERWISE = {
    "reversed": REVERSED,
    "reverse": REVERSED,
    "flip": REVERSED,
    "transpose": "W'",
    "matmul": "W @ x",
    "dot": "W @ x",
    "pow": "x^2",
    "square": "x^2",
    "tan": "sin(x) / cos(x)",
    "len": "length(...) of a list, shape(x)[0] of a tensor",
}
