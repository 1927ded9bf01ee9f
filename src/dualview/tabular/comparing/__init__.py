"""A file of a table, read with care; estimators compared on it; one page about what was found.

`raw` reads columns of files, `columns` says what they are, `baselines` and `folds` compare,
`comparison` does it all (`compare_table`), `report` and `figures` make the page.
"""
