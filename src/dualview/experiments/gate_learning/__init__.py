"""Experiment `gate-learning`: what are the gates worth at each stage of their learning?"""
