"""Export a trained model to ONNX, checked against PyTorch, with a script that predicts without it."""
