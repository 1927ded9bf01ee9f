"""Gated networks saved to a folder or to the Hugging Face hub, and loaded again; never by pickle.

A saved network is `config.json` (how it was made, an outline of its graphs, the parameter file's
SHA-256), `model.safetensors` (its parameters and buffers) and `README.md` (a model card). Loading
makes the network anew by this package's code and puts the tensors in, once they were found to fit:
nothing that stands in the files is run, imported or taken for a path.

Each file has one subject: `config` (the JSON), `describing` (network -> config), `bounds` (sizes a
config may ask for), `rebuilding` (config -> network), `loading` (both files -> network), `saving`
(network -> both files), `card` (the model card), `hub` (folder or hub; the way in).
"""
