"""Experiment `regimes`: how much do learnt gates matter, and when must they be learnt?"""
