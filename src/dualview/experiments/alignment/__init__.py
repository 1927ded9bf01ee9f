"""Experiment `alignment`: do the gates learn the labels?"""
