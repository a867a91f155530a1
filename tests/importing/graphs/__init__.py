"""Small models of ONNX, made node by node."""
