"""The comparisons and the papers' experiments: one file per table or figure."""
