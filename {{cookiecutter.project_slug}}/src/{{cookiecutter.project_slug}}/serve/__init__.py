"""Serve an exported model over HTTP with FastAPI and ONNX Runtime, without PyTorch, with a page to try it."""
