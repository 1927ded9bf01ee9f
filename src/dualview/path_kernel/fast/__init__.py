"""The path kernel of plain networks in compiled tiles, for NumPy arrays and Numba."""
