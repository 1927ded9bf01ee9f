"""Tables: small DLGNs as scikit-learn estimators, and what can be read off them.

`network` builds the networks and puts units into them, `fitting` trains them, `estimators` are the
face.
"""
