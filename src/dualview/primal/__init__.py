"""The primal view of a DLGN: gates as linear filters over the input.

- `filters`: `primal_filters`, `PrimalFilters`, `gate_distances` (arXiv 2110.03403);
- `spectra`: what spatial frequencies filters look at;
- `rates`: how often gates are on, for each class; `overlaps`: how far they move in training;
- `affine`: a layer as an affine map, applied both ways; `norms`: norms of all filters;
- `local_maps`, `rules`, `composition`: composed kernels, in closed form, in one walk.
"""

from dualview.primal.filters import PrimalFilters, gate_distances, primal_filters
from dualview.primal.overlaps import initial_overlap
from dualview.primal.rates import GateRates, gate_rates
from dualview.primal.spectra import FilterSpectra, filter_spectra

__all__ = [
    "FilterSpectra",
    "GateRates",
    "PrimalFilters",
    "filter_spectra",
    "gate_distances",
    "gate_rates",
    "initial_overlap",
    "primal_filters",
]
