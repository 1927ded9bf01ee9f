"""Which modules' examples are left out: those of an extra that is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("triton") else ["src/dualview/path_kernel/fast/triton_tile.py"]
