"""Experiment `shallow`: does a DLGN need depth in the network that decides its gates?"""
