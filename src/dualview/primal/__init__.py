"""The primal view of a DLGN: gates as linear filters over the input.

- `filters`: `primal_filters`, `PrimalFilters`, `gate_distances` (arXiv 2110.03403);
- `spectra`: what spatial frequencies filters look at;
- `rates`: how often gates are on, for each class; `overlaps`: how far they move in training;
- `affine`: a layer as an affine map, applied both ways;
- `norms`: norms of filters, by the passes of `row_norms`, that gates share by what `windows` finds;
- `local_maps`, `rules`, `composition`: composed kernels, in closed form, in one walk.
"""
