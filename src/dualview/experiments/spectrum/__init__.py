"""Experiment `spectrum`: is the DLGN a universal spectral approximator?"""
