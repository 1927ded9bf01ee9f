"""How far the NTKs of a network are from their expectation, drawn and in closed form."""

from __future__ import annotations

import copy
from typing import Any, cast

from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset
from dualview.errors import PathKernelError
from dualview.path_kernel.concentration import needed_width
from dualview.path_kernel.kernel import npk
from dualview.path_kernel.ntk_draws import ntk_spread
from dualview.training.feeding import inputs_of

MOST_MEASURED = 16
"""Of the test split, the first."""
DRAWS = 300
TOLERANCE = 0.1
"""Of the width that is needed."""
MEMORY = 128e6


def concentration(net: nn.Module, data: Dataset) -> dict[str, Any]:
    """Relative spread of NTK(x, x) over fresh weights, for examples with an open path.

    Args:
        net: a gated network; its gates count, its weights do not.
        data: whose test examples are looked at.

    Returns:
        "examples" (how many); "spread" and "spread_error" of each, over "draws"; "formula" of each
        and "needed", the width at which none has a spread over `TOLERANCE`: None where the closed
        form does not reach.
    """
    exact = copy.deepcopy(cast(GatedNetwork, net)).cpu().double().eval()
    x = inputs_of(exact, data, data.test.at(slice(MOST_MEASURED))).double()
    x = x[npk(exact, x).diagonal() > 0]
    if not len(x):
        return {"examples": 0}
    drawn = ntk_spread(exact, x, draws=DRAWS, memory=MEMORY)
    found: dict[str, Any] = {
        "examples": len(x),
        "draws": DRAWS,
        "spread": drawn.relative.diagonal().tolist(),
        "spread_error": drawn.relative_error.diagonal().tolist(),
    }
    try:
        needed = needed_width(exact, x, TOLERANCE, memory=MEMORY)
    except PathKernelError:  # skips, or images too large for moments over four positions
        return {**found, "formula": None, "needed": None}
    return {**found, "formula": needed.spread.tolist(), "needed": needed.widths[0]}
