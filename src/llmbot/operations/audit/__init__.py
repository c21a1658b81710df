"""The audit: `trail.py` records; lines are hash-chained and kept in files."""
