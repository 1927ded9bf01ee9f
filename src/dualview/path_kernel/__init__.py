"""The neural path kernel: exact rules for traced networks, in blocks of pairs of examples.

The rooms, lowest first: `positions` (linear maps over positions), `scale` (kernels too small or too
large for their type), `layout` (which axes are channels), `terms` (the covariance as a sum of
terms), `spread` (what different channels share), `sums`, `contraction` (what weight layers sum
over), `rules` (one function an operation, in `*_rules`), `propagate` (walks the weights network);
`fast` (CPU kernels: offset by offset for many pairs of small images, row by row for the rest, and
what brings graphs to them); `kernel` (NPK and expected NTK), `parameters` (which are drawn),
`random_weights`, `features`, `gradients` and `empirical` (NTK); how far an NTK is from its mean:
`chains`, `finite_width` and `concentration` (closed form), `ntk_draws`; `gram` (dask and zarr),
`ridge` and `machines` (kernel regression).
"""
