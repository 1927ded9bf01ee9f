"""Files: written whole or not at all, read into dataclasses with every field looked at."""
