"""The neural path kernel: exact rules for traced networks, in blocks of pairs of examples.

Order of the rooms, lowest first: `positions` (linear maps over positions), `terms` (the covariance
as a sum of terms), `rules` (one function per operation), `propagate` (walks the weights network),
`fast_tile` (the CPU kernel for plain chains), `kernel` (the public functions).
"""
