"""A model's forward -> the graph of what it does, recorded on a private copy, or a refusal."""
