"""What programs run on: NumPy and CuPy, kernels, and places in the spec."""
