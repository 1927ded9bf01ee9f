"""The package's face.

- Every public name is there; importing the package imports no heavy library, not even PyTorch.
- A missing name is a plain AttributeError.
"""

import subprocess
import sys

import pytest

import dualview as dv

HEAVY = ("torch", "numpy", "numba", "dask", "zarr", "pytorch_lightning", "sklearn", "matplotlib")


@pytest.mark.parametrize("name", dv.__all__)
def test_public_names(name):
    assert getattr(dv, name).__doc__
    assert name in dir(dv)


def test_import_is_light():
    code = f"import sys, dualview; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_missing_name():
    with pytest.raises(AttributeError, match="no attribute 'npq'"):
        dv.npq
