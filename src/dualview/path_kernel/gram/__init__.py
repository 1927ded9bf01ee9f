"""Gram matrices larger than memory: blocks, scheduled by Dask, stored by Zarr."""
