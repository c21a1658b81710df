"""The crash-safe document store. `store.py` is the whole, its steps stand beside it."""
