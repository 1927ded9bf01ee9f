"""ONNX files as PyTorch networks of ordinary layers."""

from dualview.conversion.onnx_files.reading import from_onnx

__all__ = ["from_onnx"]
