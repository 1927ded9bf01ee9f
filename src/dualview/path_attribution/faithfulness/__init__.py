"""Is the explanation true? What explanations say of inputs, tried on the network itself.

`methods` says how much each input position speaks for a decision, by path contributions and by the
methods of others; `measures` takes positions away and looks what happens; `evaluation` does both
for many examples.
"""
