"""The steps of a text beyond the model's budget; `large_context.py` above tells the story."""
