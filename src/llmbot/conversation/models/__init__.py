"""Calls to the models: guarded, continued, cached; `generation.py` above is the chain."""
