"""What a prediction is made of: its strongest paths, and parts that sum to it exactly.

Gates are fixed at one example, and then the network is affine: its output is a sum over paths.
`top_paths` finds the largest terms of that sum, `top_path_groups` the largest sums of those that
pass the same channels; `layer_contributions` (of all layers at once: `contributions_of_layers`),
`input_contributions` and `ensemble_contributions` group all terms, by the units that the paths
pass, by where they begin, and by the residual blocks that they go through.

The rooms, lowest first: `example` (gates fixed), `steps` (the words of a program), `evaluation`
(sums and maxima over paths), `building`, `weight_rules`, `step_rules` and `program` (a graph as a
program), `search` (k best paths), `paths` and `strongest_paths`, `group_bounds`, `group_search` and
`groups` (paths by channel); beside them `affine_run`,
`contributions`, `layer_sums` and `ensemble`.

Source: arXiv 2006.10529, section 2; arXiv 2110.03403, section 4; theory, sections 3 and 4.4.
"""
