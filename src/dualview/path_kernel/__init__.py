"""The neural path kernel: exact rules for traced networks, in blocks of pairs of examples.

The rooms, lowest first: `positions` (linear maps over positions), `scale` (kernels too small or too
large for their type), `terms` (the covariance as a sum of terms), `rules` (one function per
operation), `propagate` (walks the weights network); `fast` (CPU kernels: offset
by offset for many pairs of small images, row by row for the rest, and what brings graphs to them);
`kernel` (NPK and expected NTK), `parameters` (which are drawn),
`random_weights`, `features` and `empirical` (NTK), `gram` (dask and zarr), `ridge` and `machines`
(kernel regression).
"""
