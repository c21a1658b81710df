"""The log: what it listens to, and how its lines look."""
