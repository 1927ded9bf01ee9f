"""Experiment `invariances`: what can be taken from a DGN or DLGN without much harm."""
