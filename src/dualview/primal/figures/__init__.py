"""Figures of filters and gates, from arrays: nothing here touches torch."""
