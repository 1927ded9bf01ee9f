"""Tables: small DLGNs as scikit-learn estimators, and what can be read off them.

`network` builds the networks and puts units into them, `fitting` trains them, `base` is what the
`estimators` share, with `saving` for files. What can be asked of them is `readable`: `readings` of
hyperplanes and contributions, and the tree: `tree_building` asks the network, `growing` and
`refining` choose splits, `tree` is what comes out, with `wording` and `figures` of it.
"""
