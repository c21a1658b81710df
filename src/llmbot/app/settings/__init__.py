"""The settings: `tree.py` is the whole; groups, sources, checks and the reload beside it."""
