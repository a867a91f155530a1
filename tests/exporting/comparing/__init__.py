"""Models of ONNX beside what they were made of."""
