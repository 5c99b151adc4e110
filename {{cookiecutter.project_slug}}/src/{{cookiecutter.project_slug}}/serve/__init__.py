"""Serve an exported model over HTTP, with ONNX Runtime alone: no PyTorch is imported."""
