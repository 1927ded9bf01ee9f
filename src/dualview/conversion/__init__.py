"""A network is taken apart: traced, verified, rewritten, and put together as two networks."""
