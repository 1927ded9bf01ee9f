"""Capture by `torch.export`: what symbolic tracing cannot follow, in the form that it would have.

Symbolic tracing knows no shapes, so a forward that checks them or computes with them stops it.
`torch.export` runs the forward on shapes and keeps the number of examples free.
"""

from dualview.conversion.capture.programs import captured

__all__ = ["captured"]
