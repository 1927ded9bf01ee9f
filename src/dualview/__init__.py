"""dualview: the dual view of ReLU networks.

Takes a network apart into what decides its gates and what the gates multiply.

>>> import torch, dualview as dv
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
>>> net = dv.disentangle(model, kind="dnn")
>>> x = torch.randn(3, 4)
>>> bool(torch.allclose(net(x), model(x)))
True
"""

from dualview.errors import DualviewError, DualviewWarning
from dualview.gated_network import GatedNetwork, disentangle
from dualview.gates import Gate, HardGate, SoftGate
from dualview.path_kernel.empirical import empirical_ntk
from dualview.path_kernel.features import npk_features
from dualview.path_kernel.kernel import expected_ntk, npk

__version__ = "0.1.0"

__all__ = [
    "DualviewError",
    "DualviewWarning",
    "Gate",
    "GatedNetwork",
    "HardGate",
    "SoftGate",
    "disentangle",
    "empirical_ntk",
    "expected_ntk",
    "npk",
    "npk_features",
]
