"""Several networks of one form trained in one pass."""
