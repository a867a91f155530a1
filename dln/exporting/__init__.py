"""An instance as an ONNX model: its graph as calls of ONNX operators, what makes these few, and the
file."""
