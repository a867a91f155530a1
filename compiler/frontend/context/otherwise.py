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
    "linear": "dense(m), with m results",
    "Linear": "dense(m), with m results",
    "mse": "mean((x - y)^2)",
    "mse_loss": "mean((x - y)^2)",
    "relu6": "fn relu6(a) = min(max(a, 0), 6), on a line of its own",
    "silu": "fn silu(a) = a * sigmoid(a), on a line of its own",
    "swish": "fn swish(a) = a * sigmoid(a), on a line of its own",
    "pow": "x^2",
    "square": "x^2",
    "tan": "sin(x) / cos(x)",
    "len": "length(...) of a list, shape(x)[0] of a tensor",
}
