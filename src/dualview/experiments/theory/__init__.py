"""The page that a sceptical reader opens first: every statement of the theory, tried on numbers.

`statement` says what a statement is and how its verdict is reached; `closed_forms`, `sign_average`
and `models` are what the independent sides are made of; `identities`, `dense`, `convolution`,
`residual`, `graph_rules` (with `rule_networks`), `width`, `variance` and `features` hold the
statements, by section of the theory; `run` tries them all; `text` shows them in a terminal.
"""
